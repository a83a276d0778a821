package telemetry

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// segmentBytes and segmentBlocks are when the active segment is sealed.
	segmentBytes  = 16 << 20
	segmentBlocks = 4096
	segmentAge    = 6 * time.Hour
	// smallBlock is the mean of a block's rows below which a sealed segment is
	// written anew: blocks of slow days are small and pack badly.
	smallBlock = blockRows / 8
	// pendingBytes is how much memory rows may take that wait for the disk, beside
	// those on their way, before the oldest of them are shed: some 250,000 ordinary
	// lines.
	pendingBytes = 64 << 20
)

// table holds the rows of one kind: those that wait for their block, and the
// segments. A row is in exactly one of pending, flushing and the segments.
type table[T any] struct {
	name   string
	dir    string
	codec  codec[T]
	keep   Retention
	log    *slog.Logger
	shed   atomic.Int64 // rows lost for want of a working disk
	broken atomic.Int64 // blocks that could not be read

	mu       sync.RWMutex
	pending  []T        // guarded by mu; not yet in a block
	bytes    int        // guarded by mu; of pending
	flushing []T        // guarded by mu; on their way into blocks
	segments []*segment // guarded by mu; by number
	failure  string     // guarded by mu; of the last write, "" where it went well

	writing sync.Mutex     // one flush or seal at a time; taken before mu
	writer  blockWriter[T] // guarded by writing
	file    *os.File       // guarded by writing; the active segment's
	since   time.Time      // guarded by writing; when the active segment began
}

func openTable[T any](name, dir string, c codec[T], keep Retention, log *slog.Logger) (*table[T], error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	segments, err := openSegments(dir)
	if err != nil {
		return nil, err
	}
	return &table[T]{name: name, dir: dir, codec: c, keep: keep, log: log, segments: segments, writer: blockWriter[T]{codec: c}}, nil
}

// add takes rows over.
func (t *table[T]) add(rows ...T) {
	if len(rows) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, rows...)
	for i := range rows {
		t.bytes += t.codec.size(&rows[i])
	}
	over := 0
	for ; t.bytes > pendingBytes; over++ {
		t.bytes -= t.codec.size(&t.pending[over])
	}
	t.shed.Add(int64(over))
	clear(t.pending[:over]) // what they hold is free before the slice moves on
	t.pending = t.pending[over:]
}

// waiting is the number of rows that are not on disk.
func (t *table[T]) waiting() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.pending) + len(t.flushing)
}

// flush writes what is pending as blocks at the end of the active segment. Rows
// that cannot be written are shed: the disk must not fill the memory.
func (t *table[T]) flush() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	rows := t.pending
	t.flushing, t.pending, t.bytes = rows, nil, 0
	t.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	left, err := t.append(rows)
	t.mu.Lock()
	t.flushing, t.failure = nil, ""
	if err != nil {
		t.failure = err.Error()
		t.shed.Add(int64(len(left)))
	}
	if t.pending == nil && cap(rows) <= 4096 {
		clear(rows)
		t.pending = rows[:0]
	}
	t.mu.Unlock()
	return err
}

// append writes rows and returns those that are not on disk.
func (t *table[T]) append(rows []T) ([]T, error) {
	for len(rows) > 0 {
		seg, err := t.active()
		if err != nil {
			return rows, err
		}
		out, b, n := t.writer.write(rows)
		b.offset = seg.size
		if _, err := t.file.WriteAt(out, seg.size); err != nil {
			return rows, errors.Join(err, t.file.Truncate(seg.size))
		}
		t.mu.Lock()
		seg.add(b)
		t.flushing = t.flushing[n:]
		t.mu.Unlock()
		rows = rows[n:]
	}
	return nil, nil
}

func (t *table[T]) lastSegment() *segment {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.segments) == 0 {
		return nil
	}
	return t.segments[len(t.segments)-1]
}

// active is the segment that is appended to, made or opened where need be.
func (t *table[T]) active() (*segment, error) {
	last := t.lastSegment()
	if last != nil && !last.sealed && t.file != nil {
		return last, nil
	}
	number := 1
	if last != nil {
		number = last.number + 1
	}
	seg, flags := last, os.O_RDWR
	if last == nil || last.sealed {
		seg, flags = newSegment(t.dir, number, 0), os.O_RDWR|os.O_CREATE|os.O_EXCL
	}
	f, err := os.OpenFile(seg.path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	t.file, t.since = f, time.Now()
	if seg != last {
		t.mu.Lock()
		t.segments = append(t.segments, seg)
		t.mu.Unlock()
	}
	return seg, nil
}

// scan returns the rows that f lets through, by time.
func (t *table[T]) scan(ctx context.Context, f filter[T]) ([]T, error) {
	// A segment that is gone was compacted or expired after the scan began.
	for range 3 {
		rows, err := t.scanOnce(ctx, f, false)
		if !errors.Is(err, fs.ErrNotExist) {
			return rows, err
		}
	}
	return t.scanOnce(ctx, f, true)
}

func (t *table[T]) scanOnce(ctx context.Context, f filter[T], lenient bool) ([]T, error) {
	result := found[T]{limit: f.limit, oldest: f.oldest}
	files := t.snapshot(&f, &result)
	slices.SortFunc(files, func(a, b segment) int {
		if f.oldest {
			return cmp.Compare(a.first, b.first)
		}
		return cmp.Compare(b.last, a.last)
	})
	for i := range files {
		if result.full(files[i].first, files[i].last) {
			continue
		}
		err := t.scanSegment(ctx, &files[i], &f, &result)
		if err != nil && !(lenient && errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
	}
	return result.take(), ctx.Err()
}

// snapshot scans the rows in memory and returns the segments as they are.
func (t *table[T]) snapshot(f *filter[T], result *found[T]) []segment {
	match := matcher(t.codec, *f)
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, rows := range [][]T{t.flushing, t.pending} {
		for i := range rows {
			if match(&rows[i]) {
				result.add(t.codec.key(&rows[i]).time, rows[i])
			}
		}
	}
	files := make([]segment, 0, len(t.segments))
	for _, s := range t.segments {
		if len(s.blocks) > 0 && s.last >= f.since && (f.until == 0 || s.first < f.until) {
			files = append(files, *s)
		}
	}
	return files
}

func (t *table[T]) scanSegment(ctx context.Context, s *segment, f *filter[T], result *found[T]) error {
	file, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := &blockReader{file: file}
	for n := range s.blocks {
		i := n
		if !f.oldest {
			i = len(s.blocks) - 1 - n
		}
		b := &s.blocks[i]
		if b.last < f.since || f.until != 0 && b.first >= f.until || result.full(b.first, b.last) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		scan := blockScan[T]{codec: t.codec, f: f, r: r, b: b}
		if err := scan.run(result.add); err != nil {
			t.damaged(s, b, err)
		}
	}
	return nil
}

// damaged counts a block that cannot be read, and says so once.
func (t *table[T]) damaged(s *segment, b *block, err error) {
	if t.broken.Add(1) == 1 {
		t.log.Error("a block of telemetry cannot be read and is skipped", "table", t.name, "file", s.path, "offset", b.offset, "error", err)
	}
}

func (t *table[T]) lastFailure() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.failure
}

// oversize reports whether the active segment is to be sealed.
func (t *table[T]) oversize() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.segments) == 0 {
		return false
	}
	s := t.segments[len(t.segments)-1]
	return !s.sealed && (s.size >= segmentBytes || len(s.blocks) >= segmentBlocks)
}

// size is what the table takes on disk.
func (t *table[T]) size() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var n int64
	for _, s := range t.segments {
		n += s.size
	}
	return n
}

// close writes what is left and closes the active file.
func (t *table[T]) close() error {
	err := t.flush()
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.file == nil {
		return err
	}
	err = errors.Join(err, t.file.Close())
	t.file = nil
	return err
}
