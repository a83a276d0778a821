package telemetry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// followBuffer is how far a follower may fall behind before it misses rows.
const followBuffer = 4096

// hub gives rows to those who follow.
type hub struct {
	mu      sync.Mutex
	closed  bool                                       // guarded by mu
	lineSub map[*follower[mayfly.LogLine]]struct{}     // guarded by mu
	callSub map[*follower[*mayfly.Invocation]]struct{} // guarded by mu
}

type follower[T any] struct {
	match  func(*T) bool
	rows   chan T
	missed int // used by the hub's caller only, under hub.mu
	notice func(missed int) (T, bool)
}

// offer gives row without waiting. A follower that was behind is told what it
// missed before it gets more.
func (f *follower[T]) offer(row *T) {
	if !f.match(row) {
		return
	}
	if f.missed > 0 && f.notice != nil {
		n, ok := f.notice(f.missed)
		if ok {
			select {
			case f.rows <- n:
				f.missed = 0
			default:
				f.missed++
				return
			}
		}
	}
	select {
	case f.rows <- *row:
	default:
		f.missed++
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
		close(f.rows)
	}
	for f := range h.callSub {
		close(f.rows)
	}
	h.lineSub, h.callSub = nil, nil
}

// follow adds f to set until ctx ends.
func follow[T any](ctx context.Context, h *hub, set *map[*follower[T]]struct{}, f *follower[T]) <-chan T {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(f.rows)
		return f.rows
	}
	if *set == nil {
		*set = map[*follower[T]]struct{}{}
	}
	(*set)[f] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := (*set)[f]; ok {
			delete(*set, f)
			close(f.rows)
		}
	})
	return f.rows
}

// Tail follows the lines that match q as they come; its times and limit do not
// count. The channel is closed when ctx ends or the store is closed. All lines
// are delivered to a follower that keeps up with 80,000 lines/s; one that does
// not is told how many it missed.
func (s *Store) Tail(ctx context.Context, q LogQuery) <-chan mayfly.LogLine {
	q.Since, q.Until = time.Time{}, time.Time{}
	match := matcher(s.lines.codec, q.filter())
	return follow(ctx, &s.hub, &s.hub.lineSub, &follower[mayfly.LogLine]{
		match: match, rows: make(chan mayfly.LogLine, followBuffer),
		notice: func(missed int) (mayfly.LogLine, bool) {
			return mayfly.LogLine{Time: time.Now(), App: q.App, Function: q.Function, Stream: mayfly.Platform, Level: "warn",
				Text: fmt.Sprintf("%d lines are not shown here: the reader is too slow; they are kept", missed)}, true
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
		match: matcher(s.calls.codec, q.filter()), rows: make(chan *mayfly.Invocation, followBuffer),
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
