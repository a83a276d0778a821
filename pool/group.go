package pool

import (
	"context"
	"errors"
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
	w := g.queue.push(now)
	g.startLocked(now)
	g.mu.Unlock()
	return g.wait(ctx, w, now)
}

// wait blocks until w is served. When it has waited for as long as a start is
// expected to take, the decision is made again with that knowledge.
func (g *group) wait(ctx context.Context, w *waiter, since time.Time) (*Lease, error) {
	again := time.NewTimer(g.patience())
	defer again.Stop()
	for {
		select {
		case got := <-w.served:
			if got.err != nil {
				return nil, got.err
			}
			return g.lease(got.instance, since)
		case now := <-again.C:
			g.mu.Lock()
			g.startLocked(now)
			g.mu.Unlock()
			again.Reset(g.patience())
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

// startLocked asks the schedule how many instances to start, and starts them.
func (g *group) startLocked(now time.Time) {
	load := schedule.Load{
		Ready: g.readyLocked(), Starting: g.starting, Waiting: g.queue.len(),
		PerInstance: g.limits.PerInstance, Max: g.limits.Max,
		Cores: g.pool.cfg.Cores, CPU: g.cpu.Mean(), Best: g.best.Value(), Service: g.service.Mean(), Cold: g.cold.Mean(), Oldest: g.queue.oldest(now), Lost: g.lost, Stalled: g.queue.stalled(now, g.handed),
		Idle: g.queue.len() > 0 && g.pool.processors.idle(now),
	}
	if !g.retired {
		load.Warm = g.version.Spec.Concurrency.Warm
	}
	for range load.Starts() {
		g.beginLocked()
	}
}

// beginLocked starts one instance in the background.
func (g *group) beginLocked() {
	g.starting++
	g.pool.wg.Add(1)
	go g.start()
}

func (g *group) readyLocked() int {
	n := 0
	for in := range g.all {
		if !in.draining {
			n++
		}
	}
	return n
}

func (g *group) ensureWarm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.startLocked(time.Now())
}

// start runs one start to its end and hands the instance to the queue.
func (g *group) start() {
	defer g.pool.wg.Done()
	g.pool.starts <- struct{}{}
	began := time.Now()
	raw, spec, err := g.startInstance()
	<-g.pool.starts
	var in *instance
	if err == nil {
		in = newInstance(g, raw)
	}
	g.mu.Lock()
	g.starting--
	if err != nil {
		g.failLocked(err)
		g.mu.Unlock()
		return
	}
	g.cold.Add(time.Since(began))
	g.spec, g.tier = spec, raw.Info().Tier
	g.all[in] = struct{}{}
	g.lost, g.started = 0, time.Now()
	g.serveLocked(in, g.started)
	g.startLocked(g.started)
	idle := in.active == 0 && g.retired
	if idle {
		g.unlistLocked(in)
	}
	g.mu.Unlock()
	g.pool.wg.Add(1)
	go g.watch(in)
	if idle {
		in.stop()
	}
}

func (g *group) startInstance() (sandbox.Instance, *sandbox.Spec, error) {
	ctx, cancel := context.WithTimeout(context.Background(), max(g.pool.cfg.StartWithin, g.version.Spec.Timeout.D()))
	defer cancel()
	spec, err := g.pool.cfg.Specs.Spec(ctx, g.version)
	if err != nil {
		return nil, nil, err
	}
	in, err := g.driver.Start(ctx, spec, g.pool.cfg.Output)
	if errors.Is(err, context.DeadlineExceeded) {
		err = &mayfly.FunctionError{Type: mayfly.ErrorTypeTimeout, Message: "initialisation did not end within " + mayfly.Duration(max(g.pool.cfg.StartWithin, g.version.Spec.Timeout.D())).String()}
	}
	return in, spec, err
}

// failLocked tells waiting calls of a start that failed: as many as the start
// would have served, and all where nothing else will serve them.
func (g *group) failLocked(err error) {
	n := g.limits.PerInstance
	if g.readyLocked() == 0 && g.starting == 0 {
		n = g.queue.len()
	}
	for ; n > 0 && g.queue.len() > 0; n-- {
		g.queue.pop().served <- served{err: err}
	}
}

// watch takes an instance out when it ends.
func (g *group) watch(in *instance) {
	defer g.pool.wg.Done()
	<-in.Done()
	g.mu.Lock()
	g.unlistLocked(in)
	delete(g.all, in)
	g.startLocked(time.Now())
	g.mu.Unlock()
	in.stop()
	in.closeTransport()
}

// discard takes an instance out of use; it stops when its other calls ended.
func (g *group) discard(in *instance) {
	g.mu.Lock()
	in.active--
	g.unlistLocked(in)
	stop := in.active <= 0
	g.startLocked(time.Now())
	g.mu.Unlock()
	if stop {
		in.kill()
	}
}

// retire makes the group drain, or takes that back.
func (g *group) retire(yes bool) {
	g.mu.Lock()
	g.retired = yes
	var idle []*instance
	if yes {
		for in := range g.all {
			if in.active == 0 && !in.draining {
				g.unlistLocked(in)
				idle = append(idle, in)
			}
		}
	}
	g.mu.Unlock()
	for _, in := range idle {
		in.stop()
	}
}

func (g *group) kill() {
	g.mu.Lock()
	all := make([]*instance, 0, len(g.all))
	for in := range g.all {
		all = append(all, in)
	}
	g.mu.Unlock()
	for _, in := range all {
		in.kill()
	}
}

// sweep freezes and stops what has been idle for long enough, and starts an
// instance where a call is expected. It reports whether the group can be
// dropped.
func (g *group) sweep(now time.Time) bool {
	g.mu.Lock()
	var stop, freeze []*instance
	spare := g.readyLocked() - g.holdLocked(now)
	for in := range g.all {
		if in.active > 0 || in.draining {
			continue
		}
		idle := now.Sub(in.idleSince)
		switch {
		case spare > 0 && g.expiredLocked(idle):
			spare--
			g.unlistLocked(in)
			stop = append(stop, in)
		case g.pool.cfg.FreezeAfter > 0 && idle > g.pool.cfg.FreezeAfter:
			freeze = append(freeze, in)
		}
	}
	if spare < 0 && !g.retired && g.starting == 0 && g.queue.len() == 0 {
		g.beginLocked()
	}
	empty := g.retired && len(g.all) == 0 && g.starting == 0 && g.queue.len() == 0
	g.mu.Unlock()
	for _, in := range stop {
		in.stop()
	}
	for _, in := range freeze {
		g.freeze(in)
	}
	return empty
}

// holdLocked is how many instances are worth having at now, whether calls run
// or not: the warm ones, and one where the market wants it.
func (g *group) holdLocked(now time.Time) int {
	warm := g.version.Spec.Concurrency.Warm
	if g.retired {
		return 0
	}
	if _, fixed := g.version.Spec.KeepAlive.Fixed(); fixed {
		return warm
	}
	if g.busyLocked() || g.pool.market.Wanted(g.keep, now, g.worthLocked(), g.firings(now)...) {
		return max(warm, 1)
	}
	return warm
}

func (g *group) busyLocked() bool {
	for in := range g.all {
		if in.active > 0 {
			return true
		}
	}
	return false
}

// expiredLocked reports whether an instance beyond those to hold goes now.
func (g *group) expiredLocked(idle time.Duration) bool {
	if d, fixed := g.version.Spec.KeepAlive.Fixed(); fixed {
		return idle > d.D()
	}
	return idle > g.pool.cfg.Surplus
}

// freeze pauses an instance unless a call took it meanwhile.
func (g *group) freeze(in *instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if in.active == 0 && !in.draining && in.freeze() {
		g.size = in.Usage().Memory
	}
}

// forget frees what the driver keeps for the version.
func (g *group) forget() {
	g.mu.Lock()
	spec := g.spec
	g.mu.Unlock()
	if spec != nil {
		g.driver.Forget(spec)
	}
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
