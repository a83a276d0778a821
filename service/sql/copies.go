package sql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/benbjohnson/litestream/file"
	"modernc.org/sqlite"

	"github.com/mayfly-cloud/mayfly"
)

// DefaultKeep is for how long the copies of a database reach back where a
// manifest does not say.
const DefaultKeep = 7 * 24 * time.Hour

// copies are the point-in-time copies of an SQLite database, which litestream
// makes: each second what was committed, once a day all of it.
type copies struct {
	to   string // as the manifest says
	keep time.Duration
	db   *litestream.DB
	all  *litestream.Store

	mu    sync.Mutex
	runs  bool // guarded by mu
	ended bool // guarded by mu; it does not begin any more
}

// CopiesInfo is how the copies of a database fare.
type CopiesInfo struct {
	To   string     `json:"to"`
	Keep string     `json:"keep" doc:"How far back they reach"`
	Last *time.Time `json:"last,omitempty" doc:"When they last had everything"`
}

// checkCopies says what is wrong with where copies go.
func checkCopies(m *mayfly.Manifest, spec *mayfly.Database) error {
	if spec.Copies == "" {
		if spec.CopiesKeep != 0 {
			return mayfly.Errorf(mayfly.Invalid, "", "copies_keep means nothing without copies")
		}
		return nil
	}
	if name, ok := strings.CutPrefix(spec.Copies, "bucket/"); ok {
		if _, declared := m.Buckets[name]; !declared {
			return mayfly.Errorf(mayfly.Invalid, "", "copies: the app declares no bucket %q; add it under buckets:", name)
		}
	} else if !filepath.IsAbs(spec.Copies) {
		return mayfly.Errorf(mayfly.Invalid, "", "copies is %q; write bucket/NAME, or the absolute path of a folder of the node", spec.Copies)
	}
	if keep := spec.CopiesKeep.D(); keep != 0 && keep < time.Hour {
		return mayfly.Errorf(mayfly.Invalid, "", "copies_keep must be an hour or more")
	}
	return nil
}

// newCopies makes what copies a database's file; nil where none are wanted. It
// starts nothing.
func (d *Driver) newCopies(app mayfly.AppName, name string, spec *mayfly.Database) (*copies, error) {
	if spec.Copies == "" {
		return nil, nil
	}
	c := &copies{to: spec.Copies, keep: spec.CopiesKeep.D()}
	if c.keep == 0 {
		c.keep = DefaultKeep
	}
	c.db = litestream.NewDB(d.file(app, name))
	if bucket, ok := strings.CutPrefix(spec.Copies, "bucket/"); ok {
		if d.cfg.Buckets == nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "copy database", "this node has no buckets; write the absolute path of a folder")
		}
		c.db.Replica = litestream.NewReplicaWithClient(c.db, newBucketClient(d.cfg.Buckets(app, bucket), "databases/"+name))
	} else {
		client := file.NewReplicaClient(filepath.Join(spec.Copies, string(app), name))
		c.db.Replica = litestream.NewReplicaWithClient(c.db, client)
		client.Replica = c.db.Replica
	}
	c.all = litestream.NewStore([]*litestream.DB{c.db}, litestream.CompactionLevels{
		{Level: 0}, {Level: 1, Interval: 30 * time.Second}, {Level: 2, Interval: 5 * time.Minute}, {Level: 3, Interval: time.Hour},
	})
	c.all.SnapshotInterval, c.all.SnapshotRetention = min(24*time.Hour, c.keep), c.keep
	c.all.SetL0Retention(time.Hour) // for an hour, any second can be had; before it, each half minute
	c.all.SetShutdownSyncTimeout(5 * time.Second)
	c.all.Logger = d.cfg.Log
	c.db.SetLogger(d.cfg.Log)
	return c, nil
}

// waits leaves a database that has no file to Run, where that did not begin yet:
// its copies may be in a bucket of this node, which answers from then on only, and
// others need not wait for them.
func (d *Driver) waits(app mayfly.AppName, name string) bool {
	_, err := os.Stat(d.file(app, name))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running || !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	d.waiting[string(app)+"/"+name] = true
	return true
}

// reviveEvery is between two attempts to revive databases.
const reviveEvery = 10 * time.Second

// reviving reports whether a database waits.
func (d *Driver) reviving(app mayfly.AppName, name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.waiting[string(app)+"/"+name]
}

// revive makes the databases that wait, until none does.
func (d *Driver) revive(ctx context.Context) {
	for !d.reviveAll(ctx) && pause(ctx, reviveEvery) {
	}
}

// reviveAll reports whether no database waits any more.
func (d *Driver) reviveAll(ctx context.Context) bool {
	d.applying.Lock()
	apps := d.apps
	d.applying.Unlock()
	for _, m := range apps {
		for name, spec := range m.Databases {
			if !d.reviving(m.App, name) || postgresSpec(spec) {
				continue
			}
			if spec == nil {
				spec = &mayfly.Database{}
			}
			if err := d.reviveOne(ctx, m, name, spec); err != nil && ctx.Err() == nil {
				d.cfg.Log.Error("a database that has no file is not there yet", "app", m.App, "database", name, "copies", spec.Copies, "error", err)
			}
		}
	}
	d.applying.Lock()
	defer d.applying.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for key := range d.waiting {
		if !d.declares(key) { // any more
			delete(d.waiting, key)
		}
	}
	return len(d.waiting) == 0
}

// declares reports whether the apps of the last Apply have an SQLite database.
// applying is held.
func (d *Driver) declares(key string) bool {
	app, name, _ := strings.Cut(key, "/")
	for _, m := range d.apps {
		if spec, ok := m.Databases[name]; ok && string(m.App) == app {
			return !postgresSpec(spec)
		}
	}
	return false
}

// reviveOne gets a database's file, while apps are deployed, and applies it. Where
// its app was deployed meanwhile it goes on waiting.
func (d *Driver) reviveOne(ctx context.Context, m *mayfly.Manifest, name string, spec *mayfly.Database) error {
	copies, err := d.newCopies(m.App, name, spec)
	if err != nil {
		return err
	}
	if err := copies.revive(ctx); err != nil {
		return err
	}
	d.applying.Lock()
	defer d.applying.Unlock()
	if !slices.Contains(d.apps, m) {
		return nil
	}
	return d.applyFile(ctx, m, name, spec, copies)
}

// revive makes a database that is not there of its newest copy, where there is
// one: on a machine that takes the place of another. It may be called on nil.
func (c *copies) revive(ctx context.Context) error {
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := c.db.EnsureExists(ctx); err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "restore database from "+c.to, "%w", err)
	}
	return nil
}

// replace makes next what copies the database; nil: nothing does.
func (d *database) replace(ctx context.Context, next *copies) error {
	old := d.copies.Load()
	if old != nil && next != nil && old.to == next.to && old.keep == next.keep || old == nil && next == nil {
		return nil
	}
	checkpoint := "1000" // SQLite's default
	if next != nil {
		checkpoint = "0" // it is litestream's to do
	}
	w, err := d.take(ctx, true)
	if err != nil {
		return err
	}
	_, err = w.own(ctx, "PRAGMA wal_autocheckpoint = "+checkpoint)
	d.give(w)
	if err != nil {
		return err
	}
	d.copies.Store(next)
	return old.stop()
}

// start begins to copy, where that did not begin yet.
func (c *copies) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs || c.ended {
		return nil
	}
	c.runs = true
	return c.all.Open(context.WithoutCancel(ctx))
}

// stop copies what is left, and ends. It may be called on nil.
func (c *copies) stop() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	runs := c.runs
	c.ended = true
	c.mu.Unlock()
	if !runs {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.all.Close(ctx)
}

// runCopies starts those that do not run yet.
func (d *Driver) runCopies(ctx context.Context) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, db := range d.databases {
		if c := db.copies.Load(); c != nil {
			if err := c.start(ctx); err != nil {
				d.cfg.Log.Error("a database is not copied", "app", db.app, "database", db.name, "to", c.to, "error", err)
			}
		}
	}
}

func (c *copies) info() *CopiesInfo {
	if c == nil {
		return nil
	}
	i := &CopiesInfo{To: c.to, Keep: mayfly.Duration(c.keep).String()}
	if at := c.db.LastSuccessfulSyncAt(); !at.IsZero() {
		at = at.UTC()
		i.Last = &at
	}
	return i
}

// asOf makes a file of a database as it was at a time. The caller removes it.
func (d *database) asOf(ctx context.Context, at time.Time) (path string, err error) {
	c := d.copies.Load()
	if c == nil {
		return "", mayfly.Errorf(mayfly.NotFound, "read copies", "database %s has no copies; say where they go by copies: in the manifest", d.name)
	}
	if time.Since(at) < time.Minute {
		if err := c.db.SyncAndWait(ctx); err != nil {
			return "", mayfly.Errorf(mayfly.Unavailable, "copy database", "%w", err)
		}
	}
	dir, err := folderIn(d.tmp)
	if err != nil {
		return "", err
	}
	opt := litestream.NewRestoreOptions()
	opt.OutputPath, opt.Timestamp, opt.IntegrityCheck = filepath.Join(dir, d.name+".db"), at, litestream.IntegrityCheckQuick
	if err := c.db.Replica.Restore(ctx, opt); err != nil {
		_ = os.RemoveAll(dir)
		if errors.Is(err, litestream.ErrTxNotAvailable) || errors.Is(err, litestream.ErrNoSnapshots) {
			return "", mayfly.Errorf(mayfly.NotFound, "read copies", "there is no copy of database %s of %s", d.name, at.Format(time.RFC3339))
		}
		return "", fmt.Errorf("restore database %s: %w", d.name, err)
	}
	return opt.OutputPath, nil
}

// restore makes the database what it was at a time, while it is in use, as one
// write: copies of what it was until then stay. Functions are not told of the
// rows that change by it.
func (d *database) restore(ctx context.Context, at time.Time) error {
	path, err := d.asOf(ctx, at)
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(path))
	w, err := d.take(ctx, true)
	if err != nil {
		return err
	}
	defer d.give(w)
	last, err := w.lastPosition(ctx)
	if err != nil {
		return err
	}
	if err := w.overwrite(path); err != nil {
		return fmt.Errorf("restore database %s: %w", d.name, err)
	}
	return w.atomically(ctx, func() error {
		if err := w.settlePositions(ctx, last); err != nil {
			return err
		}
		return d.follow(ctx, w)
	})
}

// lastPosition is lastChange; 0 where there is no change log.
func (c *connection) lastPosition(ctx context.Context) (int64, error) {
	if ok, err := c.logs(ctx); !ok {
		return 0, err
	}
	return c.lastChange(ctx)
}

// logs reports whether there is a change log.
func (c *connection) logs(ctx context.Context) (bool, error) {
	r, err := c.own(ctx, "SELECT 1 FROM sqlite_schema WHERE name = '_mayfly_changes'")
	return err == nil && len(r.Rows) > 0, err
}

// settlePositions makes the change log go on after last, with nothing to tell:
// positions are identities, and none is given twice.
func (c *connection) settlePositions(ctx context.Context, last int64) error {
	for _, s := range split(changeSchema) {
		if _, err := c.own(ctx, s); err != nil {
			return err
		}
	}
	for _, s := range []Statement{
		{SQL: "DELETE FROM _mayfly_changes"},
		{SQL: "DELETE FROM sqlite_sequence WHERE name = '_mayfly_changes'"},
		{SQL: "INSERT INTO sqlite_sequence(name, seq) VALUES ('_mayfly_changes', ?)", Args: []Value{last}},
		{SQL: "UPDATE _mayfly_cursors SET position = ?", Args: []Value{last}},
	} {
		if _, err := c.own(ctx, s.SQL, s.Args...); err != nil {
			return err
		}
	}
	return nil
}

// overwrite replaces all that the connection's database holds with what a file
// does, in one transaction.
func (c *connection) overwrite(path string) error {
	b, err := c.Conn.(interface {
		NewRestore(uri string) (*sqlite.Backup, error)
	}).NewRestore("file:" + (&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return err
	}
	_, err = b.Step(-1)
	return errors.Join(err, b.Finish())
}
