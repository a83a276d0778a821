package sql

import (
	"context"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

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
	if d.reviving(app, name) {
		return nil, false, mayfly.Errorf(mayfly.Unavailable, "open database", "database %s has no file and is being restored from its copies; try again", name)
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
