package pool

import "time"

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
