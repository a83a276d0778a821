package pool

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/schedule"
)

// Specs resolves a version to what a driver needs: its bundle on this machine
// and its environment with secrets. It is asked at every start, so that a
// rotated secret reaches new instances.
type Specs interface {
	Spec(ctx context.Context, v *mayfly.Version) (*sandbox.Spec, error)
}

// Config configures a Pool.
type Config struct {
	Drivers map[mayfly.Runtime]sandbox.Driver
	Specs   Specs
	Output  sandbox.Output
	Log     *slog.Logger

	// Firings are the next times at which schedules call a function; nil: none.
	Firings func(app mayfly.AppName, fn mayfly.FunctionName, now time.Time) []time.Time

	Memory      mayfly.Bytes  // of all instances together, beyond which idle ones are evicted; 0: no bound
	FreezeAfter time.Duration // idle time before an instance is frozen; default 2s, negative never
	Surplus     time.Duration // idle time after which instances beyond the one worth holding go; default 1m
	StartWithin time.Duration // least time allowed for a start; default 30s
	Grace       time.Duration // between SIGTERM and force; default 2s
	Parallel    int           // starts at once on this node; default 16
	Cores       int           // processors that instances share; default the machine's
}

func (c Config) withDefaults() Config {
	if c.FreezeAfter == 0 {
		c.FreezeAfter = 2 * time.Second
	}
	if c.Surplus == 0 {
		c.Surplus = time.Minute
	}
	if c.StartWithin == 0 {
		c.StartWithin = 30 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 2 * time.Second
	}
	if c.Parallel == 0 {
		c.Parallel = 16
	}
	if c.Cores == 0 {
		c.Cores = runtime.GOMAXPROCS(0)
	}
	return c
}

// Pool holds the groups of all versions that were ever called or kept warm.
type Pool struct {
	cfg    Config
	starts chan struct{} // a token per start under way
	market *schedule.Market

	evicting sync.Mutex
	evictor  schedule.Evictor // guarded by evicting
	wg       sync.WaitGroup

	processors processors

	mu     sync.RWMutex
	groups map[ref]*group // guarded by mu
	closed bool           // guarded by mu
}

// ref is what Version.Ref names, without a string to be made for each call.
type ref struct {
	app      mayfly.AppName
	function mayfly.FunctionName
	number   int
}

func refOf(v *mayfly.Version) ref { return ref{v.App, v.Function, v.Number} }

// New makes a Pool that starts nothing.
func New(cfg Config) *Pool {
	cfg = cfg.withDefaults()
	return &Pool{cfg: cfg, starts: make(chan struct{}, cfg.Parallel), market: schedule.NewMarket(0), groups: map[ref]*group{}}
}

// Prepare readies a version for starts, as at deploy.
func (p *Pool) Prepare(ctx context.Context, v *mayfly.Version) error {
	driver, err := p.driver(v.Spec.Runtime)
	if err != nil {
		return err
	}
	spec, err := p.cfg.Specs.Spec(ctx, v)
	if err != nil {
		return err
	}
	return driver.Prepare(ctx, spec)
}

// Check reports whether this machine can run a runtime at all.
func (p *Pool) Check(ctx context.Context, r mayfly.Runtime) error {
	driver, err := p.driver(r)
	if err != nil {
		return err
	}
	return driver.Check(ctx)
}

func (p *Pool) driver(r mayfly.Runtime) (sandbox.Driver, error) {
	if d, ok := p.cfg.Drivers[r]; ok {
		return d, nil
	}
	return nil, mayfly.Errorf(mayfly.Invalid, "", "no driver for runtime %q", r)
}

// Acquire returns a lease on an instance of v, waiting in v's queue where that
// is cheaper than a start. It returns Throttled where the queue is full, the
// FunctionError of a failed start, or ctx's error.
func (p *Pool) Acquire(ctx context.Context, v *mayfly.Version) (*Lease, error) {
	g, err := p.group(v)
	if err != nil {
		return nil, err
	}
	return g.acquire(ctx)
}

// Warm starts one instance of v if it has none and waits for it. A deploy calls
// it before it switches, and so learns whether the version works.
func (p *Pool) Warm(ctx context.Context, v *mayfly.Version) error {
	lease, err := p.Acquire(ctx, v)
	if err != nil {
		return err
	}
	lease.Cold = false // no call has waited
	lease.PutBack()
	return nil
}

// Keep sets the versions that may be called from now on. Groups of others drain:
// their idle instances stop now, busy ones when their calls end.
func (p *Pool) Keep(versions []*mayfly.Version) {
	keep := make(map[ref]*mayfly.Version, len(versions))
	for _, v := range versions {
		keep[refOf(v)] = v
	}
	p.mu.RLock()
	groups := make([]*group, 0, len(p.groups))
	for _, g := range p.groups {
		groups = append(groups, g)
	}
	p.mu.RUnlock()
	for _, g := range groups {
		g.retire(keep[refOf(g.version)] == nil)
	}
	for _, v := range versions {
		if v.Spec.Concurrency.Warm > 0 {
			if g, err := p.group(v); err == nil {
				g.ensureWarm()
			}
		}
	}
}

func (p *Pool) group(v *mayfly.Version) (*group, error) {
	ref := refOf(v)
	p.mu.RLock()
	g, closed := p.groups[ref], p.closed
	p.mu.RUnlock()
	if closed {
		return nil, errDraining
	}
	if g != nil && g.version.Digest == v.Digest {
		return g, nil
	}
	driver, err := p.driver(v.Spec.Runtime)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errDraining
	}
	if g := p.groups[ref]; g != nil && g.version.Digest == v.Digest {
		return g, nil
	} else if g != nil {
		// An app was removed and made again: its numbers start at one again.
		go g.retire(true)
	}
	g = newGroup(p, v, driver)
	p.groups[ref] = g
	return g, nil
}

var errDraining = mayfly.Errorf(mayfly.Unavailable, "", "the node is shutting down")

// Run freezes and stops idle instances until ctx ends.
func (p *Pool) Run(ctx context.Context) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.sweep(now)
		}
	}
}

func (p *Pool) sweep(now time.Time) {
	p.mu.RLock()
	groups := make([]*group, 0, len(p.groups))
	for _, g := range p.groups {
		groups = append(groups, g)
	}
	p.mu.RUnlock()
	for _, g := range groups {
		if g.sweep(now) {
			p.drop(g)
		}
	}
	p.evict(groups)
}

// drop forgets a retired group without instances.
func (p *Pool) drop(g *group) {
	p.mu.Lock()
	if p.groups[refOf(g.version)] == g {
		delete(p.groups, refOf(g.version))
	}
	p.mu.Unlock()
	g.forget()
}

// Close stops every instance, letting calls under way end until ctx does. New
// calls get Unavailable.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	groups := make([]*group, 0, len(p.groups))
	for _, g := range p.groups {
		groups = append(groups, g)
	}
	p.mu.Unlock()
	for _, g := range groups {
		g.retire(true)
	}
	done := make(chan struct{})
	go func() { p.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, g := range groups {
		g.kill()
	}
	<-done
	return ctx.Err()
}

// Stats is the state of one version's instances.
type Stats struct {
	App      mayfly.AppName      `json:"app"`
	Function mayfly.FunctionName `json:"function"`
	Version  int                 `json:"version"`
	Ready    int                 `json:"ready"`
	Busy     int                 `json:"busy"` // calls under way
	Idle     int                 `json:"idle"`
	Frozen   int                 `json:"frozen"`
	Starting int                 `json:"starting"`
	Waiting  int                 `json:"waiting"`
	Tier     sandbox.Tier        `json:"isolation"` // of the newest instance
}

// Stats lists the groups that have instances or waiting calls.
func (p *Pool) Stats() []Stats {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var all []Stats
	for _, g := range p.groups {
		if s := g.stats(); s.Ready+s.Starting+s.Waiting > 0 {
			all = append(all, s)
		}
	}
	return all
}
