package triggertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Rig is an engine with a store for each family of logs that a test names.
type Rig struct {
	t      testing.TB
	Engine *engine.Engine
	Dead   *event.Dead
	Apps   *Apps

	ctx      context.Context
	stopWork context.CancelFunc
	work     sync.WaitGroup
	ctxStore context.Context
	stopAll  context.CancelFunc
	stores   sync.WaitGroup
	once     sync.Once
}

// New starts an engine in dir, "" for a temporary folder. The test's end stops
// it.
func New(t testing.TB, dir string, apps *Apps) *Rig {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	e, err := engine.Open(context.Background(), engine.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	r := &Rig{t: t, Engine: e, Apps: apps}
	r.ctx, r.stopWork = context.WithCancel(context.Background())
	r.ctxStore, r.stopAll = context.WithCancel(context.Background())
	r.Dead = event.NewDead(r.Store("DEAD"))
	t.Cleanup(r.Stop)
	return r
}

// Store opens and runs a store over logs.
func (r *Rig) Store(logs ...string) *event.Store {
	r.t.Helper()
	var all []event.Log
	for _, name := range logs {
		log, err := r.Engine.Log(context.Background(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, log)
	}
	store, err := event.Open(context.Background(), event.Config{Logs: all})
	if err != nil {
		r.t.Fatal(err)
	}
	r.stores.Go(func() { _ = store.Run(r.ctxStore) })
	return store
}

// Bucket opens a bucket of the engine.
func (r *Rig) Bucket(name string) *engine.Bucket {
	r.t.Helper()
	b, err := r.Engine.Bucket(context.Background(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// Run runs a part until Stop.
func (r *Rig) Run(run func(context.Context) error) {
	r.work.Go(func() {
		if err := run(r.ctx); err != nil {
			r.t.Error(err)
		}
	})
}

// Stop ends the parts, then the stores, then the engine. It may be called twice.
func (r *Rig) Stop() {
	r.once.Do(func() {
		r.stopWork()
		r.work.Wait()
		r.stopAll()
		r.stores.Wait()
		_ = r.Engine.Close()
	})
}

// Until waits for a condition.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// Apps are manifests that a test deploys.
type Apps struct {
	mu  sync.Mutex
	all map[mayfly.AppName]*mayfly.Manifest
}

// Deploy makes Apps of manifests.
func Deploy(all ...*mayfly.Manifest) *Apps {
	a := &Apps{all: map[mayfly.AppName]*mayfly.Manifest{}}
	for _, m := range all {
		a.Set(m)
	}
	return a
}

// Set deploys a manifest.
func (a *Apps) Set(m *mayfly.Manifest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[m.App] = m
}

// Manifest implements trigger.Apps.
func (a *Apps) Manifest(app mayfly.AppName) (*mayfly.Manifest, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, ok := a.all[app]
	return m, ok
}

// Manifests implements trigger.Apps.
func (a *Apps) Manifests() []*mayfly.Manifest {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*mayfly.Manifest
	for _, m := range a.all {
		out = append(out, m)
	}
	return out
}

// Bindings are those of a kind.
func (a *Apps) Bindings(kind mayfly.TriggerKind) []trigger.Binding {
	var out []trigger.Binding
	for _, m := range a.Manifests() {
		for name, fn := range m.Functions {
			for i, t := range fn.On {
				if k, _ := t.Kind(); k == kind {
					out = append(out, trigger.Binding{App: m.App, Function: name, Index: i, Trigger: t, Spec: fn, Manifest: m})
				}
			}
		}
	}
	return out
}

// Invoker is a function as a trigger sees it.
type Invoker func(ctx context.Context, c *trigger.Call) ([]byte, error)

// Call implements trigger.Invoker.
func (f Invoker) Call(ctx context.Context, c *trigger.Call) ([]byte, error) { return f(ctx, c) }

// Journal opens and runs the journal of the EVENTS log.
func (r *Rig) Journal() *event.Journal {
	r.t.Helper()
	log, err := r.Engine.Log(context.Background(), "EVENTS")
	if err != nil {
		r.t.Fatal(err)
	}
	j := event.NewJournal(log, nil)
	if err := j.Open(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.stores.Go(func() { _ = j.Run(r.ctxStore) })
	return j
}
