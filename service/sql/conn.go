package sql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strings"
	"unsafe"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/mayfly-cloud/mayfly"
)

// Value is a value of SQLite: nil, int64, float64, string or []byte.
type Value = any

// Statement is one statement with its arguments.
type Statement struct {
	SQL   string
	Args  []Value
	Named map[string]Value // without the prefix
}

// Result is what a statement returned.
type Result struct {
	Columns  []Column
	Rows     [][]Value
	Affected int64 // rows that a write changed
	LastID   int64 // of the last inserted row
	wrote    bool
}

// Column describes a column of a result.
type Column struct {
	Name string
	Type string // as declared; "" for an expression
}

// connection is one connection with its authorizer. It is used by one
// goroutine at a time.
type connection struct {
	driver.Conn
	read     bool              // may not write
	internal bool              // the platform's own statements run: all is allowed
	unbound  bool              // foreign keys are off, for one transaction
	full     func(error) error // why the file may not grow, of SQLite's error; nil: only the disk bounds it

	// What the authorizer and the hooks saw since the last statement began.
	wrote, ddl bool
	inTx       bool
	touched    bool // the open transaction changed something
}

var sqliteDriver = &sqlite.Driver{}

// connect opens a file. Its settings: write-ahead log, every commit synced,
// foreign keys, REPLACE fires delete triggers, defensive mode.
func connect(ctx context.Context, file string, read bool, pages int64) (*connection, error) {
	q := url.Values{
		"_defensive": {"1"}, "_dqs": {"0"}, "_error_rc": {"1"},
		"_pragma": {"busy_timeout(5000)", "foreign_keys(1)", "recursive_triggers(1)", "trusted_schema(0)", "synchronous(FULL)", "cache_size(-8000)", "mmap_size(0)"},
	}
	if read {
		q.Add("_pragma", "query_only(1)")
	} else {
		q.Add("_pragma", "journal_mode(WAL)")
		q.Add("_pragma", fmt.Sprintf("max_page_count(%d)", pages))
	}
	raw, err := sqliteDriver.Open("file:" + (&url.URL{Path: file}).EscapedPath() + "?" + q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", file, err)
	}
	c := &connection{Conn: raw, read: read}
	if err := raw.(sqlite.AuthorizerRegisterer).RegisterAuthorizer(c.authorize); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	raw.(sqlite.HookRegisterer).RegisterRollbackHook(func() { c.inTx, c.touched = false, false })
	return c, nil
}

// readPragmas may be asked, not set.
var readPragmas = map[string]bool{
	"table_info": true, "table_xinfo": true, "table_list": true, "index_list": true, "index_info": true, "index_xinfo": true,
	"foreign_key_list": true, "foreign_key_check": true, "foreign_keys": true, "database_list": true, "collation_list": true,
	"function_list": true, "compile_options": true, "user_version": true, "schema_version": true, "integrity_check": true,
	"quick_check": true, "page_count": true, "page_size": true, "freelist_count": true, "encoding": true, "journal_mode": true,
	"optimize": true, "data_version": true,
}

// argPragmas are those whose argument is a question, not a setting.
var argPragmas = map[string]bool{
	"table_info": true, "table_xinfo": true, "table_list": true, "index_list": true, "index_info": true, "index_xinfo": true,
	"foreign_key_list": true, "foreign_key_check": true, "integrity_check": true, "quick_check": true, "optimize": true, "user_version": true,
}

var modules = map[string]bool{"fts5": true, "fts3": true, "fts4": true, "rtree": true, "geopoly": true, "fts5vocab": true}

// own is the prefix of the platform's tables and triggers.
const own = "_mayfly_"

// platforms reports whether a name is the platform's, or litestream's, which
// makes the copies.
func platforms(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, own) || strings.HasPrefix(name, "_litestream_")
}

// authorize decides what a statement may do while SQLite compiles it, and notes
// what it does.
func (c *connection) authorize(action sqlite.AuthorizerActionCode, a1, a2, _, trigger string) sqlite.AuthorizerReturnCode {
	if c.internal {
		return sqlite.AuthorizerOK
	}
	switch action {
	case sqlite.AuthSelect, sqlite.AuthRead, sqlite.AuthRecursive, sqlite.AuthTransaction, sqlite.AuthSavepoint:
		return sqlite.AuthorizerOK
	case sqlite.AuthFunction:
		return allow(!strings.EqualFold(a2, "load_extension"))
	case sqlite.AuthPragma:
		name := strings.ToLower(a1)
		return allow(name == "defer_foreign_keys" || readPragmas[name] && (a2 == "" || argPragmas[name]))
	case sqlite.AuthInsert, sqlite.AuthUpdate, sqlite.AuthDelete:
		c.wrote = true
		return allow(!c.read && (!platforms(a1) || strings.HasPrefix(trigger, own)))
	case sqlite.AuthCreateTable, sqlite.AuthCreateIndex, sqlite.AuthCreateView, sqlite.AuthCreateTrigger, sqlite.AuthDropTable,
		sqlite.AuthDropIndex, sqlite.AuthDropView, sqlite.AuthDropTrigger, sqlite.AuthReindex, sqlite.AuthAnalyze:
		c.wrote, c.ddl = true, true
		return allow(!c.read && !platforms(a1) && !platforms(a2))
	case sqlite.AuthAlterTable:
		c.wrote, c.ddl = true, true
		return allow(!c.read && !platforms(a2))
	case sqlite.AuthCreateVTable, sqlite.AuthDropVTable:
		c.wrote, c.ddl = true, true
		return allow(!c.read && modules[strings.ToLower(a2)] && !platforms(a1))
	}
	return sqlite.AuthorizerDeny // ATTACH, DETACH, temporary objects, and what is yet to come
}

func allow(ok bool) sqlite.AuthorizerReturnCode {
	if ok {
		return sqlite.AuthorizerOK
	}
	return sqlite.AuthorizerDeny
}

// run does one statement. most bounds the rows that it returns, and bytes what
// they hold: TooLarge beyond.
func (c *connection) run(ctx context.Context, s *Statement, most, bytes int) (*Result, error) {
	c.wrote, c.ddl = false, false
	if err := c.reserved(s.SQL); err != nil {
		return nil, err
	}
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, s.SQL, s.values())
	if err != nil {
		return nil, c.problem(ctx, err)
	}
	r, err := fetch(rows, most, bytes)
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, c.problem(ctx, err)
	}
	if r.wrote = c.wrote; c.wrote && !c.ddl {
		r.Affected, r.LastID, err = c.counts(ctx)
	}
	c.follow(s.SQL)
	return r, err
}

// reserved refuses names of the platform that the authorizer is not shown, such
// as the new one of a renamed table.
func (c *connection) reserved(text string) error {
	if c.internal || !strings.Contains(strings.ToLower(text), own) {
		return nil
	}
	switch verb(text) {
	case "CREATE", "ALTER", "DROP":
		return mayfly.Errorf(mayfly.Denied, "run statement", "names that begin with %s are the platform's", own)
	}
	return nil
}

// follow notes where a transaction begins and ends. One that SQLite rolls back
// by itself is noted by the hook.
func (c *connection) follow(text string) {
	c.touched = c.touched || c.wrote
	switch verb(text) {
	case "BEGIN":
		c.inTx = true
		return
	case "COMMIT", "END":
		c.inTx = false
	case "ROLLBACK":
		if w := words(text, 3); len(w) < 2 || w[1] != "TO" && (len(w) < 3 || w[2] != "TO") {
			c.inTx = false
		}
	}
	if !c.inTx {
		c.touched = false
	}
}

func (s *Statement) values() []driver.NamedValue {
	out := make([]driver.NamedValue, 0, len(s.Args)+len(s.Named))
	for i, v := range s.Args {
		out = append(out, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	for name, v := range s.Named {
		out = append(out, driver.NamedValue{Name: strings.TrimLeft(name, ":@$"), Ordinal: len(out) + 1, Value: v})
	}
	return out
}

// fetch reads all rows.
func fetch(rows driver.Rows, most, bytes int) (*Result, error) {
	names := rows.Columns()
	r := &Result{Columns: make([]Column, len(names))}
	types, _ := rows.(driver.RowsColumnTypeDatabaseTypeName)
	for i, name := range names {
		r.Columns[i].Name = name
		if types != nil {
			r.Columns[i].Type = types.ColumnTypeDatabaseTypeName(i)
		}
	}
	plain(rows)
	for {
		row := make([]driver.Value, len(names))
		switch err := rows.Next(row); {
		case err == io.EOF:
			return r, nil
		case err != nil:
			return nil, err
		}
		values := make([]Value, len(row))
		for i, v := range row {
			values[i] = v
			bytes -= size(v)
		}
		r.Rows = append(r.Rows, values)
		if len(r.Rows) > most || bytes < 0 {
			return nil, mayfly.Errorf(mayfly.TooLarge, "run statement", "the result is larger than %d rows or the limit of its size; add LIMIT", most)
		}
	}
}

func size(v driver.Value) int {
	switch v := v.(type) {
	case string:
		return len(v) + 16
	case []byte:
		return len(v) + 16
	}
	return 16
}

// plain makes the driver return the text of columns that are declared DATE,
// DATETIME or TIMESTAMP, as SQLite stores it. The driver would parse it into a
// time, from which the text cannot be had back, and has no setting for that; its
// rows keep the declared types in a field, which is emptied here. Where a later
// driver has no such field, times come as RFC 3339.
func plain(rows driver.Rows) {
	v := reflect.ValueOf(rows)
	if v.Kind() != reflect.Pointer {
		return
	}
	f := v.Elem().FieldByName("decltypes")
	if !f.IsValid() || f.Type() != reflect.TypeFor[[]string]() {
		return
	}
	clear(*(*[]string)(unsafe.Pointer(f.UnsafeAddr())))
}

func (c *connection) counts(ctx context.Context) (affected, last int64, err error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, "SELECT changes(), last_insert_rowid()", nil)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	row := make([]driver.Value, 2)
	if err := rows.Next(row); err != nil {
		return 0, 0, err
	}
	return row[0].(int64), row[1].(int64), nil
}

// own runs a statement of the platform.
func (c *connection) own(ctx context.Context, text string, args ...Value) (*Result, error) {
	was := *c
	c.internal = true
	r, err := c.run(ctx, &Statement{SQL: text, Args: args}, 1<<20, 1<<30)
	c.internal = was.internal
	return r, err
}

// atomically runs fn in a transaction of the platform.
func (c *connection) atomically(ctx context.Context, fn func() error) error {
	if _, err := c.own(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		_, err = c.own(ctx, "COMMIT")
	}
	if err != nil {
		_, back := c.own(context.WithoutCancel(ctx), "ROLLBACK")
		if c.inTx {
			err = errors.Join(err, back)
		}
	}
	return err
}

// problem gives SQLite's errors their code and words.
func (c *connection) problem(ctx context.Context, err error) error {
	var e *sqlite.Error
	switch {
	case mayfly.CodeOf(err) == mayfly.TooLarge:
		return err
	case ctx.Err() != nil:
		return mayfly.Errorf(mayfly.Timeout, "run statement", "the statement took too long and was stopped: %w", ctx.Err())
	case !errors.As(err, &e):
		return mayfly.Errorf(mayfly.Invalid, "run statement", "%w", err)
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_FULL:
		return c.noRoom(err)
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return mayfly.Errorf(mayfly.Throttled, "run statement", "the database is busy: %w", err)
	case lib.SQLITE_CONSTRAINT:
		return mayfly.Errorf(mayfly.Conflict, "run statement", "%w", err)
	case lib.SQLITE_AUTH:
		return mayfly.Errorf(mayfly.Denied, "run statement", "this statement is not allowed here: %w", err)
	case lib.SQLITE_IOERR, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_CANTOPEN:
		return fmt.Errorf("run statement: %w", err)
	}
	return mayfly.Errorf(mayfly.Invalid, "run statement", "%w", err)
}
