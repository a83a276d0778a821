package control

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/manifest"
)

// Index is the config index. A Put whose revision is not the key's last (0: it
// must not exist) returns a Conflict error; one that returns is visible to Get
// and List, and the functions given to Watch have been told.
type Index interface {
	Get(key string) (value []byte, rev uint64, ok bool)
	List(prefix string) iter.Seq[engine.Entry]
	Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
	Watch(prefix string, fn func(engine.Change)) (stop func())
}

// Warmer starts versions before they become live.
type Warmer interface {
	// Check says what to install where this machine cannot run the runtime.
	Check(ctx context.Context, r mayfly.Runtime) error
	// Prepare compiles or checks a version. It is idempotent.
	Prepare(ctx context.Context, v *mayfly.Version) error
	// Warm starts one instance and waits until its initialisation is done. It
	// returns the FunctionError of one that fails.
	Warm(ctx context.Context, v *mayfly.Version) error
}

// TriggerCheck is what a trigger driver says of its bindings at plan.
type TriggerCheck interface {
	Kind() mayfly.TriggerKind
	Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error
}

// Resource is what a data service does at plan and at deploy.
type Resource interface {
	Kind() string
	Check(m *mayfly.Manifest) error
	// Apply makes what all apps declare exist. It is called before a deploy
	// starts its versions, with what the app has and is going to have, where that
	// fails again with what it has, and at each Publish. It is not called by two
	// at once.
	Apply(ctx context.Context, apps []*mayfly.Manifest) error
}

// Stepper is a Resource whose Apply does more than make what is declared.
type Stepper interface {
	// Steps is what the next Apply with m would do, by name.
	Steps(m *mayfly.Manifest) (map[string][]string, error)
}

// Images fetches container images that a manifest names by reference.
type Images interface {
	// Fetch writes the image as an OCI layout into dir, and pins it by digest.
	Fetch(ctx context.Context, ref, dir string) error
}

// Config configures a Control.
type Config struct {
	Index     Index
	Artifacts *artifact.Store
	Warmer    Warmer
	Triggers  []TriggerCheck
	Resources []Resource
	Images    Images // nil: containers come from files of the app's folder only
	Supported manifest.Supported
	Log       *slog.Logger

	// Abandon is told of versions that were started and will never be live. May
	// be nil.
	Abandon func([]*mayfly.Version)

	Parallel     int           // functions packed or started at once; default 4
	VersionsKept int           // of a function, beside those in use; default mayfly.VersionsKept
	CollectAfter time.Duration // between a change and the removal of what nothing refers to; default 1m
}

func (c Config) withDefaults() Config {
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	if c.VersionsKept == 0 {
		c.VersionsKept = mayfly.VersionsKept
	}
	if c.CollectAfter == 0 {
		c.CollectAfter = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Control holds the state of all apps. It is safe for concurrent use.
type Control struct {
	cfg   Config
	state atomic.Pointer[State]
	stop  func() // ends the watch

	// deploying is held for reading by what makes bundles and versions, for
	// writing by what removes them.
	deploying sync.RWMutex

	applying sync.Mutex // held while resources are told

	mu      sync.Mutex
	apps    map[mayfly.AppName]*sync.Mutex // one change of an app at a time; guarded by mu
	pending map[mayfly.AppName]*pending    // changes under way; guarded by mu
	used    map[string]int                 // by "APP.FUNCTION", the highest version number given out; guarded by mu

	remembered *images // for lenient deploys

	rebuild sync.Mutex // state is replaced by one goroutine at a time

	publishing  sync.Mutex
	subscribers []*subscriber // guarded by publishing
	changed     chan struct{} // state has changed since Run last looked
}

// pending is what an app is going to have.
type pending struct {
	manifest *mayfly.Manifest
	applied  bool // resources have it
}

// Subscriber is told of every new state, one at a time. It is told again of the
// same state where it returned an error.
type Subscriber func(ctx context.Context, s *State) error

type subscriber struct {
	name string
	fn   Subscriber
	seen *State
}

// New reads the state from the index and follows it until Close.
func New(cfg Config) (*Control, error) {
	c := &Control{cfg: cfg.withDefaults(), apps: map[mayfly.AppName]*sync.Mutex{}, used: map[string]int{}, pending: map[mayfly.AppName]*pending{}, changed: make(chan struct{}, 1)}
	c.remembered = &images{from: cfg.Images, known: map[string]string{}}
	c.state.Store(&State{apps: map[mayfly.AppName]*App{}})
	c.Subscribe("resources", func(ctx context.Context, _ *State) error { return c.applyResources(ctx, "") })
	c.stop = c.cfg.Index.Watch(appsPrefix, func(ch engine.Change) { c.reload(ch.Key) })
	var broken error
	for e := range c.cfg.Index.List(appsPrefix) {
		broken = errors.Join(broken, c.reload(e.Key))
	}
	if broken != nil {
		c.stop()
		return nil, mayfly.Errorf(mayfly.Internal, "read the apps", "%w", broken)
	}
	return c, nil
}

// Close ends what New began. It may be called twice.
func (c *Control) Close() error {
	c.stop()
	return nil
}

// Run tells subscribers of changes that other nodes made, and removes versions
// and bundles that nothing refers to any more. It returns when ctx ends.
func (c *Control) Run(ctx context.Context) error {
	collect := time.NewTimer(c.cfg.CollectAfter)
	defer collect.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
			if err := c.Publish(ctx); err != nil && ctx.Err() == nil {
				c.cfg.Log.Error("a new state is not in force everywhere", "error", err)
			}
			collect.Reset(c.cfg.CollectAfter)
		case <-collect.C:
			if _, err := c.Collect(ctx); err != nil && ctx.Err() == nil {
				c.cfg.Log.Warn("old versions could not be removed", "error", err)
			}
		}
	}
}

// Subscribe adds a subscriber, which is told from the next Publish on. Those
// that came first are told first. name is for errors.
func (c *Control) Subscribe(name string, fn Subscriber) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	c.subscribers = append(c.subscribers, &subscriber{name: name, fn: fn})
}

// Publish tells the current state to every subscriber that does not have it.
// Deploy and the like call it; the daemon does once at start.
func (c *Control) Publish(ctx context.Context) error {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	state := c.State()
	var failed error
	for _, s := range c.subscribers {
		if s.seen == state {
			continue
		}
		if err := s.fn(ctx, state); err != nil {
			failed = errors.Join(failed, mayfly.Errorf(mayfly.CodeOf(err), s.name, "%w", err))
			continue
		}
		s.seen = state
	}
	return failed
}

// State is every app at this moment. It never changes.
func (c *Control) State() *State { return c.state.Load() }

// Version resolves what a call names; see State.Version.
func (c *Control) Version(app mayfly.AppName, fn mayfly.FunctionName, qualifier string, roll int) (*mayfly.Version, error) {
	return c.State().Version(app, fn, qualifier, roll)
}

// Manifest is what an app's versions start with: that of a deploy under way
// here, else the live one; nil where there is neither.
func (c *Control) Manifest(app mayfly.AppName) *mayfly.Manifest {
	c.mu.Lock()
	p := c.pending[app]
	c.mu.Unlock()
	if p != nil {
		return p.manifest
	}
	if a, err := c.State().App(app); err == nil {
		return a.Manifest
	}
	return nil
}

// pend makes m its app's manifest for starts, until unpend or the app's lock is
// released.
func (c *Control) pend(m *mayfly.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[m.App] = &pending{manifest: m}
}

func (c *Control) unpend(app mayfly.AppName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, app)
}

// applyResources makes what all apps have, and what those are going to have whose
// changes are under way, so that no change takes away what another one made. A
// change of app, "" for none, has its resources made here.
func (c *Control) applyResources(ctx context.Context, app mayfly.AppName) error {
	c.applying.Lock()
	defer c.applying.Unlock()
	apps := c.declared(app)
	var failed []error
	for _, r := range c.cfg.Resources {
		if err := r.Apply(ctx, apps); err != nil {
			failed = append(failed, mayfly.Errorf(mayfly.CodeOf(err), r.Kind(), "%w", err))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pending[app]; p != nil && failed == nil {
		p.applied = true
	}
	return together(failed)
}

// declared is what resources have to hold. Of changes under way those are in it
// that resources have already, and that of app.
func (c *Control) declared(app mayfly.AppName) []*mayfly.Manifest {
	next := map[mayfly.AppName]*mayfly.Manifest{}
	c.mu.Lock()
	for name, p := range c.pending {
		if p.applied || name == app {
			next[name] = p.manifest
		}
	}
	c.mu.Unlock()
	var all []*mayfly.Manifest
	for _, a := range c.State().Apps() {
		m := a.Manifest
		if want := next[a.Name]; want != nil {
			m = transition(a, want)
			delete(next, a.Name)
		}
		all = append(all, m)
	}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		all = append(all, next[name])
	}
	return all
}

// lock is held during a change of an app, and keeps the collector out.
func (c *Control) lock(app mayfly.AppName) (unlock func()) {
	c.mu.Lock()
	l, ok := c.apps[app]
	if !ok {
		l = &sync.Mutex{}
		c.apps[app] = l
	}
	c.mu.Unlock()
	l.Lock()
	c.deploying.RLock()
	return func() {
		c.unpend(app)
		c.deploying.RUnlock()
		l.Unlock()
	}
}
