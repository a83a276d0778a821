package daemon

import (
	"slices"
	"sync"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
)

// underway knows the calls that each instance runs, by its process. What code
// sends through a door then joins its call's trace without the code's help, as
// long as the instance runs one call at a time; code that runs several says
// which by a traceparent header, as Mayfly's clients and OpenTelemetry's SDKs do.
type underway struct {
	mu    sync.Mutex
	calls map[int][]cause // guarded by mu
}

var _ invoke.Watcher = (*underway)(nil)

// cause is the call that code acts for.
type cause struct {
	trace mayfly.Trace
	id    string // of the call; "" where only the trace is known
	hops  int
}

// Began implements invoke.Watcher.
func (u *underway) Began(pid int, r *mayfly.Invocation, hops int) {
	if pid == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls[pid] = append(u.calls[pid], cause{r.Trace, r.ID, hops})
}

// Ended implements invoke.Watcher.
func (u *underway) Ended(pid int, r *mayfly.Invocation) {
	if pid == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	left := slices.DeleteFunc(u.calls[pid], func(c cause) bool { return c.id == r.ID })
	if len(left) == 0 {
		delete(u.calls, pid)
		return
	}
	u.calls[pid] = left
}

// of is the one call that a process runs.
func (u *underway) of(pid int) (cause, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	calls := u.calls[pid]
	if pid == 0 || len(calls) != 1 {
		return cause{}, false
	}
	return calls[0], true
}
