package sql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Apply opens the apps' databases, runs migrations, and makes the change logs
// follow what functions listen to. Databases that no app declares any more are
// closed, and their files stay.
func (d *Driver) Apply(ctx context.Context, apps []*mayfly.Manifest) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	d.apps = apps
	wanted := map[string]bool{}
	var problems []error
	for _, m := range apps {
		for name, spec := range m.Databases {
			if spec == nil {
				spec = &mayfly.Database{}
			}
			wanted[spec.Engine+" "+string(m.App)+"/"+name] = true
			if !postgresSpec(spec) && d.reviving(m.App, name) {
				continue // Run applies it once its file is there
			}
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
	var unfollowed []*capture
	for key, c := range d.captures {
		if !wanted["postgres "+key] {
			unfollowed = append(unfollowed, c)
			delete(d.captures, key)
		}
	}
	d.mu.Unlock()
	for _, c := range unfollowed {
		d.abandon(ctx, c)
	}
	for _, p := range left {
		p.pool.Close()
	}
	for _, db := range gone {
		d.streams.end(db)
		db.close()
	}
	return errors.Join(problems...)
}

// postgresSpec reports whether a database is a PostgreSQL server's.
func postgresSpec(spec *mayfly.Database) bool { return spec != nil && spec.Engine == "postgres" }

func (d *Driver) applyOne(ctx context.Context, m *mayfly.Manifest, name string, spec *mayfly.Database) error {
	if postgresSpec(spec) {
		return d.applyPostgres(ctx, m, name, spec)
	}
	copies, err := d.newCopies(m.App, name, spec)
	if err != nil {
		return err
	}
	if copies != nil && d.database(m.App, name) == nil {
		if d.waits(m.App, name) {
			return nil
		}
		if err := copies.revive(ctx); err != nil {
			return err
		}
	}
	return d.applyFile(ctx, m, name, spec, copies)
}

// applyFile opens an SQLite database whose file is there, or makes an empty one.
func (d *Driver) applyFile(ctx context.Context, m *mayfly.Manifest, name string, spec *mayfly.Database, copies *copies) error {
	db, err := d.ensure(ctx, m.App, name, spec)
	if err != nil {
		return err
	}
	if err := db.replace(ctx, copies); err != nil {
		return err
	}
	d.look()
	if err := db.migrate(ctx, spec.MigrationFiles); err != nil {
		return err
	}
	if err := db.listen(ctx, listened(m, name)); err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.waiting, string(m.App)+"/"+name)
	d.mu.Unlock()
	return nil
}

// applyPostgres connects, migrates, and follows what functions listen to. What
// is in the log already is told even where the server does not answer.
func (d *Driver) applyPostgres(ctx context.Context, m *mayfly.Manifest, name string, spec *mayfly.Database) error {
	p, err := d.connect(ctx, m.App, name, spec)
	if err != nil {
		return err
	}
	tables := listened(m, name)
	c := d.capture(m.App, name)
	if _, err := os.Stat(d.journal(m.App, name)); c == nil && (len(tables) > 0 || err == nil) {
		if c, err = d.addCapture(ctx, m.App, name); err != nil {
			return err
		}
	}
	if c == nil {
		return p.migrate(ctx, spec.MigrationFiles)
	}
	p.schemaChanged.Store(c)
	c.aim(p, tables, spec.MaxLag)
	if err := p.migrate(ctx, spec.MigrationFiles); err != nil {
		return err
	}
	err = c.ensure(ctx)
	c.poke()
	d.look()
	if errors.As(err, new(*lostError)) {
		c.note(err) // it stays so until it is restarted, and keeps nobody from a deploy
		return nil
	}
	return err
}

// look makes Run start what it does not run yet.
func (d *Driver) look() {
	select {
	case d.moved <- struct{}{}:
	default:
	}
}

func (d *Driver) addCapture(ctx context.Context, app mayfly.AppName, name string) (*capture, error) {
	c, err := d.openCapture(ctx, app, name)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.stop()
		return nil, mayfly.Errorf(mayfly.Unavailable, "open database", "the node is closing")
	}
	d.captures[string(app)+"/"+name] = c
	return c, nil
}

// abandon takes down what a capture made on a server that no app declares any
// more.
func (d *Driver) abandon(ctx context.Context, c *capture) {
	c.mu.Lock()
	server, limit := c.server, c.limit
	c.mu.Unlock()
	c.aim(server, nil, limit)
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := c.ensure(ctx); err != nil {
		d.cfg.Log.Error("a PostgreSQL server keeps what table triggers made there; drop it by hand, else its disk fills",
			"app", c.app, "database", c.name, "slot", c.slot, "run", "SELECT pg_drop_replication_slot('"+c.slot+"'); DROP PUBLICATION "+c.slot, "error", err)
	}
	c.stop()
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
	db.app, db.name, db.tmp, db.wait, db.share.quotas = app, name, d.cfg.Tmp, d.cfg.Wait, d.cfg.Quotas
	if err := db.limit(ctx, spec.Quota, timeout); err != nil {
		db.close()
		return nil, err
	}
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
	d.share.own = pages(quota)
	return d.bound(ctx, c)
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
				wanted = pgEvents // of SQLite the last never comes
			}
			for _, e := range wanted {
				tables[table][e] = true
			}
		}
	}
	return tables
}
