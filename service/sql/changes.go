package sql

import (
	"context"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// must is the database that has the change log of a declared one.
func (d *Driver) must(app mayfly.AppName, name string) (*database, error) {
	if db := d.database(app, name); db != nil {
		return db, nil
	}
	if c := d.capture(app, name); c != nil {
		return c.log, nil
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
