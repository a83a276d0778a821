package sql

import (
	"context"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// gate shares a bounded number of connections among functions. Those that wait
// are served by turns of their callers, so that one busy function does not keep
// the others from the database; within a caller, in the order they came.
type gate struct {
	mu     sync.Mutex
	free   int                        // guarded by mu
	queues map[string][]chan struct{} // guarded by mu; who waits, by caller
	turns  []string                   // guarded by mu; callers with a queue, next first
}

func newGate(n int) *gate { return &gate{free: n, queues: map[string][]chan struct{}{}} }

// enter waits for a turn, at most for wait. leave must follow.
func (g *gate) enter(ctx context.Context, caller string, wait time.Duration) error {
	g.mu.Lock()
	if g.free > 0 && len(g.turns) == 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if len(g.queues[caller]) == 0 {
		g.turns = append(g.turns, caller)
	}
	g.queues[caller] = append(g.queues[caller], turn)
	g.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-turn:
		return nil
	case <-timer.C:
		if g.abandon(caller, turn) {
			return mayfly.Errorf(mayfly.Throttled, "wait for a connection", "none was free for %s; make statements shorter or the pool larger", wait)
		}
	case <-ctx.Done():
		if g.abandon(caller, turn) {
			return mayfly.Errorf(mayfly.Timeout, "wait for a connection", "%w", ctx.Err())
		}
	}
	return nil // the turn came meanwhile
}

// abandon takes a turn out of its queue; false where it was given already.
func (g *gate) abandon(caller string, turn chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.queues[caller]
	for i, each := range q {
		if each == turn {
			g.queues[caller] = append(q[:i:i], q[i+1:]...)
			if len(g.queues[caller]) == 0 {
				delete(g.queues, caller)
				g.drop(caller)
			}
			return true
		}
	}
	return false
}

func (g *gate) drop(caller string) {
	for i, each := range g.turns {
		if each == caller {
			g.turns = append(g.turns[:i:i], g.turns[i+1:]...)
			return
		}
	}
}

// leave gives the turn to the next caller.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.turns) == 0 {
		g.free++
		return
	}
	caller := g.turns[0]
	q := g.queues[caller]
	close(q[0])
	g.turns = g.turns[1:]
	if len(q) == 1 {
		delete(g.queues, caller)
		return
	}
	g.queues[caller] = q[1:]
	g.turns = append(g.turns, caller)
}
