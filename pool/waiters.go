package pool

import (
	"container/list"
	"time"
)

// waiters is the queue in front of a version, first come first served.
type waiters struct{ l list.List }

// waiter is one waiting call.
type waiter struct {
	served chan served // capacity 1: the giver never blocks
	since  time.Time
	elem   *list.Element // nil once it left the queue
}

// served is what ends a wait.
type served struct {
	instance *instance
	err      error
}

func (q *waiters) len() int { return q.l.Len() }

func (q *waiters) push(now time.Time) *waiter {
	w := &waiter{served: make(chan served, 1), since: now}
	w.elem = q.l.PushBack(w)
	return w
}

func (q *waiters) pop() *waiter {
	w := q.l.Remove(q.l.Front()).(*waiter)
	w.elem = nil
	return w
}

// remove reports whether w was still in the queue.
func (q *waiters) remove(w *waiter) bool {
	if w.elem == nil {
		return false
	}
	q.l.Remove(w.elem)
	w.elem = nil
	return true
}

func (q *waiters) oldest(now time.Time) time.Duration {
	if q.l.Len() == 0 {
		return 0
	}
	return now.Sub(q.l.Front().Value.(*waiter).since)
}

// stalled is how long no call was served although one waits; served is when the
// last one was.
func (q *waiters) stalled(now, served time.Time) time.Duration {
	if q.l.Len() == 0 {
		return 0
	}
	return now.Sub(later(q.l.Front().Value.(*waiter).since, served))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
