package pool

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly/sandbox"
)

// instance is a sandbox.Instance with the pool's accounting.
type instance struct {
	sandbox.Instance
	group *group

	active    int       // leases; guarded by group.mu
	listed    bool      // in group.free; guarded by group.mu
	draining  bool      // takes no further lease; guarded by group.mu
	fresh     bool      // no call has ended yet; guarded by group.mu
	idleSince time.Time // guarded by group.mu

	ready time.Time // end of the start

	cpu      atomic.Int64 // processor time when the last call ended, ns
	first    atomic.Bool  // no call yet
	asked    time.Time    // when the holder of a lease that was put back began to wait; set before first is
	frozen   atomic.Bool
	freezing sync.Mutex // makes freeze and thaw exclude each other
	stopping sync.Once
	force    context.Context // ended: do not wait for the code to end by itself
	forced   context.CancelFunc

	transport     *http.Transport // of a Server; made on first use
	transportOnce sync.Once
}

func newInstance(g *group, raw sandbox.Instance) *instance {
	now := time.Now()
	in := &instance{Instance: raw, group: g, idleSince: now, ready: now, fresh: true}
	in.cpu.Store(int64(raw.Usage().CPU)) // the start's is no call's
	in.force, in.forced = context.WithCancel(context.Background())
	in.first.Store(true)
	return in
}

func (in *instance) gone() bool {
	select {
	case <-in.Done():
		return true
	default:
		return false
	}
}

// freeze reports whether the instance was not frozen and is now.
func (in *instance) freeze() bool {
	f, ok := in.Instance.(sandbox.Freezer)
	if !ok || in.frozen.Load() {
		return false
	}
	in.freezing.Lock()
	defer in.freezing.Unlock()
	if f.Freeze() != nil {
		return false
	}
	in.frozen.Store(true)
	return true
}

func (in *instance) thaw() error {
	if !in.frozen.Load() {
		return nil
	}
	in.freezing.Lock()
	defer in.freezing.Unlock()
	if !in.frozen.Load() {
		return nil
	}
	if err := in.Instance.(sandbox.Freezer).Thaw(); err != nil {
		return err
	}
	in.frozen.Store(false)
	return nil
}

// stop ends the instance in the background, politely.
func (in *instance) stop() { in.end(in.group.pool.cfg.Grace) }

// kill ends it by force, also while stop waits.
func (in *instance) kill() {
	in.forced()
	in.end(0)
}

func (in *instance) end(grace time.Duration) {
	in.stopping.Do(func() {
		in.group.pool.wg.Add(1)
		go func() {
			defer in.group.pool.wg.Done()
			defer in.forced()
			_ = in.thaw() // one that cannot be thawed is killed all the same
			ctx, cancel := context.WithTimeout(in.force, grace)
			defer cancel()
			if err := in.Stop(ctx); err != nil {
				in.group.pool.cfg.Log.Warn("stopping an instance", "instance", in.ID(), "err", err)
			}
		}()
	})
}

// roundTripper is the connection pool to an instance that serves HTTP itself.
func (in *instance) roundTripper() (*http.Transport, bool) {
	server, ok := in.Instance.(sandbox.Server)
	if !ok {
		return nil, false
	}
	in.transportOnce.Do(func() { in.transport = newTransport(server) })
	return in.transport, true
}

func (in *instance) closeTransport() {
	in.transportOnce.Do(func() {})
	if in.transport != nil {
		in.transport.CloseIdleConnections()
	}
}
