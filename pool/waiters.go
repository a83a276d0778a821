package pool

import (
	"sync"
	"time"
)

// waiters is the queue in front of a version, first come first served.
type waiters struct {
	first, last *waiter
	n           int
}

// waiter is one waiting call.
type waiter struct {
	served chan served // capacity 1: the giver never blocks
	again  *time.Timer // of the call's own
	since  time.Time

	queued         bool
	before, behind *waiter
}

// served is what ends a wait.
type served struct {
	instance *instance
	err      error
}

// idleWaiters are used again, since a busy version makes every call wait.
var idleWaiters = sync.Pool{New: func() any {
	w := &waiter{served: make(chan served, 1), again: time.NewTimer(time.Hour)}
	w.again.Stop()
	return w
}}

// done gives a waiter back that has left the queue and was served at most once,
// which was read.
func (w *waiter) done() {
	w.again.Stop()
	idleWaiters.Put(w)
}

func (q *waiters) len() int { return q.n }

func (q *waiters) push(now time.Time) *waiter {
	w := idleWaiters.Get().(*waiter)
	w.since, w.queued, w.before = now, true, q.last
	if q.last == nil {
		q.first = w
	} else {
		q.last.behind = w
	}
	q.last = w
	q.n++
	return w
}

func (q *waiters) pop() *waiter {
	w := q.first
	q.remove(w)
	return w
}

// remove reports whether w was still in the queue.
func (q *waiters) remove(w *waiter) bool {
	if !w.queued {
		return false
	}
	if w.before == nil {
		q.first = w.behind
	} else {
		w.before.behind = w.behind
	}
	if w.behind == nil {
		q.last = w.before
	} else {
		w.behind.before = w.before
	}
	w.queued, w.before, w.behind = false, nil, nil
	q.n--
	return true
}

func (q *waiters) oldest(now time.Time) time.Duration {
	if q.n == 0 {
		return 0
	}
	return now.Sub(q.first.since)
}

// stalled is how long no call was served although one waits; served is when the
// last one was.
func (q *waiters) stalled(now, served time.Time) time.Duration {
	if q.n == 0 {
		return 0
	}
	return now.Sub(later(q.first.since, served))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
