package telemetry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// How far a follower may fall behind before it misses rows.
const (
	followRows  = 4096
	followBytes = 4 << 20
)

// hub gives rows to those who follow.
type hub struct {
	mu      sync.Mutex
	closed  bool                                       // guarded by mu
	lineSub map[*follower[mayfly.LogLine]]struct{}     // guarded by mu
	callSub map[*follower[*mayfly.Invocation]]struct{} // guarded by mu
}

// follower is one who follows, and what waits for them.
type follower[T any] struct {
	match  func(*T) bool // called under hub.mu
	size   func(*T) int
	notice func(missed int) T // nil: nobody is told
	out    chan T
	wake   chan struct{}

	mu     sync.Mutex
	rows   []T   // guarded by mu
	bytes  int64 // guarded by mu; of rows
	missed int   // guarded by mu; since the last row
	ended  bool  // guarded by mu; nothing comes any more
}

// offer gives row without waiting. A follower that was behind is told what it
// missed before it gets more.
func (f *follower[T]) offer(row *T) {
	if !f.match(row) {
		return
	}
	size := int64(f.size(row))
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) >= followRows || len(f.rows) > 0 && f.bytes+size > followBytes {
		f.missed++
		return
	}
	if f.missed > 0 && f.notice != nil {
		n := f.notice(f.missed)
		f.rows, f.bytes = append(f.rows, n), f.bytes+int64(f.size(&n))
	}
	f.missed = 0
	f.rows, f.bytes = append(f.rows, *row), f.bytes+size
	f.ring()
}

func (f *follower[T]) ring() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// end says that nothing comes any more. What waits is still given.
func (f *follower[T]) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.ring()
}

// next takes the oldest row that waits.
func (f *follower[T]) next() (row T, ok, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) == 0 {
		f.rows = nil
		return row, false, f.ended
	}
	var none T
	row, f.rows[0] = f.rows[0], none
	f.rows, f.bytes = f.rows[1:], f.bytes-int64(f.size(&row))
	return row, true, false
}

// give passes rows on until ctx ends, or until nothing comes any more.
func (f *follower[T]) give(ctx context.Context) {
	defer close(f.out)
	for {
		row, ok, ended := f.next()
		if ended {
			return
		}
		if !ok {
			select {
			case <-f.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case f.out <- row:
		case <-ctx.Done():
			return
		}
	}
}

func (h *hub) lines(rows []mayfly.LogLine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.lineSub {
		for i := range rows {
			f.offer(&rows[i])
		}
	}
}

func (h *hub) invocations(rows []*mayfly.Invocation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.callSub {
		for i := range rows {
			f.offer(&rows[i])
		}
	}
}

// close ends every follower's channel.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for f := range h.lineSub {
		f.end()
	}
	for f := range h.callSub {
		f.end()
	}
	h.lineSub, h.callSub = nil, nil
}

// follow adds f to set until ctx ends.
func follow[T any](ctx context.Context, h *hub, set *map[*follower[T]]struct{}, f *follower[T]) <-chan T {
	f.out, f.wake = make(chan T), make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(f.out)
		return f.out
	}
	if *set == nil {
		*set = map[*follower[T]]struct{}{}
	}
	(*set)[f] = struct{}{}
	go func() {
		f.give(ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(*set, f)
	}()
	return f.out
}

// Tail follows the lines that match q as they come; its times and limit do not
// count. The channel is closed when ctx ends or the store is closed. All lines
// are delivered to a follower that keeps up with 80,000 lines/s; one that does
// not is told how many it missed.
func (s *Store) Tail(ctx context.Context, q LogQuery) <-chan mayfly.LogLine {
	q.Since, q.Until = time.Time{}, time.Time{}
	match := matcher(s.lines.codec, q.filter())
	return follow(ctx, &s.hub, &s.hub.lineSub, &follower[mayfly.LogLine]{
		match: match, size: s.lines.codec.size,
		notice: func(missed int) mayfly.LogLine {
			return mayfly.LogLine{Time: time.Now(), App: q.App, Function: q.Function, Stream: mayfly.Platform, Level: "warn",
				Text: fmt.Sprintf("%d lines are not shown here: the reader is too slow; they are kept", missed)}
		},
	})
}

// Live follows the records that match q as calls finish; its times and limit do
// not count. The channel is closed when ctx ends or the store is closed. A
// follower that does not keep up misses records. The records are shared: they
// must not be changed.
func (s *Store) Live(ctx context.Context, q InvocationQuery) <-chan *mayfly.Invocation {
	q.Since, q.Until = time.Time{}, time.Time{}
	return follow(ctx, &s.hub, &s.hub.callSub, &follower[*mayfly.Invocation]{
		match: matcher(s.calls.codec, q.filter()), size: s.calls.codec.size,
	})
}

// matcher is f over single rows.
func matcher[T any](c codec[T], f filter[T]) func(*T) bool {
	var body []byte
	return func(row *T) bool {
		k := c.key(row)
		if !f.keyMatches(&k) {
			return false
		}
		if len(f.contains) > 0 {
			body = c.encode(body[:0], row)
			if !f.bodyMatches(c.searched(body)) {
				return false
			}
		}
		return f.match == nil || f.match(row)
	}
}
