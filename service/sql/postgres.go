package sql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/mayfly-cloud/mayfly"
)

// DefaultPool is how many connections a PostgreSQL database gets where a
// manifest does not say.
const DefaultPool = 20

// postgres is one app's PostgreSQL database: a bounded pool that all instances
// of its functions share.
type postgres struct {
	app   mayfly.AppName
	name  string
	dsn   string
	size  int
	limit time.Duration // of a statement
	wait  time.Duration // for a connection
	pool  *pgxpool.Pool
	gate  *gate
	stats stats

	schemaChanged atomic.Pointer[capture]           // follows tables that a statement may have made; nil: nobody does
	told          atomic.Pointer[map[string]string] // what the server tells clients of itself; nil: nobody asked yet
}

func openPostgres(dsn string, size int, limit time.Duration) (*postgres, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The cause may show the password.
		return nil, mayfly.Errorf(mayfly.Invalid, "open database", "its dsn is not one; write it as postgres://USER:PASSWORD@HOST/DATABASE")
	}
	cfg.MaxConns, cfg.MinConns = int32(size), 0
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.ConnConfig.RuntimeParams["application_name"] = "mayfly"
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(limit.Milliseconds(), 10)
	cfg.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "60000"
	// What one function set must not be there for the next.
	cfg.AfterRelease = func(c *pgx.Conn) bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := c.PgConn().Exec(ctx, "DISCARD ALL").ReadAll()
		return err == nil && c.PgConn().TxStatus() == 'I'
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &postgres{dsn: dsn, size: size, limit: limit, pool: pool, gate: newGate(size)}, nil
}

// use runs fn with a connection of the pool, for which callers wait by turns.
func (p *postgres) use(ctx context.Context, write bool, fn func(*pgconn.PgConn) error) error {
	begun := time.Now()
	err := p.gate.enter(ctx, mayfly.CallerFrom(ctx).String(), p.wait)
	p.stats.note(time.Since(begun), write, err != nil)
	if err != nil {
		return err
	}
	defer p.gate.leave()
	return p.with(ctx, fn)
}

// lend runs fn with a connection for the platform, which the statistics leave
// out.
func (p *postgres) lend(ctx context.Context, fn func(*pgconn.PgConn) error) error {
	if err := p.gate.enter(ctx, "platform", p.wait); err != nil {
		return err
	}
	defer p.gate.leave()
	return p.with(ctx, fn)
}

// with runs fn with a connection; the caller is in the gate.
func (p *postgres) with(ctx context.Context, fn func(*pgconn.PgConn) error) error {
	wait, cancel := context.WithTimeout(ctx, p.wait)
	c, err := p.pool.Acquire(wait)
	cancel()
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "connect to database "+p.name, "PostgreSQL does not answer as it should: %w", err)
	}
	defer c.Release()
	return fn(c.Conn().PgConn())
}

// pgResult is what one statement returned, its values in PostgreSQL's text form.
type pgResult struct {
	Fields   []pgField   `json:"fields"`
	Rows     [][]*string `json:"rows"`
	Command  string      `json:"command"`
	RowCount int64       `json:"rowCount"`
	AsArray  bool        `json:"rowAsArray"`
}

type pgField struct {
	Name       string `json:"name"`
	Type       uint32 `json:"dataTypeID"`
	Table      uint32 `json:"tableID"`
	Column     uint16 `json:"columnID"`
	Size       int16  `json:"dataTypeSize"`
	Modifier   int32  `json:"dataTypeModifier"`
	TextFormat string `json:"format"`
}

// pgQuery is a statement with its parameters in text form; nil is NULL.
type pgQuery struct {
	Query  string    `json:"query"`
	Params []*string `json:"params"`
}

func (q *pgQuery) params() [][]byte {
	out := make([][]byte, len(q.Params))
	for i, s := range q.Params {
		if s != nil {
			out[i] = []byte(*s)
		}
	}
	return out
}

// once runs a statement by itself, read-only where the caller may not write.
func (p *postgres) once(ctx context.Context, q *pgQuery, write bool) (r *pgResult, err error) {
	if !write {
		results, err := p.transaction(ctx, []pgQuery{*q}, "READ ONLY")
		if err != nil {
			return nil, err
		}
		return results[0], nil
	}
	err = p.use(ctx, true, func(c *pgconn.PgConn) error {
		r, err = pgRun(ctx, c, q)
		return err
	})
	p.follow(ctx, err, *q)
	return r, err
}

// follow looks for tables that functions listen to, where statements may have
// made them: what is written to them next is told.
func (p *postgres) follow(ctx context.Context, err error, queries ...pgQuery) {
	if err != nil {
		return
	}
	for i := range queries {
		switch verb(queries[i].Query) {
		case "CREATE", "ALTER", "DROP":
			p.changed(ctx)
			return
		}
	}
}

// transaction runs statements in one transaction of a mode, all or none.
func (p *postgres) transaction(ctx context.Context, queries []pgQuery, mode string) (results []*pgResult, err error) {
	readOnly := strings.HasSuffix(mode, "READ ONLY")
	err = p.use(ctx, !readOnly, func(c *pgconn.PgConn) error {
		begin := "BEGIN " + mode
		if readOnly {
			begin += "; SELECT 1" // after a snapshot, nothing makes it writable
		}
		if _, err := c.Exec(ctx, begin).ReadAll(); err != nil {
			return pgProblem(ctx, err)
		}
		for i := range queries {
			err := serverSide(queries[i].Query, readOnly)
			var r *pgResult
			if err == nil {
				r, err = pgStep(ctx, c, &queries[i])
			}
			if err != nil {
				return errors.Join(err, rollback(ctx, c))
			}
			results = append(results, r)
		}
		_, err := c.Exec(ctx, "COMMIT").ReadAll()
		return pgProblem(ctx, err)
	})
	p.follow(ctx, err, queries...)
	return results, err
}

// pgStep is one statement of a transaction, which it must not end.
func pgStep(ctx context.Context, c *pgconn.PgConn, q *pgQuery) (*pgResult, error) {
	if err := ends(q.Query); err != nil {
		return nil, err
	}
	r, err := pgRun(ctx, c, q)
	if err == nil && (c.TxStatus() != 'T' || controls[r.Command]) {
		err = mayfly.Errorf(mayfly.Denied, "run statement", "it ended the transaction, which is the platform's")
	}
	return r, err
}

// controls are the first words by which the server says that a statement began
// or ended a transaction: COMMIT AND CHAIN leaves one open, but another.
var controls = map[string]bool{"BEGIN": true, "START": true, "COMMIT": true, "ROLLBACK": true}

// ends refuses statements that would end the transaction they are in or change
// its mode. It is for the message: the snapshot, the status and what the server
// says it did are the wall.
func ends(text string) error {
	switch v := verb(text); v {
	case "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SET", "RESET", "DISCARD", "PREPARE":
		return mayfly.Errorf(mayfly.Denied, "run statement", "%s is not allowed here: the transaction is the platform's", v)
	}
	return nil
}

// serverSide refuses to readers what a read-only transaction lets a superuser do
// to the server's own files. A role that is no superuser cannot do it anyway.
func serverSide(text string, readOnly bool) error {
	if v := verb(text); readOnly && (v == "COPY" || v == "DO") {
		return mayfly.Errorf(mayfly.Denied, "run statement", "%s is not allowed where only reading is granted or asked for", v)
	}
	return nil
}

func rollback(ctx context.Context, c *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if c.IsClosed() {
		return nil
	}
	_, err := c.Exec(ctx, "ROLLBACK").ReadAll()
	return err
}

// pgRun runs one statement by the extended protocol, which takes one only.
func pgRun(ctx context.Context, c *pgconn.PgConn, q *pgQuery) (*pgResult, error) {
	rows := c.ExecParams(ctx, q.Query, q.params(), nil, nil, nil)
	r := &pgResult{Fields: []pgField{}, Rows: [][]*string{}, AsArray: true}
	for _, f := range rows.FieldDescriptions() {
		r.Fields = append(r.Fields, pgField{f.Name, f.DataTypeOID, f.TableOID, f.TableAttributeNumber, f.DataTypeSize, f.TypeModifier, "text"})
	}
	bytes := maxBytes
	for rows.NextRow() {
		row := make([]*string, len(rows.Values()))
		for i, v := range rows.Values() {
			if v != nil {
				s := string(v)
				row[i] = &s
				bytes -= len(s) + 16
			}
		}
		r.Rows = append(r.Rows, row)
		if len(r.Rows) > maxRows || bytes < 0 {
			_, _ = rows.Close()
			return nil, mayfly.Errorf(mayfly.TooLarge, "run statement", "the result is larger than %d rows or %s; add LIMIT", maxRows, mayfly.Bytes(maxBytes))
		}
	}
	tag, err := rows.Close()
	if err != nil {
		return nil, pgProblem(ctx, err)
	}
	r.RowCount = tag.RowsAffected()
	if w := words(tag.String(), 1); len(w) > 0 {
		r.Command = w[0]
	}
	return r, nil
}

// pgProblem gives PostgreSQL's errors their code.
func pgProblem(ctx context.Context, err error) error {
	var e *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return mayfly.Errorf(mayfly.Timeout, "run statement", "%w", ctx.Err())
	case !errors.As(err, &e):
		return mayfly.Errorf(mayfly.Unavailable, "run statement", "PostgreSQL does not answer as it should: %w", err)
	}
	code := mayfly.Invalid
	switch {
	case e.Code == "57014": // canceled, by statement_timeout
		code = mayfly.Timeout
	case e.Code == "25006": // read-only transaction
		code = mayfly.Denied
	case len(e.Code) == 5 && (e.Code[:2] == "23" || e.Code[:2] == "40"): // constraint, serialization
		code = mayfly.Conflict
	}
	return mayfly.Errorf(code, "run statement", "%w", err)
}

// migrate runs the pending migrations in order, each in a transaction of its
// own, under a lock that keeps other nodes out.
func (p *postgres) migrate(ctx context.Context, files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	return p.use(ctx, true, func(c *pgconn.PgConn) error {
		exec := func(text string) error {
			_, err := c.Exec(ctx, text).ReadAll()
			return pgProblem(ctx, err)
		}
		if err := exec("SELECT pg_advisory_lock(hashtext('mayfly migrations'))"); err != nil {
			return err
		}
		defer func() { _ = exec("SELECT pg_advisory_unlock(hashtext('mayfly migrations'))") }()
		if err := exec("CREATE TABLE IF NOT EXISTS _mayfly_migrations(name text PRIMARY KEY, checksum text NOT NULL, applied timestamptz NOT NULL DEFAULT now())"); err != nil {
			return err
		}
		done, err := pgApplied(ctx, c)
		if err != nil {
			return err
		}
		names, err := pending(files, done)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := pgMigrate(ctx, c, name, files[name]); err != nil {
				return err
			}
		}
		return nil
	})
}

func pgApplied(ctx context.Context, c *pgconn.PgConn) (map[string]string, error) {
	r, err := pgRun(ctx, c, &pgQuery{Query: "SELECT name, checksum FROM _mayfly_migrations"})
	if err != nil {
		return nil, err
	}
	done := map[string]string{}
	for _, row := range r.Rows {
		done[*row[0]] = *row[1]
	}
	return done, nil
}

func pgMigrate(ctx context.Context, c *pgconn.PgConn, name, body string) error {
	sum := checksum(body)
	err := func() error {
		if _, err := c.Exec(ctx, "BEGIN").ReadAll(); err != nil {
			return err
		}
		if _, err := c.Exec(ctx, body).ReadAll(); err != nil { // the simple protocol takes several statements
			return err
		}
		if c.TxStatus() != 'T' {
			return errors.New("it ends its transaction; a migration is a transaction already")
		}
		if _, err := pgRun(ctx, c, &pgQuery{"INSERT INTO _mayfly_migrations(name, checksum) VALUES ($1, $2)", []*string{&name, &sum}}); err != nil {
			return err
		}
		_, err := c.Exec(ctx, "COMMIT").ReadAll()
		return err
	}()
	if err == nil {
		return nil
	}
	_ = rollback(ctx, c)
	return mayfly.Errorf(codeOr(err, mayfly.Invalid), "migration "+name, "nothing of it was kept: %w", err)
}

func (p *postgres) info() Info {
	i := Info{Database: p.name, Engine: "postgres"}
	s := &p.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	i.Reads, i.Writes, i.Waits, i.Refused, i.Rolledback = s.reads, s.writes, s.waits, s.refused, s.rollback
	i.WaitedMS, i.LongestMS = s.waited.Milliseconds(), s.longest.Milliseconds()
	i.Connections, i.Pool = int(p.pool.Stat().TotalConns()), p.size
	return i
}
