package sql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly/service"
)

// tableSpec is which changes of a table functions listen to.
type tableSpec map[string]bool // insert, update, delete, truncate

// events of rows, in the order that their triggers are made.
var events = []string{"insert", "update", "delete"}

// pgEvents are those of PostgreSQL, which empties tables without a word of their
// rows.
var pgEvents = []string{"insert", "update", "delete", "truncate"}

const changeSchema = `
CREATE TABLE IF NOT EXISTS _mayfly_changes(id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, tbl TEXT NOT NULL, op TEXT NOT NULL, before TEXT, after TEXT);
CREATE TABLE IF NOT EXISTS _mayfly_cursors(binding TEXT PRIMARY KEY, position INTEGER NOT NULL);`

// listen makes the change log and its triggers what tables says.
func (d *database) listen(ctx context.Context, tables map[string]tableSpec) error {
	c, err := d.take(ctx, true)
	if err != nil {
		return err
	}
	defer d.give(c)
	d.tables.Store(&tables)
	if len(tables) == 0 {
		return c.atomically(ctx, func() error { return c.dropTriggers(ctx) })
	}
	return c.atomically(ctx, func() error {
		for _, s := range split(changeSchema) {
			if _, err := c.own(ctx, s); err != nil {
				return err
			}
		}
		upTo, err := c.lastChange(ctx)
		if err != nil {
			return err
		}
		d.causes.begin(upTo)
		return d.follow(ctx, c)
	})
}

// follow makes the triggers fit the tables as they are now. A table that is not
// there yet has none until it is made.
func (d *database) follow(ctx context.Context, c *connection) error {
	have, err := c.triggers(ctx)
	if err != nil {
		return err
	}
	for table, wanted := range d.listened() {
		columns, err := c.columns(ctx, table)
		if err != nil {
			return err
		}
		for _, event := range events {
			name := own + event + "_" + table
			text := ""
			if wanted[event] && len(columns) > 0 {
				text = triggerSQL(name, table, event, columns)
			}
			if have[name] == text {
				delete(have, name)
				continue
			}
			if have[name] != "" {
				if _, err := c.own(ctx, "DROP TRIGGER "+quote(name)); err != nil {
					return err
				}
				delete(have, name)
			}
			if text == "" {
				continue
			}
			if _, err := c.own(ctx, text); err != nil {
				return fmt.Errorf("watch table %s: %w", table, err)
			}
		}
	}
	return c.drop(ctx, have)
}

// triggers are the change log's, by name.
func (c *connection) triggers(ctx context.Context) (map[string]string, error) {
	r, err := c.own(ctx, `SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '\_mayfly\_%' ESCAPE '\'`)
	if err != nil {
		return nil, err
	}
	have := map[string]string{}
	for _, row := range r.Rows {
		have[row[0].(string)] = row[1].(string)
	}
	return have, nil
}

func (c *connection) drop(ctx context.Context, triggers map[string]string) error {
	for name := range triggers {
		if _, err := c.own(ctx, "DROP TRIGGER "+quote(name)); err != nil {
			return err
		}
	}
	return nil
}

func (c *connection) dropTriggers(ctx context.Context) error {
	have, err := c.triggers(ctx)
	if err != nil {
		return err
	}
	return c.drop(ctx, have)
}

// columns of a table; none where there is no such table.
func (c *connection) columns(ctx context.Context, table string) ([]string, error) {
	r, err := c.own(ctx, "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1 AND EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower(?) AND sql NOT LIKE 'CREATE VIRTUAL%')", table, table)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, row := range r.Rows {
		out = append(out, row[0].(string))
	}
	return out, nil
}

func triggerSQL(name, table, event string, columns []string) string {
	before, after := "NULL", "NULL"
	if event != "insert" {
		before = rowJSON("OLD", columns)
	}
	if event != "delete" {
		after = rowJSON("NEW", columns)
	}
	return fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s BEGIN INSERT INTO _mayfly_changes(at, tbl, op, before, after) VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), %s, '%s', %s, %s); END",
		quote(name), strings.ToUpper(event), quote(table), text(table), event, before, after)
}

// rowJSON is a row as a JSON object. JSON has no bytes: a blob is its hex.
func rowJSON(row string, columns []string) string {
	var parts []string
	for _, c := range columns {
		v := row + "." + quote(c)
		parts = append(parts, fmt.Sprintf("%s, json(CASE typeof(%s) WHEN 'blob' THEN json_object('$hex', hex(%s)) ELSE json_quote(%s) END)", text(c), v, v, v))
	}
	return "json_object(" + strings.Join(parts, ", ") + ")"
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func text(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }

// position is up to where a binding was told; a new one begins with what comes
// after now.
func (d *database) position(ctx context.Context, binding string) (int64, error) {
	c, err := d.take(ctx, true)
	if err != nil {
		return 0, err
	}
	defer d.give(c)
	_, err = c.own(ctx, "INSERT INTO _mayfly_cursors(binding, position) VALUES (?, coalesce((SELECT seq FROM sqlite_sequence WHERE name = '_mayfly_changes'), 0)) ON CONFLICT DO NOTHING", binding)
	if err != nil {
		return 0, err
	}
	r, err := c.own(ctx, "SELECT position FROM _mayfly_cursors WHERE binding = ?", binding)
	if err != nil || len(r.Rows) == 0 {
		return 0, err
	}
	return r.Rows[0][0].(int64), nil
}

// advance notes how far a binding was told.
func (d *database) advance(ctx context.Context, binding string, position int64) error {
	c, err := d.take(ctx, true)
	if err != nil {
		return err
	}
	defer d.give(c)
	_, err = c.own(ctx, "UPDATE _mayfly_cursors SET position = max(position, ?) WHERE binding = ?", position, binding)
	return err
}

// keep forgets bindings that are gone, and drops the changes that all others
// were told.
func (d *database) keep(ctx context.Context, bindings []string) error {
	c, err := d.take(ctx, true)
	if err != nil {
		return err
	}
	defer d.give(c)
	return c.atomically(ctx, func() error {
		r, err := c.own(ctx, "SELECT binding FROM _mayfly_cursors")
		if err != nil {
			return err
		}
		for _, row := range r.Rows {
			if name := row[0].(string); !slices.Contains(bindings, name) {
				if _, err := c.own(ctx, "DELETE FROM _mayfly_cursors WHERE binding = ?", name); err != nil {
					return err
				}
			}
		}
		_, err = c.own(ctx, "DELETE FROM _mayfly_changes WHERE id <= coalesce((SELECT min(position) FROM _mayfly_cursors), 9223372036854775807)")
		return err
	})
}

// changes are up to limit changes of a table after a position, oldest first, and
// the position up to which there are no others.
func (d *database) changes(ctx context.Context, table string, wanted []string, after int64, limit int) (out []service.RowChange, upTo int64, err error) {
	c, err := d.take(ctx, false)
	if err != nil {
		return nil, 0, err
	}
	defer d.give(c)
	r, err := c.own(ctx, "SELECT id, at, op, before, after, tbl FROM _mayfly_changes WHERE id > ? ORDER BY id LIMIT 1000", after)
	if err != nil {
		return nil, 0, err
	}
	upTo = after
	for _, row := range r.Rows {
		event := row[2].(string)
		if strings.EqualFold(row[5].(string), table) && (len(wanted) == 0 || slices.Contains(wanted, event)) {
			if len(out) == limit {
				return out, upTo, nil
			}
			trace, hops := d.causes.of(row[0].(int64))
			out = append(out, service.RowChange{
				Position: row[0].(int64), App: d.app, Database: d.name, Table: table, Event: event,
				Time: time.UnixMilli(row[1].(int64)).UTC(), Trace: trace, Hops: hops, Old: jsonOf(row[3]), New: jsonOf(row[4]),
			})
		}
		upTo = row[0].(int64)
	}
	return out, upTo, nil
}

func jsonOf(v Value) []byte {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	return nil
}
