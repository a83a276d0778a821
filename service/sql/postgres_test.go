package sql

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service/sql/sqltest"
)

type fixedSecrets map[string]string

func (s fixedSecrets) Secret(_ context.Context, _ mayfly.AppName, name string) (string, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	return "", mayfly.Errorf(mayfly.NotFound, "use secret", "%s is not set", name)
}

func pgApp(migrations map[string]string) *mayfly.Manifest {
	m := app(nil, "write database/main")
	m.Databases["main"] = &mayfly.Database{Engine: "postgres", DSN: "DSN", Pool: 5, MigrationFiles: migrations}
	m.Functions["reader"] = &mayfly.Function{Allow: []string{"read database/main"}}
	return m
}

func pgQueries(texts ...string) (out []pgQuery) {
	for _, s := range texts {
		out = append(out, pgQuery{Query: s})
	}
	return out
}

func TestPostgres(t *testing.T) {
	dsn := sqltest.Postgres(t)
	migrations := map[string]string{"1_t.sql": "create table t (id int primary key, v text); insert into t values (1, 'a');"}
	d := open(t, pgApp(migrations), func(c *Config) { c.Secrets = fixedSecrets{"DSN": dsn} })
	p := d.postgres("a", "main")
	ask := func(ctx context.Context, text string) (string, error) {
		p, write, err := d.openPostgres(ctx, "a", "main")
		if err != nil {
			return "", err
		}
		r, err := p.once(ctx, &pgQuery{Query: text}, write)
		if err != nil {
			return "", err
		}
		var out []string
		for _, row := range r.Rows {
			for _, v := range row {
				out = append(out, *v)
			}
		}
		return strings.Join(out, " "), nil
	}
	t.Run("migrations", func(t *testing.T) {
		if got, err := ask(admin, "select v from t"); got != "a" || err != nil {
			t.Errorf("%q %v", got, err)
		}
		if err := d.Check(pgApp(migrations)); err != nil {
			t.Error(err)
		}
		if err := d.Check(pgApp(map[string]string{"1_t.sql": "other"})); mayfly.CodeOf(err) != mayfly.Conflict {
			t.Errorf("changed: %v", err)
		}
		broken := map[string]string{"1_t.sql": migrations["1_t.sql"], "2_x.sql": "insert into t values (2, 'b'); insert into nowhere values (1)"}
		if err := d.Apply(admin, []*mayfly.Manifest{pgApp(broken)}); err == nil {
			t.Error("a broken migration ran")
		}
		ending := map[string]string{"1_t.sql": migrations["1_t.sql"], "2_x.sql": "insert into t values (2, 'b'); commit"}
		if err := d.Apply(admin, []*mayfly.Manifest{pgApp(ending)}); err == nil {
			t.Error("a migration ended its transaction")
		}
	})
	t.Run("readers cannot write", func(t *testing.T) {
		if got, err := ask(as("reader"), "select count(*) from _mayfly_migrations"); got != "1" || err != nil {
			t.Errorf("%q %v", got, err)
		}
		for _, text := range []string{
			"insert into t values (9, 'x')", "set transaction read write", "commit", "/* /* */ */ commit", "/* /* */ */ set transaction read write",
			"select set_config('transaction_read_only', 'off', true)", "select 1; insert into t values (9, 'x')", "create temp table x (a int)",
			"with x as (insert into t values (9, 'x') returning 1) select * from x",
		} {
			if got, err := ask(as("reader"), text); err == nil {
				t.Errorf("%s: %q", text, got)
			}
		}
		_, err := p.transaction(as("reader"), pgQueries("/* /* */ */ commit", "insert into t values (9, 'x')"), "READ ONLY")
		if err == nil {
			t.Error("a batch left its transaction")
		}
		_, err = p.transaction(as("reader"), pgQueries("/* /* */ */ commit and chain", "/* /* */ */ set transaction read write", "insert into t values (9, 'x')"), "READ ONLY")
		if err == nil {
			t.Error("a batch went on in another transaction")
		}
		if got, _ := ask(admin, "select count(*) from t where id = 9"); got != "0" {
			t.Errorf("rows: %s", got)
		}
	})
	t.Run("sessions leave nothing", func(t *testing.T) {
		for range 10 {
			_, _ = ask(admin, "set search_path to nowhere")
			_, _ = ask(admin, "begin")
		}
		if got, err := ask(admin, "select v from t where id = 1"); got != "a" || err != nil {
			t.Errorf("%q %v", got, err)
		}
	})
	t.Run("a thousand callers share the pool", func(t *testing.T) {
		var most atomic.Int32
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, err := ask(admin, "select 1"); err != nil && mayfly.CodeOf(err) != mayfly.Throttled {
					t.Error(err)
				}
				most.Store(max(most.Load(), p.pool.Stat().TotalConns()))
			})
		}
		wg.Wait()
		if most.Load() > 5 {
			t.Errorf("%d connections", most.Load())
		}
	})
	t.Run("neon's client", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("node is not installed")
		}
		dir := install(t, "@neondatabase/serverless@1")
		script, err := os.ReadFile("testdata/neon.mjs")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "neon.mjs"), script, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, node, filepath.Join(dir, "neon.mjs"), serve(t, d)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "ok") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("read-only queries", func(t *testing.T) {
		checkReadOnly(t, serve(t, d)+"query", "set transaction read write", "commit", "create table u (x int)", "select set_config('transaction_read_only', 'off', true)", "copy t to '/tmp/x'",
			"copy (select 1) to program 'true'", "do $$ begin execute 'copy t to ''/tmp/x'' '; end $$")
	})
	t.Run("no logical replication", func(t *testing.T) { cannotFollow(t, dsn, "wal_level") })
	t.Run("plain query", func(t *testing.T) {
		status, out := post(t, serve(t, d)+"query", `{"sql":"select $1::int + 1, $2::text, $3::text","args":[1, null, "x"]}`)
		if status != 200 || fmt.Sprint(out["rows"]) != "[[2 <nil> x]]" {
			t.Errorf("%d %v", status, out)
		}
	})
}

func TestPostgresCheck(t *testing.T) {
	d := open(t, app(nil), nil)
	if err := d.Check(pgApp(nil)); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("without secrets: %v", err)
	}
	if _, err := openPostgres("postgres://u:hunter2@[", 1, time.Second); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a wrong dsn: %v", err)
	}
}

// TestTurns lets one caller queue a lot before another comes.
func TestTurns(t *testing.T) {
	g := newGate(1)
	ctx := context.Background()
	if err := g.enter(ctx, "first", time.Minute); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	come := func(caller string, n int) {
		for range n {
			g.mu.Lock()
			before := len(g.queues[caller])
			g.mu.Unlock()
			wg.Go(func() {
				if err := g.enter(ctx, caller, time.Minute); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, caller)
				mu.Unlock()
				g.leave()
			})
			for queued := before; queued == before; {
				g.mu.Lock()
				queued = len(g.queues[caller])
				g.mu.Unlock()
			}
		}
	}
	come("busy", 10)
	come("rare", 2)
	g.leave()
	wg.Wait()
	if at := slices.Index(order, "rare"); at > 1 {
		t.Errorf("the rare caller waited for %d others: %v", at, order)
	}
	if g.free != 1 || len(g.turns) != 0 || len(g.queues) != 0 {
		t.Errorf("left: %+v", g)
	}
	if err := g.enter(ctx, "first", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := g.enter(ctx, "late", time.Millisecond); mayfly.CodeOf(err) != mayfly.Throttled {
		t.Errorf("waited for ever: %v", err)
	}
	g.leave()
	if g.free != 1 || len(g.turns) != 0 {
		t.Errorf("left: %+v", g)
	}
}
