package telemetry

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"
)

// tidy seals the active segment when it is full or old, writes segments of
// small blocks anew and deletes what retention does not keep.
func (t *table[T]) tidy(ctx context.Context, now time.Time) error {
	err := t.sealActive(now)
	for _, s := range t.sparse() {
		if ctx.Err() != nil {
			return err
		}
		err = errors.Join(err, t.compact(ctx, s))
	}
	return errors.Join(err, t.expire(now))
}

func (t *table[T]) sealActive(now time.Time) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	seg := t.lastSegment() // an unsealed one is changed under writing only
	if seg == nil || seg.sealed || len(seg.blocks) == 0 {
		return nil
	}
	if _, err := t.active(); err != nil {
		return err
	}
	if seg.size < segmentBytes && len(seg.blocks) < segmentBlocks && now.Sub(t.since) < segmentAge {
		return nil
	}
	done := *seg // readers hold seg's values only under mu
	if err := done.seal(t.file); err != nil {
		return err
	}
	err := t.file.Close()
	t.file = nil
	t.mu.Lock()
	*seg = done
	t.mu.Unlock()
	return err
}

// sparse are the sealed segments that compaction would make much smaller.
func (t *table[T]) sparse() []*segment {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []*segment
	for _, s := range t.segments {
		rows := 0
		for i := range s.blocks {
			rows += s.blocks[i].rows
		}
		if s.sealed && s.generation == 0 && len(s.blocks) > 8 && rows/len(s.blocks) < smallBlock {
			out = append(out, s)
		}
	}
	return out
}

// compact writes the rows of a sealed segment into one of the next generation.
func (t *table[T]) compact(ctx context.Context, old *segment) error {
	src, err := os.Open(old.path)
	if err != nil {
		return err
	}
	defer src.Close()
	next := newSegment(t.dir, old.number, old.generation+1)
	tmp := next.path + ".tmp"
	dst, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := t.rewrite(ctx, old, next, src, dst); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, next.path); err != nil {
		return err
	}
	t.mu.Lock()
	if i := slices.Index(t.segments, old); i >= 0 {
		t.segments[i] = next
	}
	t.mu.Unlock()
	return removeSegment(old)
}

// rewrite copies rows block by block; no more than two blocks' worth of them
// are in memory.
func (t *table[T]) rewrite(ctx context.Context, old, next *segment, src, dst *os.File) error {
	w := blockWriter[T]{codec: t.codec}
	var rows []T
	put := func(least int) error {
		for len(rows) > least {
			out, b, n := w.write(rows)
			b.offset = next.size
			if _, err := dst.WriteAt(out, next.size); err != nil {
				return err
			}
			next.add(b)
			rows = append(rows[:0], rows[n:]...)
		}
		return nil
	}
	r := &blockReader{file: src}
	for i := range old.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		scan := blockScan[T]{codec: t.codec, f: &filter[T]{}, r: r, b: &old.blocks[i]}
		if err := scan.run(func(_ int64, row T) { rows = append(rows, row) }); err != nil {
			t.damaged(old, &old.blocks[i], err)
		}
		if err := put(blockRows - 1); err != nil {
			return err
		}
	}
	if err := put(0); err != nil {
		return err
	}
	return next.seal(dst)
}

// expire deletes sealed segments that are older than the age or over the size.
func (t *table[T]) expire(now time.Time) error {
	oldest := now.Add(-t.keep.Age).UnixNano()
	over := t.size() - int64(t.keep.Size)
	var gone []*segment
	t.mu.Lock()
	t.segments = slices.DeleteFunc(t.segments, func(s *segment) bool {
		if !s.sealed || s.last >= oldest && over <= 0 {
			return false
		}
		over -= s.size
		gone = append(gone, s)
		return true
	})
	t.mu.Unlock()
	var err error
	for _, s := range gone {
		err = errors.Join(err, removeSegment(s))
	}
	return err
}
