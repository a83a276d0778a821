package sql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// DefaultTimeout is how long a statement may take where a manifest does not say.
const DefaultTimeout = 30 * time.Second

// Config says what the service is made of.
type Config struct {
	Dir     string // folder of the files; made where missing
	Authz   service.Authorizer
	Secrets Secrets                                   // of PostgreSQL's DSNs; nil: there is no PostgreSQL
	Changed func(app mayfly.AppName, database string) // changes may be there for those who listen; may be nil
	Wait    time.Duration                             // for a connection; default 10 s
	Idle    time.Duration                             // of a transaction between two requests; default 10 s
	Longest time.Duration                             // a transaction may last; default 60 s
	Log     *slog.Logger                              // default: discards
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Wait == 0 {
		c.Wait = 10 * time.Second
	}
	if c.Idle == 0 {
		c.Idle = 10 * time.Second
	}
	if c.Longest == 0 {
		c.Longest = time.Minute
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
	cfg     Config
	streams streams

	mu        sync.RWMutex
	databases map[string]*database // guarded by mu; by "app/name"
	servers   map[string]*postgres // guarded by mu; by "app/name"
	closed    bool                 // guarded by mu
}

var (
	_ service.Driver      = (*Driver)(nil)
	_ service.Environment = (*Driver)(nil)
)

// New makes the service; it opens a database when an app declares it.
func New(cfg Config) *Driver {
	d := &Driver{cfg: cfg.WithDefaults(), databases: map[string]*database{}, servers: map[string]*postgres{}}
	d.streams.init(d.cfg)
	return d
}

// Kind is the kind of resource that grants name.
func (d *Driver) Kind() string { return service.KindDatabase }

// Environ is the path of each database below MAYFLY_ENDPOINT, as
// MAYFLY_DATABASE_NAME: the two together are the URL that libSQL's client takes.
func (d *Driver) Environ(m *mayfly.Manifest, _ mayfly.FunctionName) map[string]string {
	out := map[string]string{}
	for name := range m.Databases {
		out["MAYFLY_DATABASE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = "/v1/apps/" + string(m.App) + "/databases/" + name + "/"
	}
	return out
}

// Check says what is wrong with the databases of m, and with their migrations
// against those that ran.
func (d *Driver) Check(m *mayfly.Manifest) error {
	var problems []error
	for name, spec := range m.Databases {
		if err := d.checkOne(m.App, name, spec); err != nil {
			problems = append(problems, fmt.Errorf("databases.%s: %w", name, err))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

func (d *Driver) checkOne(app mayfly.AppName, name string, spec *mayfly.Database) error {
	if !mayfly.ValidName(name) {
		return mayfly.Errorf(mayfly.Invalid, "", "%q cannot name a database: use lower case letters, digits and dashes", name)
	}
	if spec == nil {
		return nil
	}
	switch spec.Engine {
	case "", "sqlite":
		if spec.DSN != "" || spec.Pool != 0 {
			return mayfly.Errorf(mayfly.Invalid, "", "dsn and pool are not for sqlite, which is a file of this node")
		}
	case "postgres":
		if err := d.checkPostgres(spec); err != nil {
			return err
		}
	default:
		return mayfly.Errorf(mayfly.Invalid, "", "engine %q is not known; use sqlite or postgres", spec.Engine)
	}
	for file := range spec.MigrationFiles {
		if !migrationName.MatchString(file) {
			return mayfly.Errorf(mayfly.Invalid, "", "%q is not a migration's name; write it as 001_name.sql", file)
		}
	}
	_, err := d.pending(app, name, spec)
	return err
}

func (d *Driver) checkPostgres(spec *mayfly.Database) error {
	switch {
	case d.cfg.Secrets == nil:
		return mayfly.Errorf(mayfly.Invalid, "", "this node has no secrets, so that there can be no dsn")
	case spec.DSN == "":
		return mayfly.Errorf(mayfly.Invalid, "", "dsn is missing: the name of the secret that holds postgres://USER:PASSWORD@HOST/DATABASE")
	case spec.Quota != 0:
		return mayfly.Errorf(mayfly.Invalid, "", "a quota is for sqlite; limit the server's disk instead")
	case spec.Pool < 0 || spec.Pool > 1000:
		return mayfly.Errorf(mayfly.Invalid, "", "pool must be between 1 and 1000")
	}
	return nil
}

// Plan is what the next Apply would do to the databases of m, a line each.
func (d *Driver) Plan(m *mayfly.Manifest) ([]string, error) {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(m.Databases)) {
		names, err := d.pending(m.App, name, m.Databases[name])
		if err != nil {
			return nil, fmt.Errorf("databases.%s: %w", name, err)
		}
		for _, file := range names {
			lines = append(lines, "database "+name+": run migration "+file)
		}
	}
	return lines, nil
}

func (d *Driver) pending(app mayfly.AppName, name string, spec *mayfly.Database) ([]string, error) {
	if spec == nil {
		return nil, nil
	}
	if spec.Engine == "postgres" {
		return d.pendingPostgres(app, name, spec)
	}
	db := d.database(app, name)
	if db == nil {
		if _, err := os.Stat(d.file(app, name)); err != nil {
			return pending(spec.MigrationFiles, nil)
		}
		c, err := connect(context.Background(), d.file(app, name), true, 0)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return pendingOn(c, spec)
	}
	c, err := db.take(context.Background(), false)
	if err != nil {
		return nil, err
	}
	defer db.give(c)
	return pendingOn(c, spec)
}

// pendingPostgres asks a server that is connected; of another, nothing is known
// before Apply.
func (d *Driver) pendingPostgres(app mayfly.AppName, name string, spec *mayfly.Database) (names []string, err error) {
	p := d.postgres(app, name)
	if p == nil {
		return pending(spec.MigrationFiles, nil)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = p.use(ctx, false, func(c *pgconn.PgConn) error {
		r, err := pgRun(ctx, c, &pgQuery{Query: "SELECT to_regclass('_mayfly_migrations')"})
		if err != nil || r.Rows[0][0] == nil {
			names, err = pending(spec.MigrationFiles, nil)
			return err
		}
		done, err := pgApplied(ctx, c)
		if err != nil {
			return err
		}
		names, err = pending(spec.MigrationFiles, done)
		return err
	})
	return names, err
}

func (d *Driver) postgres(app mayfly.AppName, name string) *postgres {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.servers[string(app)+"/"+name]
}

func pendingOn(c *connection, spec *mayfly.Database) ([]string, error) {
	done, err := c.applied(context.Background())
	if err != nil {
		return nil, err
	}
	return pending(spec.MigrationFiles, done)
}

func (d *Driver) file(app mayfly.AppName, name string) string {
	return filepath.Join(d.cfg.Dir, string(app), name+".db")
}

func (d *Driver) database(app mayfly.AppName, name string) *database {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.databases[string(app)+"/"+name]
}

// Apply opens the apps' databases, runs migrations, and makes the change logs
// follow what functions listen to. Databases that no app declares any more are
// closed, and their files stay.
func (d *Driver) Apply(ctx context.Context, apps []*mayfly.Manifest) error {
	wanted := map[string]bool{}
	var problems []error
	for _, m := range apps {
		for name, spec := range m.Databases {
			if spec == nil {
				spec = &mayfly.Database{}
			}
			wanted[spec.Engine+" "+string(m.App)+"/"+name] = true
			if err := d.applyOne(ctx, m, name, spec); err != nil {
				problems = append(problems, fmt.Errorf("database %s of app %s: %w", name, m.App, err))
			}
		}
	}
	d.mu.Lock()
	var gone []*database
	for key, db := range d.databases {
		if !wanted[" "+key] && !wanted["sqlite "+key] {
			gone = append(gone, db)
			delete(d.databases, key)
		}
	}
	var left []*postgres
	for key, p := range d.servers {
		if !wanted["postgres "+key] {
			left = append(left, p)
			delete(d.servers, key)
		}
	}
	d.mu.Unlock()
	for _, p := range left {
		p.pool.Close()
	}
	for _, db := range gone {
		d.streams.end(db)
		db.close()
	}
	return errors.Join(problems...)
}

func (d *Driver) applyOne(ctx context.Context, m *mayfly.Manifest, name string, spec *mayfly.Database) error {
	if spec.Engine == "postgres" {
		p, err := d.connect(ctx, m.App, name, spec)
		if err != nil {
			return err
		}
		return p.migrate(ctx, spec.MigrationFiles)
	}
	db, err := d.ensure(ctx, m.App, name, spec)
	if err != nil {
		return err
	}
	if err := db.migrate(ctx, spec.MigrationFiles); err != nil {
		return err
	}
	return db.listen(ctx, listened(m, name))
}

func (d *Driver) ensure(ctx context.Context, app mayfly.AppName, name string, spec *mayfly.Database) (*database, error) {
	timeout := spec.Timeout.D()
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if db := d.database(app, name); db != nil {
		return db, db.limit(ctx, spec.Quota, timeout)
	}
	db, err := openDatabase(ctx, d.file(app, name), spec.Quota)
	if err != nil {
		return nil, err
	}
	db.app, db.name, db.wait = app, name, d.cfg.Wait
	db.setTimeout(timeout)
	if d.cfg.Changed != nil {
		db.changed = func() { d.cfg.Changed(app, name) }
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		db.close()
		return nil, mayfly.Errorf(mayfly.Unavailable, "open database", "the node is closing")
	}
	d.databases[string(app)+"/"+name] = db
	return db, nil
}

// connect is the pool of a PostgreSQL database; a new one where its DSN or its
// limits changed.
func (d *Driver) connect(ctx context.Context, app mayfly.AppName, name string, spec *mayfly.Database) (*postgres, error) {
	dsn, err := d.cfg.Secrets.Secret(ctx, app, spec.DSN)
	if err != nil {
		return nil, err
	}
	size, limit := spec.Pool, spec.Timeout.D()
	if size == 0 {
		size = DefaultPool
	}
	if limit == 0 {
		limit = DefaultTimeout
	}
	old := d.postgres(app, name)
	if old != nil && old.dsn == dsn && old.size == size && old.limit == limit {
		return old, nil
	}
	p, err := openPostgres(dsn, size, limit)
	if err != nil {
		return nil, err
	}
	p.app, p.name, p.wait = app, name, d.cfg.Wait
	d.mu.Lock()
	closed := d.closed
	if !closed {
		d.servers[string(app)+"/"+name] = p
	}
	d.mu.Unlock()
	if closed {
		old = p
	}
	if old != nil {
		go old.pool.Close() // it waits for those that use it
	}
	if closed {
		return nil, mayfly.Errorf(mayfly.Unavailable, "open database", "the node is closing")
	}
	return p, nil
}

// limit sets what a manifest may have changed, while no one writes.
func (d *database) limit(ctx context.Context, quota mayfly.Bytes, timeout time.Duration) error {
	c, err := d.take(ctx, true)
	if err != nil {
		return err
	}
	defer d.give(c)
	d.setTimeout(timeout)
	_, err = c.own(ctx, fmt.Sprintf("PRAGMA max_page_count(%d)", pages(quota)))
	return err
}

// listened is which changes of which tables of a database functions listen to.
func listened(m *mayfly.Manifest, database string) map[string]tableSpec {
	tables := map[string]tableSpec{}
	for _, fn := range m.Functions {
		for _, t := range fn.On {
			db, table, _ := strings.Cut(t.Table, ".")
			if t.Table == "" || db != database {
				continue
			}
			if tables[table] == nil {
				tables[table] = tableSpec{}
			}
			wanted := t.Events
			if len(wanted) == 0 {
				wanted = events
			}
			for _, e := range wanted {
				tables[table][e] = true
			}
		}
	}
	return tables
}

// Run rolls back transactions that are idle or too old, until ctx ends.
func (d *Driver) Run(ctx context.Context) error {
	defer d.close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.streams.sweep(time.Now())
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
	d.mu.Unlock()
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

// may asks whether the caller may use a database at all, and whether it may
// write.
func (d *Driver) may(ctx context.Context, app mayfly.AppName, name string) (write bool, err error) {
	who := mayfly.CallerFrom(ctx)
	if d.cfg.Authz.Authorize(ctx, who, app, service.Write, service.KindDatabase, name) == nil {
		return true, nil
	}
	return false, d.cfg.Authz.Authorize(ctx, who, app, service.Read, service.KindDatabase, name)
}

// open is a declared SQLite database that who may use; write says whether it may
// write.
func (d *Driver) open(ctx context.Context, app mayfly.AppName, name string) (db *database, write bool, err error) {
	if write, err = d.may(ctx, app, name); err != nil {
		return nil, false, err
	}
	if db = d.database(app, name); db != nil {
		return db, write, nil
	}
	if d.postgres(app, name) != nil {
		return nil, false, mayfly.Errorf(mayfly.Invalid, "open database", "%s is PostgreSQL; use POST …/databases/%s/sql, which @neondatabase/serverless speaks, or …/query", name, name)
	}
	return nil, false, undeclared(app, name)
}

func (d *Driver) openPostgres(ctx context.Context, app mayfly.AppName, name string) (p *postgres, write bool, err error) {
	if write, err = d.may(ctx, app, name); err != nil {
		return nil, false, err
	}
	if p = d.postgres(app, name); p != nil {
		return p, write, nil
	}
	if d.database(app, name) != nil {
		return nil, false, mayfly.Errorf(mayfly.Invalid, "open database", "%s is SQLite; use a libSQL client", name)
	}
	return nil, false, undeclared(app, name)
}

func undeclared(app mayfly.AppName, name string) error {
	return mayfly.Errorf(mayfly.NotFound, "open database", "app %s declares no database %q; add it under databases: in its manifest", app, name)
}

// Query runs one statement by itself, as the caller of ctx.
func (d *Driver) Query(ctx context.Context, app mayfly.AppName, name string, s *Statement) (*Result, error) {
	db, write, err := d.open(ctx, app, name)
	if err != nil {
		return nil, err
	}
	return db.once(ctx, s, write)
}

func (d *Driver) must(app mayfly.AppName, name string) (*database, error) {
	if db := d.database(app, name); db != nil {
		return db, nil
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "read changes", "app %s declares no database %q", app, name)
}

// Position is up to where a binding was told of a database's changes; a new
// binding begins now.
func (d *Driver) Position(ctx context.Context, app mayfly.AppName, database, binding string) (int64, error) {
	db, err := d.must(app, database)
	if err != nil {
		return 0, err
	}
	return db.position(ctx, binding)
}

// Changes are up to limit changes of a table after a position, oldest first, and
// the position up to which there are no others. No events means all.
func (d *Driver) Changes(ctx context.Context, app mayfly.AppName, database, table string, events []string, after int64, limit int) ([]service.RowChange, int64, error) {
	db, err := d.must(app, database)
	if err != nil {
		return nil, after, err
	}
	return db.changes(ctx, table, events, after, limit)
}

// Advance notes up to where a binding was told.
func (d *Driver) Advance(ctx context.Context, app mayfly.AppName, database, binding string, position int64) error {
	db, err := d.must(app, database)
	if err != nil {
		return err
	}
	return db.advance(ctx, binding, position)
}

// Keep drops the changes that all of the bindings were told, and forgets those
// that are not among them.
func (d *Driver) Keep(ctx context.Context, app mayfly.AppName, database string, bindings []string) error {
	db, err := d.must(app, database)
	if err != nil {
		return err
	}
	return db.keep(ctx, bindings)
}
