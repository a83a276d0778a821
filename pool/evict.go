package pool

import (
	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/schedule"
)

// priority is what a group's instances are worth keeping after a call.
func (p *Pool) priority(calls int, w schedule.Worth) float64 {
	if p.cfg.Memory == 0 {
		return 0
	}
	p.evicting.Lock()
	defer p.evicting.Unlock()
	return p.evictor.Used(calls, w.Cold, w.Size)
}

// evict measures instances, and stops idle ones where all together hold more
// than the node may give.
func (p *Pool) evict(groups []*group) {
	if p.cfg.Memory == 0 {
		return
	}
	var owners []*instance
	var all []schedule.Resident
	for _, g := range groups {
		for _, in := range g.instances() {
			size := in.Usage().Memory
			g.measured(in, size)
			owners = append(owners, in)
			all = append(all, schedule.Resident{ID: in.ID(), Size: size, Priority: g.worth(), Busy: g.needed(in)})
		}
	}
	p.evicting.Lock()
	victims := p.evictor.Victims(all, p.cfg.Memory)
	p.evicting.Unlock()
	for _, i := range victims {
		owners[i].group.evict(owners[i])
	}
}

func (g *group) instances() []*instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*instance, 0, len(g.all))
	for in := range g.all {
		if !in.draining {
			all = append(all, in)
		}
	}
	return all
}

// measured keeps the size of an idle instance.
func (g *group) measured(in *instance, size mayfly.Bytes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if in.active == 0 {
		g.size = size
	}
}

func (g *group) worth() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.priority
}

// needed reports whether an instance must stay: calls run in it or wait for it.
func (g *group) needed(in *instance) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return in.active > 0 || g.queue.len() > 0
}

// evict stops an instance unless a call took it meanwhile.
func (g *group) evict(in *instance) {
	g.mu.Lock()
	idle := in.active == 0 && !in.draining
	if idle {
		g.unlistLocked(in)
	}
	g.mu.Unlock()
	if idle {
		in.stop()
	}
}
