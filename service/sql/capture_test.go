package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/service/sql/sqltest"
)

// followed is a node that follows tables of a real server.
type followed struct {
	t    *testing.T
	d    *Driver
	m    *mayfly.Manifest
	conn *pgconn.PgConn
}

func follow(t *testing.T, dsn string, change func(*Config), tables ...string) *followed {
	t.Helper()
	m := pgApp(nil)
	f := &followed{t: t, m: m}
	f.listen(tables...)
	f.d = open(t, m, func(c *Config) {
		c.Secrets, c.Watch = fixedSecrets{"DSN": dsn}, 50*time.Millisecond
		if change != nil {
			change(c)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	f.conn = dial(t, dsn)
	return f
}

func dial(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func (f *followed) listen(tables ...string) {
	f.m.Functions["f"].On = nil
	for _, table := range tables {
		f.m.Functions["f"].On = append(f.m.Functions["f"].On, mayfly.Trigger{Table: "main." + table})
	}
}

func (f *followed) apply() error { return f.d.Apply(context.Background(), []*mayfly.Manifest{f.m}) }

func (f *followed) do(statements ...string) {
	f.t.Helper()
	for _, s := range statements {
		if _, err := f.conn.Exec(context.Background(), s).ReadAll(); err != nil {
			f.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (f *followed) ask(text string) string {
	f.t.Helper()
	r, err := pgRun(context.Background(), f.conn, &pgQuery{Query: text})
	if err != nil {
		f.t.Fatalf("%s: %v", text, err)
	}
	var out []string
	for _, row := range r.Rows {
		for _, v := range row {
			out = append(out, str(v))
		}
	}
	return strings.Join(out, " ")
}

func (f *followed) changes(table string) []service.RowChange {
	f.t.Helper()
	out, _, err := f.d.Changes(context.Background(), "a", "main", table, nil, 0, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *followed) eventually(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	f.t.Fatalf("never happened: %s; %+v", what, f.d.capture("a", "main").status())
}

func (f *followed) eventuallyTold(table string, n int) []service.RowChange {
	f.t.Helper()
	f.eventually(fmt.Sprint(n, " changes of ", table), func() bool { return len(f.changes(table)) >= n })
	return f.changes(table)
}

const slots = "select count(*) from pg_replication_slots where slot_name like 'mayfly%'"

// TestPostgresFollowed shares one server, which has one slot: each part leaves
// none.
func TestPostgresFollowed(t *testing.T) {
	dsn := sqltest.Postgres(t, "wal_level=logical", "max_replication_slots=1")
	t.Run("changes", func(t *testing.T) { testChanges(t, dsn) })
	t.Run("losses", func(t *testing.T) { testLosses(t, dsn) })
	t.Run("a weak role", func(t *testing.T) { testWeakRole(t, dsn) })
}

func testChanges(t *testing.T, dsn string) {
	setup := dial(t, dsn)
	for _, s := range []string{
		"create table t (id int primary key, v text, big bigint, f float8, n numeric, b bytea, j jsonb, at timestamptz, day date, ok bool, tags text[], grid int[][], u uuid)",
		"create schema audit", "create table audit.log (id int, v text)", "create unique index on audit.log (id)",
		"create table parts (id int, v text) partition by range (id)", "create table parts_1 partition of parts for values from (0) to (100)",
		"insert into t values (100, 'before')",
	} {
		if _, err := setup.Exec(t.Context(), s).ReadAll(); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	f := follow(t, dsn, nil, "t", "audit.log", "parts", "later")
	for _, binding := range []string{"x"} {
		if at, err := f.d.Position(t.Context(), "a", "main", binding); at != 0 || err != nil {
			t.Fatalf("%d %v", at, err)
		}
	}
	t.Run("values", func(t *testing.T) {
		f.do(`insert into t values (1, 'a"<', 9007199254740993, 'NaN', 12.50, '\x00ff', '{"x": [1]}', '2026-01-02 03:04:05.6+02', '2026-01-02', true, '{a,null,"b c"}', '{{1,2},{3,4}}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')`)
		got := f.eventuallyTold("t", 1)
		want := `{"id":1,"v":"a\"\u003c","big":9007199254740993,"f":"NaN","n":12.50,"b":{"$hex":"00FF"},"j":{"x": [1]},"at":"2026-01-02T01:04:05.6+00:00","day":"2026-01-02","ok":true,"tags":["a",null,"b c"],"grid":[[1,2],[3,4]],"u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}`
		if string(got[0].New) != want || got[0].Old != nil || got[0].Event != "insert" || got[0].Database != "main" || got[0].Table != "t" {
			t.Errorf("%s %s\n%s\n%s", got[0].Event, got[0].Old, got[0].New, want)
		}
		f.do("delete from t where id = 1")
	})
	t.Run("large values that stay", func(t *testing.T) {
		f.do("alter table t alter v set storage external", "insert into t (id, v) values (2, repeat('x', 100000))", "update t set big = 1 where id = 2", "delete from t where id = 2")
		got := f.eventuallyTold("t", 5)
		for _, c := range []json.RawMessage{got[2].New, got[3].Old, got[3].New, got[4].Old} {
			var row struct{ V string }
			if err := json.Unmarshal(c, &row); err != nil || len(row.V) != 100000 {
				t.Errorf("%.100s: %v", c, err)
			}
		}
	})
	t.Run("rolled back, savepoints, constraints", func(t *testing.T) {
		f.do("begin", "insert into t (id) values (3)", "rollback",
			"begin", "insert into t (id) values (4)", "savepoint s", "update t set v = 'no' where id = 4", "rollback to s", "update t set v = 'yes' where id = 4", "commit")
		_, _ = f.conn.Exec(t.Context(), "insert into t (id) values (5), (4)").ReadAll()
		f.do("delete from t where id = 4")
		var got []string
		for _, c := range f.eventuallyTold("t", 8)[5:] {
			got = append(got, c.Event+" "+short(c.Old)+">"+short(c.New))
		}
		if fmt.Sprint(got) != "[insert >4  update 4 >4 yes delete 4 yes>]" {
			t.Errorf("%v", got)
		}
	})
	t.Run("other schemas, partitions, tables that come later", func(t *testing.T) {
		f.do("insert into audit.log values (1, 'a')", "update audit.log set v = 'b'", "insert into parts values (5, 'p')", "update parts set v = 'q'")
		if got := f.eventuallyTold("audit.log", 2); short(got[1].Old) != "1 a" || short(got[1].New) != "1 b" {
			t.Errorf("%s %s", got[1].Old, got[1].New)
		}
		if got := f.eventuallyTold("parts", 2); short(got[1].Old) != "5 p" || short(got[1].New) != "5 q" {
			t.Errorf("%s %s", got[1].Old, got[1].New)
		}
		url := serve(t, f.d) + "query"
		for _, s := range []string{"create table later (id int, v text)", "insert into later values (7, 'l')"} {
			if status, out := post(t, url, fmt.Sprintf(`{"sql": %q}`, s)); status != 200 {
				t.Fatalf("%s: %v", s, out)
			}
		}
		if got := f.eventuallyTold("later", 1); short(got[0].New) != "7 l" {
			t.Errorf("%s", got[0].New)
		}
	})
	t.Run("truncated tables", func(t *testing.T) {
		f.do("begin", "truncate later", "rollback", "truncate later, audit.log, parts", "insert into later values (8, 'm')", "delete from later")
		for table, want := range map[string]string{"later": "insert truncate insert delete", "audit.log": "insert update truncate", "parts": "insert update truncate"} {
			var got []string
			for _, c := range f.eventuallyTold(table, len(strings.Fields(want))) {
				got = append(got, c.Event)
				if c.Event == "truncate" && (c.Old != nil || c.New != nil) {
					t.Errorf("rows of a truncated table: %s %s", c.Old, c.New)
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %v", table, got)
			}
		}
	})
	t.Run("many at once", func(t *testing.T) {
		f.do("insert into t (id, v) select 1000 + i, repeat('y', 2000) from generate_series(1, 5000) i", "insert into t (id) values (20000)")
		f.eventually("all", func() bool {
			out, _, err := f.d.Changes(t.Context(), "a", "main", "t", nil, 5000, 1000)
			return err == nil && len(out) > 0 && short(out[len(out)-1].New) == "20000 "
		})
	})
	t.Run("identity is given back, and all goes", func(t *testing.T) {
		if got := f.ask("select relreplident from pg_class where relname in ('t', 'log', 'parts_1')"); got != "f f f" {
			t.Errorf("identities %s", got)
		}
		f.listen("t")
		if err := f.apply(); err != nil {
			t.Fatal(err)
		}
		if got := f.ask("select relname, relreplident from pg_class where relname in ('t', 'log', 'parts_1') order by 1"); got != "log d parts_1 d t f" {
			t.Errorf("identities %s", got)
		}
		f.listen()
		if err := f.apply(); err != nil {
			t.Fatal(err)
		}
		if got := f.ask(slots + " union all select count(*) from pg_publication"); got != "0 0" {
			t.Errorf("slots and publications: %s", got)
		}
		if got := f.ask("select relreplident from pg_class where relname = 't'"); got != "d" {
			t.Errorf("identity %s", got)
		}
		f.listen("t")
		if err := f.apply(); err != nil {
			t.Fatal(err)
		}
		at, err := f.d.Position(t.Context(), "a", "main", "new")
		if err != nil {
			t.Fatal(err)
		}
		f.do("insert into t (id) values (30000)")
		f.eventually("a change after all began anew", func() bool {
			out, _, err := f.d.Changes(t.Context(), "a", "main", "t", nil, at, 10)
			return err == nil && len(out) == 1 && short(out[0].New) == "30000 "
		})
	})
	t.Run("without its database", func(t *testing.T) {
		if err := f.d.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := f.ask(slots); got != "0" {
			t.Errorf("slots: %s", got)
		}
	})
}

// short is a row's id and v.
func short(row []byte) string {
	if row == nil {
		return ""
	}
	var r struct {
		ID int
		V  *string
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return err.Error()
	}
	return fmt.Sprint(r.ID, " ", str(r.V))
}

func testLosses(t *testing.T, dsn string) {
	if _, err := dial(t, dsn).Exec(t.Context(), "drop table if exists t").ReadAll(); err != nil {
		t.Fatal(err)
	}
	f := follow(t, dsn, nil, "t")
	state := func() Capture { return *f.d.Databases()[0].Changes }
	f.do("create table t (id int, v text)")
	f.eventually("it follows", func() bool { return state().State == "following" && len(state().Missing) == 0 })
	if w := fmt.Sprint(state().Warnings); !strings.Contains(w, "max_slot_wal_keep_size") {
		t.Errorf("warnings %s", w)
	}
	f.do("insert into t values (1, 'a')")
	f.eventuallyTold("t", 1)
	lost := func(word string) {
		t.Helper()
		f.eventually("it is lost: "+word, func() bool { return state().State == "lost" && strings.Contains(state().Error, word) })
		f.eventually("no slot is left", func() bool { return f.ask(slots) == "0" })
		if err := f.apply(); err != nil {
			t.Errorf("a deploy is refused: %v", err)
		}
		if state().State != "lost" {
			t.Errorf("a deploy made it %+v", state())
		}
		res, err := http.Post(serve(t, f.d)+"changes/restart", "application/json", nil)
		if err != nil || res.StatusCode/100 != 2 {
			t.Fatalf("restart: %v %v", res, err)
		}
		_ = res.Body.Close()
		f.eventually("it follows again", func() bool { return state().State == "following" })
		if err := f.d.capture("a", "main").restart(t.Context()); mayfly.CodeOf(err) != mayfly.Conflict {
			t.Errorf("restarted what follows: %v", err)
		}
	}
	slot := state().Slot
	f.eventually("the slot is dropped from outside", func() bool {
		_, _ = f.conn.Exec(t.Context(), "select pg_terminate_backend(active_pid) from pg_replication_slots where active").ReadAll()
		_, err := f.conn.Exec(t.Context(), "select pg_drop_replication_slot('"+slot+"')").ReadAll()
		return err == nil
	})
	lost("no slot")
	f.do("insert into t values (2, 'b')")
	f.eventuallyTold("t", 2)

	// A transaction that stays open keeps the slot where it is, while others
	// write more than the limit.
	holder := dial(t, dsn)
	if _, err := holder.Exec(t.Context(), "begin; insert into t values (0, 'open')").ReadAll(); err != nil {
		t.Fatal(err)
	}
	f.do("checkpoint")
	f.m.Databases["main"].MaxLag = 1 << 20
	if err := f.apply(); err != nil {
		t.Fatal(err)
	}
	f.do("create table noise (v text)", "insert into noise select repeat('z', 1000) from generate_series(1, 5000)")
	f.eventually("it keeps too much", func() bool { return state().State == "lost" })
	if _, err := holder.Exec(t.Context(), "rollback").ReadAll(); err != nil {
		t.Fatal(err)
	}
	lost("more than max_lag")
	if got := len(f.changes("t")); got != 2 {
		t.Errorf("%d changes", got)
	}
	if err := f.d.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

func cannotFollow(t *testing.T, dsn, word string) {
	t.Helper()
	d := New(Config{Dir: t.TempDir(), Secrets: fixedSecrets{"DSN": dsn}})
	t.Cleanup(func() { _ = d.Close() })
	m := pgApp(nil)
	m.Functions["f"].On = []mayfly.Trigger{{Table: "main.weak"}}
	if err := d.Apply(t.Context(), []*mayfly.Manifest{m}); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(mayfly.MessageOf(err), word) {
		t.Errorf("%v", err)
	}
}

func testWeakRole(t *testing.T, dsn string) {
	c := dial(t, dsn)
	do := func(statements ...string) {
		t.Helper()
		for _, s := range statements {
			if _, err := c.Exec(t.Context(), s).ReadAll(); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	do("create role weak login", "create table weak (id int)", "grant all on schema public to weak", "grant create on database postgres to weak")
	weak := strings.Replace(dsn, "user=postgres", "user=weak", 1)
	cannotFollow(t, weak, "owns the tables")
	do("alter table weak owner to weak")
	cannotFollow(t, weak, "REPLICATION")
	do("select pg_create_physical_replication_slot('other')")
	cannotFollow(t, dsn, "max_replication_slots")
}
