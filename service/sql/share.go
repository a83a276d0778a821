package sql

import (
	"context"
	"errors"
	"fmt"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// share is a database's part of its app's quota. It belongs to whoever holds the
// writer.
type share struct {
	quotas *service.Quotas // of apps; nil: none has one
	own    int64           // pages that the database's own quota allows
	most   int64           // pages that SQLite was told
}

// bound tells SQLite how far the file may grow: as its own quota says, and no
// further than the app's has room for. A file that is larger already may not grow,
// and all that frees pages goes on.
func (d *database) bound(ctx context.Context, c *connection) error {
	most := d.share.own
	if c.full = nil; most < pages(0) {
		c.full = func(err error) error {
			return mayfly.Errorf(mayfly.Quota, "run statement", "the database has reached its quota; delete rows or raise the quota in the manifest: %w", err)
		}
	}
	if room, bounded := d.share.quotas.Room(d.app); bounded {
		now, err := c.number(ctx, "PRAGMA page_count")
		if err != nil {
			return err
		}
		if shared := now + max(room, 0)/pageSize; shared < most {
			most = max(shared, 1)
			c.full = func(error) error { return d.share.quotas.Refusal(d.app) }
		}
	}
	if most == d.share.most {
		return nil
	}
	d.share.most = most
	_, err := c.own(ctx, fmt.Sprintf("PRAGMA max_page_count(%d)", most))
	return err
}

// count tells the app's quota how large the file is.
func (d *database) count(c *connection) {
	if !d.share.quotas.Bounds(d.app) {
		return
	}
	if n, err := c.number(context.Background(), "PRAGMA page_count"); err == nil {
		d.share.quotas.Set(d.app, service.KindDatabase, d.name, n*pageSize)
	}
}

// number is what a statement of the platform returns.
func (c *connection) number(ctx context.Context, text string) (int64, error) {
	r, err := c.own(ctx, text)
	if err != nil {
		return 0, err
	}
	if len(r.Rows) != 1 || len(r.Rows[0]) != 1 {
		return 0, errors.New(text + " returned nothing")
	}
	n, ok := r.Rows[0][0].(int64)
	if !ok {
		return 0, errors.New(text + " returned no number")
	}
	return n, nil
}

// noRoom is the error of a file that may not grow.
func (c *connection) noRoom(err error) error {
	if c.full != nil {
		if why := c.full(err); why != nil {
			return why
		}
	}
	return mayfly.Errorf(mayfly.Unavailable, "run statement", "the disk of the node is full; make room there: %w", err)
}
