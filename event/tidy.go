package event

import (
	"context"
	"slices"
	"strings"
	"time"
)

// A log is rewritten when it holds this much, and four times what is needed.
const (
	rewriteAbove = 64 << 20
	rewriteRatio = 4
	rewriteItems = 256
)

const truncateEvery = time.Second

// tidy cuts the log's front off, or moves what keeps too much of it.
func (s *shard) tidy(ctx context.Context) {
	s.mu.Lock()
	now := time.Now().UnixMilli()
	for key, f := range s.dedup {
		if f.until <= now {
			delete(s.dedup, key)
		}
	}
	cut := s.table.cut(s.last+1, now)
	was := s.cutAt
	var old []uint64
	all, needed := s.table.weigh()
	heavy := all > s.rewrite && all > rewriteRatio*needed
	if heavy {
		old = s.table.oldest(rewriteItems)
	}
	s.mu.Unlock()
	if heavy {
		s.repeat(ctx, now)
	}
	if cut > was {
		if err := s.log.Truncate(ctx, cut); err != nil {
			if ctx.Err() == nil {
				s.slog.Warn("a log cannot be cut", "log", s.log.Name(), "error", err)
			}
			return
		}
		s.mu.Lock()
		s.cutAt = cut
		s.mu.Unlock()
	}
	if len(old) > 0 {
		s.move(ctx, old)
	}
}

// repeat writes the deduplication ids that still count again, so that the
// records which had them are not kept for that.
func (s *shard) repeat(ctx context.Context, now int64) {
	s.mu.Lock()
	var all []*seen
	for key, f := range s.dedup {
		if lane, dedup, _ := strings.Cut(key, "\x00"); f.until > now && f.durable {
			all = append(all, &seen{lane, dedup, f})
		}
	}
	s.mu.Unlock()
	var kept []*page
	for part := range slices.Chunk(all, 1000) {
		record := (&batch{seen: part}).encode()
		seq, err := s.log.Append(context.WithoutCancel(ctx), record)
		if err != nil {
			return // the records that have them are still kept
		}
		p := &page{seq: seq, size: len(record)}
		for _, x := range part {
			p.keepUntil = max(p.keepUntil, x.until)
		}
		kept = append(kept, p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.unkeep()
	for _, p := range kept {
		s.table.keep(p.seq, p.keepUntil, p.size)
		s.last = p.seq
	}
}

// move puts items again, so that the log before them can be cut off.
func (s *shard) move(ctx context.Context, nums []uint64) {
	items, err := s.load(ctx, nums)
	if err != nil {
		s.slog.Warn("old items cannot be read", "log", s.log.Name(), "error", err)
		return
	}
	var moves []*Item
	s.mu.Lock()
	bytes := 0
	for _, it := range items {
		if it == nil {
			continue
		}
		if bytes += putSize(it); bytes > recordBytes && len(moves) > 0 {
			break
		}
		moved := *it
		if l := s.lanes[it.lane]; l != nil && l.fails[it.num] != nil {
			f := l.fails[it.num]
			moved.At, moved.tries, moved.history = fromMillis(f.at), f.tries, l.history[it.num]
		}
		moves = append(moves, &moved)
	}
	s.mu.Unlock()
	if len(moves) > 0 {
		s.write(ctx, moves)
	}
}
