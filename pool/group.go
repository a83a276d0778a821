package pool

import (
	"context"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/schedule"
)

// group is the instances and the queue of one version.
type group struct {
	pool    *Pool
	version *mayfly.Version
	driver  sandbox.Driver
	limits  mayfly.Concurrency

	mu       sync.Mutex
	free     []*instance // with a free slot, longest idle first; guarded by mu
	all      map[*instance]struct{}
	queue    waiters
	starting int
	service  schedule.Estimate
	cpu      schedule.Estimate // of a call
	best     schedule.Least
	cold     schedule.Estimate
	keep     *schedule.KeepAlive
	size     mayfly.Bytes  // of an idle instance, as last measured
	calls    int           // since it was last without an instance
	lost     time.Duration // what calls waited since the last start ended
	started  time.Time     // when it ended
	handed   time.Time     // when a waiting call was last given an instance
	priority float64       // of its instances when memory is short
	retired  bool
	spec     *sandbox.Spec // of the last start
	tier     sandbox.Tier
}

func newGroup(p *Pool, v *mayfly.Version, d sandbox.Driver) *group {
	return &group{
		pool: p, version: v, driver: d,
		limits: v.Spec.Concurrency.WithDefaults(),
		all:    map[*instance]struct{}{},
		keep:   schedule.NewKeepAlive(),
	}
}

// acquire takes a free slot, or waits for one.
func (g *group) acquire(ctx context.Context) (*Lease, error) {
	now := time.Now()
	g.mu.Lock()
	g.arriveLocked(now)
	if in := g.takeLocked(); in != nil {
		g.mu.Unlock()
		return g.lease(in, now)
	}
	if g.queue.len() >= g.limits.Queue {
		g.mu.Unlock()
		return nil, mayfly.Errorf(mayfly.Throttled, "", "function %s: %d calls wait already (concurrency.max %d, concurrency.queue %d)",
			g.version.Function, g.limits.Queue, g.limits.Max, g.limits.Queue)
	}
	if in := g.heldLocked(ctx); in != nil {
		g.mu.Unlock()
		return g.lease(in, now)
	}
	w := g.queue.push(now)
	g.startLocked(now)
	g.mu.Unlock()
	return g.wait(ctx, w, now)
}

// wait blocks until w is served. When it has waited for as long as a start is
// expected to take, the decision is made again with that knowledge.
func (g *group) wait(ctx context.Context, w *waiter, since time.Time) (*Lease, error) {
	w.again.Reset(g.patience())
	defer w.done()
	for {
		select {
		case got := <-w.served:
			if got.err != nil {
				return nil, got.err
			}
			return g.lease(got.instance, since)
		case now := <-w.again.C:
			g.mu.Lock()
			g.startLocked(now)
			g.mu.Unlock()
			w.again.Reset(g.patience())
		case <-ctx.Done():
			return nil, g.abandon(w, ctx.Err())
		}
	}
}

func (g *group) patience() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.cold.Mean(), 10*time.Millisecond) + time.Millisecond
}

// abandon takes w out of the queue; a slot that was given to it meanwhile goes
// to the next.
func (g *group) abandon(w *waiter, err error) error {
	g.mu.Lock()
	queued := g.queue.remove(w)
	g.mu.Unlock()
	if !queued {
		if got := <-w.served; got.instance != nil {
			g.release(got.instance, 0, 0)
		}
	}
	return err
}

// lease thaws the instance where it was frozen and wraps it.
func (g *group) lease(in *instance, since time.Time) (*Lease, error) {
	if err := in.thaw(); err != nil {
		g.discard(in)
		return nil, mayfly.Errorf(mayfly.Unavailable, "", "the instance could not be woken: %w", err)
	}
	l := &Lease{group: g, instance: in, since: since, Waited: time.Since(since), before: time.Duration(in.cpu.Load())}
	l.first = in.first.CompareAndSwap(true, false)
	if l.first && !in.asked.IsZero() {
		l.since, l.Waited = in.asked, time.Since(in.asked)
	}
	l.Cold = l.first && in.ready.After(l.since)
	return l, nil
}

// takeLocked takes a slot of the most recently used instance, so that the
// others become idle.
func (g *group) takeLocked() *instance {
	for n := len(g.free); n > 0; n = len(g.free) {
		in := g.free[n-1]
		if in.gone() {
			g.free = g.free[:n-1]
			continue
		}
		in.active++
		if in.active >= g.limits.PerInstance {
			g.free = g.free[:n-1]
			in.listed = false
		}
		return in
	}
	return nil
}

// release gives a slot back; took is the call's duration, 0 where it says
// nothing about the next, and cpu the instance's processor time so far.
func (g *group) release(in *instance, took, cpu time.Duration) {
	now := time.Now()
	g.mu.Lock()
	in.active--
	in.idleSince = now
	g.learnLocked(in, took, cpu)
	g.idleLocked(now)
	g.serveLocked(in, now)
	stop := in.active == 0 && (g.retired || in.draining)
	if stop {
		g.unlistLocked(in)
	}
	g.mu.Unlock()
	if stop {
		in.stop()
	}
}

// arriveLocked tells the market and the evictor of a call.
func (g *group) arriveLocked(now time.Time) {
	g.pool.market.Arrive(g.keep, now, g.worthLocked())
	if len(g.all) == 0 {
		g.calls = 0
	}
	g.calls++
	g.priority = g.pool.priority(g.calls, g.worthLocked())
}

// idleLocked tells the market when the last running call has ended.
func (g *group) idleLocked(now time.Time) {
	if g.queue.len() > 0 {
		return
	}
	for in := range g.all {
		if in.active > 0 {
			return
		}
	}
	g.pool.market.Idle(g.keep, now, g.worthLocked(), g.firings(now)...)
}

func (g *group) worthLocked() schedule.Worth {
	return schedule.Worth{Size: g.size, Cold: g.cold.Mean()}
}

// firings are the next times at which a schedule calls the function.
func (g *group) firings(now time.Time) []time.Time {
	if g.pool.cfg.Firings == nil || g.retired {
		return nil
	}
	return g.pool.cfg.Firings(g.version.App, g.version.Function, now)
}

// learnLocked takes a call into the estimates. An instance's first call is not
// like the others: caches are cold.
func (g *group) learnLocked(in *instance, took, cpu time.Duration) {
	if took == 0 {
		return
	}
	used := cpu - time.Duration(in.cpu.Swap(int64(cpu)))
	if in.fresh {
		in.fresh = false
		return
	}
	g.service.Add(took)
	g.best.Add(took)
	if used > 0 {
		g.cpu.Add(used)
	}
}

// serveLocked gives in's free slots to waiting calls, then lists what is left.
func (g *group) serveLocked(in *instance, now time.Time) {
	if in.draining || in.gone() {
		return
	}
	for in.active < g.limits.PerInstance && g.queue.len() > 0 {
		in.active++
		w := g.queue.pop()
		g.lost += now.Sub(later(w.since, g.started))
		w.served <- served{instance: in}
		g.handed = now
	}
	if in.active < g.limits.PerInstance && !in.listed {
		in.listed = true
		g.free = append(g.free, in)
	}
}

func (g *group) unlistLocked(in *instance) {
	in.draining = true
	for i, f := range g.free {
		if f == in {
			g.free = append(g.free[:i], g.free[i+1:]...)
			break
		}
	}
	in.listed = false
}

func (g *group) stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Stats{App: g.version.App, Function: g.version.Function, Version: g.version.Number, Starting: g.starting, Waiting: g.queue.len(), Tier: g.tier}
	for in := range g.all {
		s.Ready++
		s.Busy += in.active
		if in.active == 0 {
			s.Idle++
		}
		if in.frozen.Load() {
			s.Frozen++
		}
	}
	return s
}
