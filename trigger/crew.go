package trigger

import (
	"context"
	"sync"
	"time"
)

// Work takes what there is to do until ctx ends, and returns when all that it began
// is done, which should be soon when working ends.
type Work func(ctx, working context.Context)

// Crew runs members that come and go: what a driver has for each binding. It is
// safe for concurrent use.
type Crew struct {
	drain time.Duration
	wake  chan struct{} // holds a token when some are new

	mu    sync.Mutex
	fresh []*Member // guarded by mu; wait for Run to start them
}

// Member is one of a Crew.
type Member struct {
	work  Work
	stays context.Context
	leave context.CancelFunc
	ended chan struct{}
}

// NewCrew makes a Crew whose members have drain to end what they began when Run's
// context ends.
func NewCrew(drain time.Duration) *Crew {
	return &Crew{drain: drain, wake: make(chan struct{}, 1)}
}

// Join adds a member, which works while Run runs.
func (c *Crew) Join(work Work) *Member {
	m := &Member{work: work, ended: make(chan struct{})}
	m.stays, m.leave = context.WithCancel(context.Background())
	c.mu.Lock()
	c.fresh = append(c.fresh, m)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return m
}

// Leave has a member take nothing more. It may be called twice.
func (m *Member) Leave() { m.leave() }

// Ended is closed when the member's work has returned, which is not before Run
// runs.
func (m *Member) Ended() <-chan struct{} { return m.ended }

// Run has the members work until ctx ends, and returns when all have ended.
func (c *Crew) Run(ctx context.Context) {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var members sync.WaitGroup
	for ctx.Err() == nil {
		c.mu.Lock()
		fresh := c.fresh
		c.fresh = nil
		c.mu.Unlock()
		for _, m := range fresh {
			members.Go(func() { m.run(ctx, working) })
		}
		select {
		case <-ctx.Done():
		case <-c.wake:
		}
	}
	defer time.AfterFunc(c.drain, stop).Stop()
	members.Wait()
}

func (m *Member) run(ctx, working context.Context) {
	defer close(m.ended)
	defer m.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.stays, cancel)()
	if m.stays.Err() == nil {
		m.work(ctx, working)
	}
}
