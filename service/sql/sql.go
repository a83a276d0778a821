package sql

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// DefaultTimeout is how long a statement may take where a manifest does not say.
const DefaultTimeout = 30 * time.Second

// Config says what the service is made of.
type Config struct {
	Dir     string // folder of the files; made where missing
	Tmp     string // folder of copies while they are read; made where missing; default Dir/.tmp
	Authz   service.Authorizer
	Secrets Secrets                                        // of PostgreSQL's DSNs; nil: there is no PostgreSQL
	Changed func(app mayfly.AppName, database string)      // changes may be there for those who listen; may be nil
	Buckets func(app mayfly.AppName, bucket string) Bucket // for copies in buckets; nil: there are none
	Quotas  *service.Quotas                                // of apps; nil: none has one
	Wait    time.Duration                                  // for a connection; default 10 s
	Idle    time.Duration                                  // of a transaction between two requests; default 10 s
	Longest time.Duration                                  // a transaction may last; default 60 s
	Watch   time.Duration                                  // between looks at what PostgreSQL keeps for table triggers; default 10 s
	Door    string                                         // host:port at which functions reach Serve; "": they are not told
	Log     *slog.Logger                                   // default: discards
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Tmp == "" {
		c.Tmp = filepath.Join(c.Dir, ".tmp")
	}
	if c.Wait == 0 {
		c.Wait = 10 * time.Second
	}
	if c.Idle == 0 {
		c.Idle = 10 * time.Second
	}
	if c.Longest == 0 {
		c.Longest = time.Minute
	}
	if c.Watch == 0 {
		c.Watch = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Secrets resolves a secret of an app.
type Secrets interface {
	Secret(ctx context.Context, app mayfly.AppName, name string) (string, error)
}

// Driver is the databases of a node. It is safe for concurrent use.
type Driver struct {
	cfg      Config
	streams  streams
	sessions sessions
	moved    chan struct{} // holds a token when there may be new captures to run

	applying sync.Mutex         // held by Apply, and by Run while it revives databases
	apps     []*mayfly.Manifest // guarded by applying; of the last Apply

	mu        sync.RWMutex
	databases map[string]*database // guarded by mu; by "app/name"
	servers   map[string]*postgres // guarded by mu; by "app/name"
	captures  map[string]*capture  // guarded by mu; of servers whose changes functions listen to
	waiting   map[string]bool      // guarded by mu; databases that Run revives of their copies
	running   bool                 // guarded by mu
	closed    bool                 // guarded by mu
}

var (
	_ service.Driver      = (*Driver)(nil)
	_ service.Environment = (*Driver)(nil)
)

// New makes the service; it opens a database when an app declares it.
func New(cfg Config) *Driver {
	d := &Driver{cfg: cfg.WithDefaults(), moved: make(chan struct{}, 1), databases: map[string]*database{}, servers: map[string]*postgres{}, captures: map[string]*capture{}, waiting: map[string]bool{}}
	d.streams.init(d.cfg)
	return d
}

// Kind is the kind of resource that grants name.
func (d *Driver) Kind() string { return service.KindDatabase }

// Environ is the path of each database below MAYFLY_ENDPOINT, as
// MAYFLY_DATABASE_NAME: the two together are the URL that libSQL's client takes;
// and where PostgreSQL's clients find those of that engine.
func (d *Driver) Environ(m *mayfly.Manifest, fn mayfly.FunctionName) map[string]string {
	out := map[string]string{}
	for name := range m.Databases {
		out["MAYFLY_DATABASE_"+variable(name)] = "/v1/apps/" + string(m.App) + "/databases/" + name + "/"
	}
	d.wireEnviron(m, fn, out)
	return out
}

func (d *Driver) file(app mayfly.AppName, name string) string {
	return filepath.Join(d.cfg.Dir, string(app), name+".db")
}

func (d *Driver) database(app mayfly.AppName, name string) *database {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.databases[string(app)+"/"+name]
}

func (d *Driver) postgres(app mayfly.AppName, name string) *postgres {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.servers[string(app)+"/"+name]
}

// Run revives databases of their copies, rolls back transactions that are idle or
// too old, and follows the changes of PostgreSQL databases, until ctx ends.
func (d *Driver) Run(ctx context.Context) error {
	defer d.close()
	var group sync.WaitGroup
	defer group.Wait()
	d.mu.Lock()
	d.running = true
	d.mu.Unlock()
	group.Go(func() { d.revive(ctx) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		d.runCaptures(ctx, &group)
		d.runCopies(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-d.moved:
		case <-tick.C:
			d.streams.sweep(time.Now())
		}
	}
}

// runCaptures starts those that do not run yet.
func (d *Driver) runCaptures(ctx context.Context, group *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.captures {
		if c.ended == nil {
			var own context.Context
			own, c.cancel = context.WithCancel(ctx)
			c.ended = make(chan struct{})
			group.Go(func() { c.run(own) })
		}
	}
}

func (d *Driver) close() {
	d.mu.Lock()
	d.closed = true
	all := d.databases
	d.databases = map[string]*database{}
	servers := d.servers
	d.servers = map[string]*postgres{}
	captures := d.captures
	d.captures = map[string]*capture{}
	d.mu.Unlock()
	d.sessions.end()
	for _, c := range captures {
		c.stop()
	}
	for _, p := range servers {
		p.pool.Close()
	}
	for _, db := range all {
		d.streams.end(db)
		db.close()
	}
}

// Close ends the service where Run was never called. It may be called twice.
func (d *Driver) Close() error {
	d.close()
	return nil
}
