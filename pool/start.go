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
