package pool

import (
	"context"
	"errors"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/schedule"
)

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
	idle := g.addLocked(in, spec, time.Since(began))
	g.mu.Unlock()
	if idle {
		in.stop()
	}
}

// addLocked takes a started instance in: it serves the queue and is watched. It
// reports whether nobody needs it any more.
func (g *group) addLocked(in *instance, spec *sandbox.Spec, took time.Duration) (idle bool) {
	g.cold.Add(took)
	g.spec, g.tier = spec, in.Info().Tier
	g.all[in] = struct{}{}
	g.lost, g.started = 0, time.Now()
	g.serveLocked(in, g.started)
	g.startLocked(g.started)
	if idle = in.active == 0 && g.retired; idle {
		g.unlistLocked(in)
	}
	g.pool.wg.Add(1)
	go g.watch(in)
	return idle
}

// heldLocked takes a slot of an instance that the driver holds ready, where the
// version has none and none is being started: to hand the start to another
// goroutine, and to be woken by it, takes longer than such a start. It returns
// nil where there is none. g.mu is given up meanwhile.
func (g *group) heldLocked(ctx context.Context) *instance {
	driver, ok := g.driver.(sandbox.Stocked)
	if !ok || len(g.all)+g.starting+g.queue.len() > 0 {
		return nil
	}
	g.starting++
	g.pool.wg.Add(1)
	defer g.pool.wg.Done()
	g.mu.Unlock()
	began := time.Now()
	var in *instance
	spec, err := g.pool.cfg.Specs.Spec(ctx, g.version)
	if err == nil { // else the start that follows tells
		if raw := driver.Held(spec, g.pool.cfg.Output); raw != nil {
			in = newInstance(g, raw)
		}
	}
	g.mu.Lock()
	g.starting--
	if in == nil {
		return nil
	}
	in.active++
	g.addLocked(in, spec, time.Since(began))
	return in
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
