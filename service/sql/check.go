package sql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
)

// Check says what is wrong with the databases of m, and with their migrations
// against those that ran.
func (d *Driver) Check(m *mayfly.Manifest) error {
	var problems []error
	for name, spec := range m.Databases {
		if err := d.checkOne(m, name, spec); err != nil {
			problems = append(problems, placed("databases."+name, err))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// placed is an error about the value at a path of the manifest, which is its
// operation.
func placed(path string, err error) error {
	var e *mayfly.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return &mayfly.Error{Code: e.Code, Op: path, Message: e.Error(), Err: e.Err}
}

func (d *Driver) checkOne(m *mayfly.Manifest, name string, spec *mayfly.Database) error {
	if !mayfly.ValidName(name) {
		return mayfly.Errorf(mayfly.Invalid, "", "%q cannot name a database: use lower case letters, digits and dashes", name)
	}
	if spec == nil {
		return nil
	}
	switch spec.Engine {
	case "", "sqlite":
		if spec.DSN != "" || spec.Pool != 0 || spec.MaxLag != 0 {
			return mayfly.Errorf(mayfly.Invalid, "", "dsn, pool and max_lag are not for sqlite, which is a file of this node")
		}
		if err := checkCopies(m, spec); err != nil {
			return err
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
	_, err := d.pending(m.App, name, spec)
	return err
}

func (d *Driver) checkPostgres(spec *mayfly.Database) error {
	switch {
	case d.cfg.Secrets == nil:
		return mayfly.Errorf(mayfly.Invalid, "", "this node has no secrets, so that there can be no dsn")
	case spec.DSN == "":
		return mayfly.Errorf(mayfly.Invalid, "", "dsn is missing: the name of the secret that holds postgres://USER:PASSWORD@HOST/DATABASE")
	case spec.Copies != "" || spec.CopiesKeep != 0:
		return mayfly.Errorf(mayfly.Invalid, "", "copies are made of sqlite databases; the server's own tools copy PostgreSQL")
	case spec.Quota != 0:
		return mayfly.Errorf(mayfly.Invalid, "", "a quota is for sqlite; limit the server's disk instead")
	case spec.Pool < 0 || spec.Pool > 1000:
		return mayfly.Errorf(mayfly.Invalid, "", "pool must be between 1 and 1000")
	}
	return nil
}

// Steps is what the next Apply would do to the databases of m beside making
// them, by database.
func (d *Driver) Steps(m *mayfly.Manifest) (map[string][]string, error) {
	steps := map[string][]string{}
	for name, spec := range m.Databases {
		files, err := d.pending(m.App, name, spec)
		if err != nil {
			return nil, fmt.Errorf("databases.%s: %w", name, err)
		}
		for _, file := range files {
			steps[name] = append(steps[name], "run migration "+file)
		}
		if postgresSpec(spec) {
			steps[name] = append(steps[name], d.following(m, name)...)
		}
		if len(steps[name]) == 0 {
			delete(steps, name)
		}
	}
	return steps, nil
}

// following is what a deploy does on a PostgreSQL server for table triggers.
func (d *Driver) following(m *mayfly.Manifest, name string) (steps []string) {
	wanted, have := listened(m, name), map[string]tableSpec{}
	if c := d.capture(m.App, name); c != nil {
		c.mu.Lock()
		have = c.wanted
		c.mu.Unlock()
	}
	if len(wanted) > 0 && len(have) == 0 {
		steps = append(steps, "make a replication slot and a publication")
	}
	for _, table := range slices.Sorted(maps.Keys(wanted)) {
		if have[table] != nil {
			continue
		}
		step := "follow table " + table
		if wanted[table]["update"] || wanted[table]["delete"] {
			step += ", with REPLICA IDENTITY FULL"
		}
		steps = append(steps, step)
	}
	if len(wanted) == 0 && len(have) > 0 {
		steps = append(steps, "drop the replication slot and the publication, and give tables their replica identity back")
	}
	return steps
}

func (d *Driver) pending(app mayfly.AppName, name string, spec *mayfly.Database) ([]string, error) {
	if spec == nil {
		return nil, nil
	}
	if postgresSpec(spec) {
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

func pendingOn(c *connection, spec *mayfly.Database) ([]string, error) {
	done, err := c.applied(context.Background())
	if err != nil {
		return nil, err
	}
	return pending(spec.MigrationFiles, done)
}
