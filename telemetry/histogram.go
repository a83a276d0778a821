package telemetry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// LogBucket counts the lines of one stretch of time by level.
type LogBucket struct {
	Start time.Time `json:"start"`
	Debug int64     `json:"debug"`
	Info  int64     `json:"info"`
	Warn  int64     `json:"warn"`
	Error int64     `json:"error"`
	Other int64     `json:"other"`
}

func (b *LogBucket) count(level int) {
	switch level {
	case 1:
		b.Debug++
	case 2:
		b.Info++
	case 3:
		b.Warn++
	case 4:
		b.Error++
	default:
		b.Other++
	}
}

const maxBuckets = 500

// LogHistogram counts the lines that match q in n buckets of equal length from
// q.Since to q.Until, which default to the last hour. q.Limit does not count.
func (s *Store) LogHistogram(ctx context.Context, q LogQuery, n int) ([]LogBucket, error) {
	if q.Until.IsZero() {
		q.Until = time.Now()
	}
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-time.Hour)
	}
	n = min(max(n, 1), maxBuckets)
	width := max(1, int64(q.Until.Sub(q.Since))/int64(n))
	buckets := make([]LogBucket, n)
	for i := range buckets {
		buckets[i].Start = q.Since.Add(time.Duration(int64(i) * width)).UTC()
	}
	s.drain()
	q.Limit = 0
	err := s.lines.each(ctx, q.filter(), func(k *rowKey) {
		i := (k.time - q.Since.UnixNano()) / width
		buckets[min(max(i, 0), int64(n-1))].count(int(k.flags >> 4))
	})
	return buckets, err
}

// each calls use with the key of every row that f lets through, in no order.
// Ids are set only where bodies had to be read. Rows that move to the disk
// meanwhile may be seen twice or not at all.
func (t *table[T]) each(ctx context.Context, f filter[T], use func(*rowKey)) error {
	var inMemory found[T]
	files := t.snapshot(&f, &inMemory)
	for i := range inMemory.rows {
		k := t.codec.key(&inMemory.rows[i].row)
		use(&k)
	}
	for i := range files {
		if err := t.eachOf(ctx, &files[i], &f, use); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (t *table[T]) eachOf(ctx context.Context, s *segment, f *filter[T], use func(*rowKey)) error {
	file, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := &blockReader{file: file}
	for i := range s.blocks {
		b := &s.blocks[i]
		if b.last < f.since || f.until != 0 && b.first >= f.until {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		scan := blockScan[T]{codec: t.codec, f: f, r: r, b: b}
		if err := scan.keys(use); err != nil {
			t.damaged(s, b, err)
		}
	}
	return nil
}

// keys is run for the keys alone: bodies are read only where f asks for them.
func (s *blockScan[T]) keys(use func(*rowKey)) error {
	if len(s.f.contains) > 0 || s.f.match != nil {
		return s.run(func(_ int64, row T) {
			k := s.codec.key(&row)
			use(&k)
		})
	}
	if ok, err := s.filtered(); !ok || err != nil {
		return err
	}
	raw, err := s.r.load(s.b, 0)
	if err != nil {
		return err
	}
	cols, err := parseColumns(raw)
	if err != nil {
		return err
	}
	sources := s.wanted(cols.sources)
	if sources == nil {
		return nil
	}
	hits, err := s.candidates(&cursor{columns: cols}, sources)
	for _, h := range hits {
		src := cols.sources[h.source]
		use(&rowKey{time: h.time, app: src.app, function: src.function, version: src.version, flags: h.flags, num: h.num})
	}
	return err
}
