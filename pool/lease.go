package pool

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Lease is one slot of an instance, held for one call. Exactly one of Release
// and Discard ends it; both may be called again without effect.
type Lease struct {
	Waited time.Duration // from Acquire to the slot
	Cold   bool          // the instance's first call, which waited for its start

	group    *group
	instance *instance
	first    bool          // the instance's first call
	since    time.Time     // of Acquire
	before   time.Duration // processor time at the begin
	over     atomic.Bool
}

// Instance is the leased instance.
func (l *Lease) Instance() sandbox.Instance { return l.instance.Instance }

// CPU is what the instance used since the lease began, given its total now. It
// holds the work of other calls at the same time.
func (l *Lease) CPU(total time.Duration) time.Duration { return max(total-l.before, 0) }

// Phases is how the time before the call was spent: of the start's phases what
// the call waited for, after the wait in the queue that was not the start's. An
// instance may have been started ahead, or have begun to start for another call.
func (l *Lease) Phases() []mayfly.Phase {
	queue := mayfly.Phase{Name: mayfly.PhaseQueue, Duration: l.Waited}
	if !l.Cold {
		return append(make([]mayfly.Phase, 0, 2), queue) // the call's comes as well
	}
	start := l.instance.Info().Phases
	waited := make([]mayfly.Phase, 0, len(start)+2) // the call's comes as well
	end := l.instance.ready
	for i := len(start) - 1; i >= 0; i-- {
		begin := end.Add(-start[i].Duration)
		of := max(min(end.Sub(l.since), start[i].Duration), 0)
		waited = append(waited, mayfly.Phase{Name: start[i].Name, Duration: of})
		queue.Duration -= of
		end = begin
	}
	queue.Duration = max(queue.Duration, 0)
	waited = append(waited, queue)
	slices.Reverse(waited)
	return waited
}

// Transport is a connection pool to the instance, where its code serves HTTP.
func (l *Lease) Transport() (http.RoundTripper, bool) {
	t, ok := l.instance.roundTripper()
	return t, ok
}

// Release gives the slot back. took is how long the call held it, 0 where that
// says nothing about the next call, and cpu the instance's processor time so
// far.
func (l *Lease) Release(took, cpu time.Duration) {
	if l.over.CompareAndSwap(false, true) {
		l.group.release(l.instance, took, cpu)
	}
}

// Discard gives the slot back and takes the instance out of use: a call
// overran, or its state is unknown. Other calls on it may end.
func (l *Lease) Discard() {
	if l.over.CompareAndSwap(false, true) {
		l.group.discard(l.instance)
	}
}

// PutBack releases a lease that no call used: the next one is still the first,
// and has waited since this one did.
func (l *Lease) PutBack() {
	if l.first {
		l.instance.asked = time.Time{}
		if l.Cold {
			l.instance.asked = l.since
		}
		l.instance.first.Store(true)
	}
	l.Release(0, 0)
}

// newTransport keeps connections to one instance. Idle ones are kept as long as
// the instance: it is its only client.
func newTransport(s sandbox.Server) *http.Transport {
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return s.DialContext(ctx) },
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 256,
		DisableCompression:  true,
	}
}
