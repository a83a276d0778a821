package table

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Source has the change logs. The database service is one.
type Source interface {
	Position(ctx context.Context, app mayfly.AppName, database, binding string) (int64, error)
	Changes(ctx context.Context, app mayfly.AppName, database, table string, events []string, after int64, limit int) (changes []service.RowChange, upTo int64, err error)
	Advance(ctx context.Context, app mayfly.AppName, database, binding string, position int64) error
	Keep(ctx context.Context, app mayfly.AppName, database string, bindings []string) error
}

// Aside accepts one asynchronous call of a binding's function, durably.
type Aside func(ctx context.Context, b *trigger.Binding, id string, event []byte) error

// Config says what the driver is made of. Source, Invoker and Aside are needed.
type Config struct {
	Source  Source
	Invoker trigger.Invoker
	Aside   Aside
	Poll    time.Duration // between looks where nobody woke; default 5 s
	Backoff time.Duration // after the first failure, doubling to 1 m; default 500 ms
	Log     *slog.Logger  // default: discards
}

const (
	defaultBatch    = 100
	maxBatch        = 1000
	defaultAttempts = 5
	longestBackoff  = time.Minute
	pruneEvery      = 30 * time.Second
)

// Driver runs the followers of all bindings. It is safe for concurrent use.
type Driver struct {
	cfg    Config
	change chan struct{} // holds a token when Run must look at the bindings

	mu        sync.Mutex
	wanted    map[string]trigger.Binding // guarded by mu; by app and binding
	followers map[string]*follower       // guarded by mu
}

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without bindings.
func New(cfg Config) *Driver {
	if cfg.Poll == 0 {
		cfg.Poll = 5 * time.Second
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = 500 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Driver{cfg: cfg, change: make(chan struct{}, 1), wanted: map[string]trigger.Binding{}, followers: map[string]*follower{}}
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerTable }

// Check wants DATABASE.TABLE of a declared database, and known events.
func (d *Driver) Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: table %s", fn, t.Table)
	database, table, ok := strings.Cut(t.Table, ".")
	if !ok || table == "" || strings.HasPrefix(strings.ToLower(table), "_mayfly_") || strings.HasPrefix(strings.ToLower(table), "sqlite_") {
		return mayfly.Errorf(mayfly.Invalid, op, "write it as DATABASE.TABLE, such as main.orders")
	}
	spec, ok := m.Databases[database]
	if !ok {
		return mayfly.Errorf(mayfly.Invalid, op, "the app declares no database %q; add it under databases:", database)
	}
	if t.Batch < 0 || t.Batch > maxBatch {
		return mayfly.Errorf(mayfly.Invalid, op, "batch must be between 1 and %d", maxBatch)
	}
	for _, e := range t.Events {
		switch {
		case e == "truncate" && (spec == nil || spec.Engine != "postgres"):
			return mayfly.Errorf(mayfly.Invalid, op, "truncate is an event of PostgreSQL's tables; SQLite has no such statement, and tells a delete of each row")
		case e != "insert" && e != "update" && e != "delete" && e != "truncate":
			return mayfly.Errorf(mayfly.Invalid, op, "%q is not an event of a table; use insert, update, delete or truncate", e)
		}
	}
	return nil
}

func key(b *trigger.Binding) string { return string(b.App) + "/" + b.Key() }

func database(b *trigger.Binding) string {
	name, _, _ := strings.Cut(b.Trigger.Table, ".")
	return name
}

// Apply notes where new bindings begin: with what is committed after it.
func (d *Driver) Apply(ctx context.Context, all []trigger.Binding) error {
	wanted := map[string]trigger.Binding{}
	var problems []error
	for _, b := range all {
		wanted[key(&b)] = b
		if _, err := d.cfg.Source.Position(ctx, b.App, database(&b), b.Key()); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", &b, err))
		}
	}
	d.mu.Lock()
	d.wanted = wanted
	d.mu.Unlock()
	d.poke()
	return errors.Join(problems...)
}

func (d *Driver) poke() {
	select {
	case d.change <- struct{}{}:
	default:
	}
}

// Wake says that a database may have new changes.
func (d *Driver) Wake(app mayfly.AppName, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.followers {
		if f.b.App == app && database(&f.b) == name {
			f.poke()
		}
	}
}

// Run keeps a follower for each binding until ctx ends and all have.
func (d *Driver) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	for {
		d.reconcile(ctx, &group)
		select {
		case <-ctx.Done():
			return nil
		case <-d.change:
			d.prune(ctx)
		case <-prune.C:
			d.prune(ctx)
		}
	}
}

// reconcile starts and ends followers. One whose binding changed is started
// again once the old one has ended.
func (d *Driver) reconcile(ctx context.Context, group *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, f := range d.followers {
		b, ok := d.wanted[k]
		if !ok || !same(&b, &f.b) {
			f.stop()
			delete(d.followers, k)
		}
	}
	for k, b := range d.wanted {
		if d.followers[k] != nil {
			continue
		}
		f := &follower{d: d, b: b, wake: make(chan struct{}, 1)}
		var own context.Context
		own, f.stop = context.WithCancel(ctx)
		d.followers[k] = f
		group.Go(func() { f.run(own) })
	}
}

func same(a, b *trigger.Binding) bool {
	return a.Trigger.Table == b.Trigger.Table && a.Trigger.Batch == b.Trigger.Batch && a.Trigger.Attempts == b.Trigger.Attempts &&
		slices.Equal(a.Trigger.Events, b.Trigger.Events)
}

// prune lets the databases drop what every binding was told.
func (d *Driver) prune(ctx context.Context) {
	type place struct {
		app  mayfly.AppName
		name string
	}
	bindings := map[place][]string{}
	d.mu.Lock()
	for _, b := range d.wanted {
		p := place{b.App, database(&b)}
		bindings[p] = append(bindings[p], b.Key())
	}
	d.mu.Unlock()
	for p, names := range bindings {
		if err := d.cfg.Source.Keep(ctx, p.app, p.name, names); err != nil && ctx.Err() == nil {
			d.cfg.Log.Warn("the change log of a database was not cleaned", "app", p.app, "database", p.name, "error", err)
		}
	}
}
