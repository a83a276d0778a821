package sql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service/sql/sqltest"
)

// door serves d's PostgreSQL to a function, and returns where.
func door(t *testing.T, d *Driver, fn mayfly.FunctionName) string {
	t.Helper()
	return doorOf(t, d, mayfly.Caller{Kind: mayfly.CallerFunction, App: "a", Function: fn})
}

func doorOf(t *testing.T, d *Driver, who mayfly.Caller) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() { d.Serve(l, who) })
	t.Cleanup(func() {
		_ = l.Close()
		group.Wait()
	})
	return "postgres://" + string(who.Function) + ":none@" + l.Addr().String() + "/main?sslmode=disable"
}

func reach(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// valueOf is the only value that a query returns, as text.
func valueOf(t *testing.T, c *pgx.Conn, query string, args ...any) string {
	t.Helper()
	var v any
	if err := c.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Errorf("%s: %v", query, err)
		return ""
	}
	return fmt.Sprint(v)
}

func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func must(t *testing.T, c *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// eventually waits until ok, for as long as a busy machine may need.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestWire(t *testing.T) {
	dsn := sqltest.Postgres(t)
	m := pgApp(map[string]string{"1_t.sql": "create table t (id int primary key, v text); insert into t values (1, 'a');"})
	m.Databases["main"].Timeout = mayfly.Duration(20 * time.Second)
	d := open(t, m, func(c *Config) {
		c.Secrets, c.Wait, c.Idle = fixedSecrets{"DSN": dsn}, 30*time.Second, 30*time.Second
	})
	writer, reader := door(t, d, "f"), door(t, d, "reader")
	p := d.postgres("a", "main")
	count := func(t *testing.T) string { return valueOf(t, reach(t, writer), "select count(*) from t") }

	t.Run("transactions", func(t *testing.T) {
		c := reach(t, writer)
		tx, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "insert into t values ($1, $2)", 2, "b"); err != nil {
			t.Fatal(err)
		}
		if got := count(t); got != "1" {
			t.Errorf("others see what is not committed: %s", got)
		}
		if err := tx.Commit(t.Context()); err != nil || count(t) != "2" {
			t.Errorf("%v, %s rows", err, count(t))
		}
		must(t, c, "begin", "delete from t", "rollback")
		if _, err := c.Exec(t.Context(), "begin; delete from t; select 1/0; commit"); state(err) != "22012" {
			t.Error(err)
		}
		must(t, c, "rollback", "delete from t where id = 2")
		if got := count(t); got != "1" {
			t.Errorf("%s rows", got)
		}
	})
	t.Run("a client that vanishes", func(t *testing.T) {
		c := reach(t, writer)
		must(t, c, "begin", "delete from t")
		before := p.info().Rolledback
		_ = c.PgConn().Conn().Close()
		eventually(t, "its transaction was not rolled back", func() bool { return p.info().Rolledback > before })
		if got := count(t); got != "1" {
			t.Errorf("%s rows", got)
		}
		c = reach(t, writer)
		go func() { _, _ = c.Exec(context.Background(), "select pg_sleep(15)") }()
		running := func() bool {
			return valueOf(t, reach(t, writer), "select count(*) from pg_stat_activity where query like '%pg_sleep(15)%' and pid <> pg_backend_pid()") != "0"
		}
		eventually(t, "the statement does not run", running)
		_ = c.PgConn().Conn().Close()
		eventually(t, "the statement goes on", func() bool { return !running() })
	})
	t.Run("more sessions than connections", func(t *testing.T) {
		var all []*pgx.Conn
		for i := range 40 {
			c := reach(t, writer)
			must(t, c, fmt.Sprintf("set application_name = 'client %d'", i))
			all = append(all, c)
		}
		for range 3 { // pgx prepares what it runs, by name
			for i, c := range all {
				if got := valueOf(t, c, "select $1::int + 1", i); got != fmt.Sprint(i+1) {
					t.Fatalf("%d: %s", i, got)
				}
				if got := valueOf(t, c, "select current_setting('application_name')"); got != fmt.Sprintf("client %d", i) {
					t.Fatalf("%d is %q", i, got)
				}
			}
		}
		if n := p.pool.Stat().TotalConns(); n > 5 {
			t.Errorf("%d connections", n)
		}
		if n := d.sessions.count("a", "main"); n < 40 {
			t.Errorf("%d sessions", n)
		}
	})
	t.Run("settings", func(t *testing.T) {
		c := reach(t, writer+"&options=-c%20TimeZone%3DAsia/Tokyo")
		must(t, c, "set search_path to pg_catalog, public", "begin", "set local work_mem = '7MB'", "set datestyle to german", "rollback", "select set_config('my.var', 'x', false)")
		for query, want := range map[string]string{"show search_path": "pg_catalog, public", "show timezone": "Asia/Tokyo", "show work_mem": "4MB", "show datestyle": "ISO, MDY", "show my.var": "x"} {
			if got := valueOf(t, c, query); got != want {
				t.Errorf("%s: %q", query, got)
			}
		}
		must(t, c, "reset search_path")
		if got := valueOf(t, c, "show search_path"); got != `"$user", public` {
			t.Errorf("after a reset: %q", got)
		}
		other := reach(t, writer)
		if got := valueOf(t, other, "show timezone"); strings.Contains(got, "Tokyo") {
			t.Error("another session has it")
		}
		if _, err := pgx.Connect(t.Context(), writer+"&options=-c%20nonsense%3D1"); state(err) != "42704" {
			t.Errorf("an unknown setting: %v", err)
		}
	})
	t.Run("prepared statements", func(t *testing.T) {
		c := reach(t, writer).PgConn()
		if _, err := c.Prepare(t.Context(), "own", "select $1::text || v from t where id = 1", nil); err != nil {
			t.Fatal(err)
		}
		run := func() (string, error) {
			r := c.ExecPrepared(t.Context(), "own", [][]byte{[]byte("x")}, nil, nil).Read()
			if len(r.Rows) == 0 {
				return "", r.Err
			}
			return string(r.Rows[0][0]), r.Err
		}
		for range 5 {
			if got, err := run(); got != "xa" || err != nil {
				t.Fatalf("%q %v", got, err)
			}
		}
		if _, err := c.Prepare(t.Context(), "bad", "select from nowhere", nil); state(err) != "42P01" {
			t.Error(err)
		}
		if _, err := c.Exec(t.Context(), "deallocate own").ReadAll(); err != nil {
			t.Error(err)
		}
		if _, err := run(); state(err) != "26000" {
			t.Errorf("it is still there: %v", err)
		}
	})
	t.Run("pipelines", func(t *testing.T) {
		c := reach(t, writer)
		b := &pgx.Batch{}
		for i := range 500 {
			b.Queue("select $1::int, repeat('x', 1000)", i)
		}
		r := c.SendBatch(t.Context(), b)
		for i := range 500 {
			var n int
			var x string
			if err := r.QueryRow().Scan(&n, &x); err != nil || n != i || len(x) != 1000 {
				t.Fatalf("%d: %d %v", i, n, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		b = &pgx.Batch{}
		b.Queue("insert into t values (77, 'x')")
		b.Queue("insert into t values (1, 'twice')")
		if err := c.SendBatch(t.Context(), b).Close(); state(err) != "23505" || count(t) != "1" {
			t.Errorf("%v, %s rows", err, count(t))
		}
		if got := valueOf(t, c, "select length($1::text)", strings.Repeat("y", 5<<20)); got != fmt.Sprint(5<<20) {
			t.Errorf("a large parameter: %s", got)
		}
	})
	t.Run("copy", func(t *testing.T) {
		c := reach(t, writer)
		rows := make([][]any, 20_000)
		for i := range rows {
			rows[i] = []any{i + 100, strings.Repeat("v", 50)}
		}
		if n, err := c.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id", "v"}, pgx.CopyFromRows(rows)); n != 20_000 || err != nil {
			t.Fatal(n, err)
		}
		var out strings.Builder
		if _, err := c.PgConn().CopyTo(t.Context(), &out, "copy (select id from t where id >= 100) to stdout"); err != nil || strings.Count(out.String(), "\n") != 20_000 {
			t.Error(err, out.Len())
		}
		rows[7][0] = 1
		if _, err := c.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id", "v"}, pgx.CopyFromRows(rows)); state(err) != "23505" {
			t.Error(err)
		}
		must(t, c, "delete from t where id >= 100")
	})
	t.Run("limits", func(t *testing.T) {
		c := reach(t, writer)
		if _, err := c.Exec(t.Context(), "listen x"); state(err) != "0A000" {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		if _, err := c.Exec(ctx, "select pg_sleep(15)"); err == nil { // pgx closes the connection then
			t.Error("it was not cancelled")
		}
		c = reach(t, writer)
		time.AfterFunc(300*time.Millisecond, func() { _ = c.PgConn().CancelRequest(context.Background()) })
		if _, err := c.Exec(t.Context(), "select pg_sleep(15)"); state(err) != "57014" {
			t.Error(err)
		}
		if got := valueOf(t, c, "select 1"); got != "1" {
			t.Error("the session ended with its statement")
		}
		if _, err := pgx.Connect(t.Context(), strings.Replace(writer, "/main", "/other", 1)); state(err) != "42501" {
			t.Error(err)
		}
		if _, err := pgx.Connect(t.Context(), doorOf(t, d, mayfly.Caller{Kind: mayfly.CallerFunction, App: "b", Function: "f"})); state(err) != "3D000" {
			t.Errorf("another app's function: %v", err)
		}
	})
	t.Run("readers", func(t *testing.T) { readersOfWire(t, reader, count) })
	t.Run("neon's client", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("node is not installed")
		}
		dir := install(t, "@neondatabase/serverless@1", "ws@8", "pg@8")
		script, err := os.ReadFile("testdata/wire.mjs")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "wire.mjs"), script, 0o600); err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle(SocketPattern, d.Socket(func(password string) (mayfly.Caller, error) {
			if password != "secret" {
				return mayfly.Caller{}, mayfly.Errorf(mayfly.Unauthorized, "", "the token is not known here")
			}
			return mayfly.Caller{Kind: mayfly.CallerAdmin}, nil
		}))
		s := httptest.NewServer(mux)
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, node, filepath.Join(dir, "wire.mjs"), strings.TrimPrefix(s.URL, "http://")+"/v1/apps/a/databases/main/wire", writer).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "ok") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// readersOfWire tries to write as one who may only read.
func readersOfWire(t *testing.T, url string, count func(*testing.T) string) {
	c := reach(t, url)
	if got := valueOf(t, c, "select v from t where id = $1", 1); got != "a" {
		t.Errorf("read %q", got)
	}
	tx, err := c.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadWrite})
	if err != nil {
		t.Fatal(err)
	}
	var level string
	if err := tx.QueryRow(t.Context(), "show transaction_isolation").Scan(&level); err != nil || level != "repeatable read" {
		t.Errorf("%q %v", level, err)
	}
	must(t, c, "savepoint s", "rollback to savepoint s")
	if _, err := tx.Exec(t.Context(), "insert into t values (9, 'x')"); state(err) != "25006" {
		t.Error(err)
	}
	if _, err := tx.Exec(t.Context(), "select 1"); state(err) != "25P02" {
		t.Errorf("the transaction is not failed: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	must(t, c, "set timezone to 'Asia/Tokyo'")
	if got := valueOf(t, c, "show timezone"); got != "Asia/Tokyo" {
		t.Errorf("settings of a reader: %s", got)
	}
	for _, attempt := range [][]string{
		{"insert into t values (9, 'x')"}, {"set default_transaction_read_only = off", "insert into t values (9, 'x')"},
		{"begin read write", "insert into t values (9, 'x')", "commit"}, {"begin", "set transaction read write", "insert into t values (9, 'x')", "commit"},
		{"/* /* */ */ commit and chain", "set transaction read write", "insert into t values (9, 'x')", "commit"},
		{"begin", "/* /* */ */ commit and chain", "/**/ set transaction read write", "insert into t values (9, 'x')", "/**/ commit"},
		{"/**/ commit", "insert into t values (9, 'x')"}, {"select 1; commit; insert into t values (9, 'x')"},
		{"select set_config('transaction_read_only', 'off', false)", "insert into t values (9, 'x')"},
		{"copy t from stdin"}, {"do $$ begin commit; insert into t values (9, 'x'); end $$"}, {"with x as (insert into t values (9, 'x') returning 1) select * from x"},
		{"begin", "/**/ rollback", "insert into t values (9, 'x')"}, {"prepare transaction 'x'"},
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
			c := reach(t, url)
			var err error
			for _, text := range attempt {
				if _, err = c.Exec(t.Context(), text, mode); err != nil {
					break
				}
			}
			if err == nil {
				t.Errorf("%v: %q passed", mode, attempt)
			}
			_ = c.Close(t.Context()) // it may have a transaction open
		}
		c := reach(t, url).PgConn()
		pipe := c.StartPipeline(t.Context())
		for _, text := range attempt {
			pipe.SendQueryParams(text, nil, nil, nil, nil)
		}
		_ = pipe.Sync()
		for {
			r, err := pipe.GetResults()
			if r == nil || err != nil {
				break
			}
			if rr, ok := r.(*pgconn.ResultReader); ok {
				_, _ = rr.Close()
			}
			if _, ok := r.(*pgconn.PipelineSync); ok {
				break
			}
		}
		_ = pipe.Close()
		_ = c.Close(t.Context())
	}
	if got := count(t); got != "1" {
		t.Errorf("a reader wrote: %s rows", got)
	}
}

// TestWireWaits keeps the only connection.
func TestWireWaits(t *testing.T) {
	m := pgApp(nil)
	m.Databases["main"].Pool = 1
	m.Databases["main"].Timeout = mayfly.Duration(500 * time.Millisecond)
	dsn := sqltest.Postgres(t)
	d := open(t, m, func(c *Config) {
		c.Secrets, c.Wait, c.Idle, c.Longest = fixedSecrets{"DSN": dsn}, 100*time.Millisecond, 2*time.Second, time.Minute
	})
	url := door(t, d, "f")
	a, b := reach(t, url), reach(t, url)
	must(t, a, "begin", "select 1")
	if _, err := b.Exec(t.Context(), "select 1"); state(err) != "53300" {
		t.Errorf("it did not wait in vain: %v", err)
	}
	if _, err := b.Exec(t.Context(), "select $1::int", 1); state(err) != "53300" {
		t.Errorf("it did not wait in vain: %v", err)
	}
	eventually(t, "an idle transaction is kept", func() bool {
		_, err := b.Exec(t.Context(), "select $1::int", 1)
		return err == nil
	})
	if _, err := a.Exec(t.Context(), "select 1"); state(err) != "25P03" {
		t.Errorf("nobody said why: %v", err)
	}
	if _, err := b.Exec(t.Context(), "set statement_timeout = 0; select pg_sleep(60)"); state(err) != "57014" {
		t.Errorf("a statement without end: %v", err)
	}
	if got := valueOf(t, b, "select 1"); got != "1" {
		t.Errorf("got %q", got)
	}
	if err := d.Apply(admin, []*mayfly.Manifest{{App: "a"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Exec(t.Context(), "select 1"); err == nil {
		t.Error("the database is gone")
	}
}

func TestWireEnviron(t *testing.T) {
	d := New(Config{Door: "127.0.0.1:9004"})
	m := pgApp(nil)
	m.Databases["other-one"] = &mayfly.Database{Engine: "postgres"}
	m.Databases["file"] = &mayfly.Database{}
	m.Functions["both"] = &mayfly.Function{Allow: []string{"* database/*"}}
	m.Functions["none"] = &mayfly.Function{Allow: []string{"read bucket/main"}}
	if env := d.Environ(m, "f"); env["DATABASE_URL"] != "postgresql://f:none@127.0.0.1:9004/main?sslmode=disable" || env["PGHOST"] != "127.0.0.1" || env["PGDATABASE"] != "main" {
		t.Errorf("%v", env)
	}
	if env := d.Environ(m, "both"); env["DATABASE_URL"] != "" || env["DATABASE_URL_OTHER_ONE"] == "" || env["DATABASE_URL_MAIN"] == "" || env["DATABASE_URL_FILE"] != "" {
		t.Errorf("%v", env)
	}
	if env := d.Environ(m, "none"); env["DATABASE_URL_MAIN"] != "" || env["PGHOST"] != "" {
		t.Errorf("%v", env)
	}
}
