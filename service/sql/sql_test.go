package sql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/service"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		http.DefaultClient.CloseIdleConnections()
		if err := goleak.Find(
			// The S3 service that copies go to: as in its own tests.
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func app(migrations map[string]string, allow ...string) *mayfly.Manifest {
	return &mayfly.Manifest{
		App:       "a",
		Databases: map[string]*mayfly.Database{"main": {MigrationFiles: migrations}},
		Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {Allow: allow}},
	}
}

func open(t testing.TB, m *mayfly.Manifest, change func(*Config)) *Driver {
	t.Helper()
	authz := identity.NewAuthorizer(nil)
	if err := authz.Apply([]*mayfly.Manifest{m, {App: "b", Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {Allow: []string{"* database/*"}}}}}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: t.TempDir(), Authz: authz}
	if change != nil {
		change(&cfg)
	}
	d := New(cfg)
	t.Cleanup(func() { _ = d.Close() })
	if err := d.Apply(context.Background(), []*mayfly.Manifest{m}); err != nil {
		t.Fatal(err)
	}
	return d
}

var admin = mayfly.WithCaller(context.Background(), mayfly.Caller{Kind: mayfly.CallerAdmin})

func as(fn string) context.Context {
	return mayfly.WithCaller(context.Background(), mayfly.Caller{Kind: mayfly.CallerFunction, App: "a", Function: mayfly.FunctionName(fn)})
}

// do runs statements by themselves and returns the last one's rows as text.
func do(t testing.TB, d *Driver, statements ...string) string {
	t.Helper()
	var out string
	for _, s := range statements {
		r, err := d.Query(admin, "a", "main", &Statement{SQL: s})
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		out = fmt.Sprint(r.Rows)
	}
	return out
}

func try(ctx context.Context, d *Driver, text string) error {
	_, err := d.Query(ctx, "a", "main", &Statement{SQL: text})
	return err
}

func TestSplit(t *testing.T) {
	for text, want := range map[string]int{
		"":                           0,
		" ; ;; -- no\n /* no; */":    0,
		"select 1":                   1,
		"select ';'; select \"a;b\"": 2,
		"select 'it''s; one'":        1,
		"create trigger x after insert on t begin select 1; select 2; end; select 3": 2,
		"create temp trigger x after insert on t begin select 1; end":                1,
		"explain create trigger x after insert on t begin select 1; end; select 2":   2,
		"select [a;b], `c;d` -- ;\n; select 2":                                       2,
		"select 'unterminated; x":                                                    1,
		"create table \"end\" (a); select 1":                                         2,
	} {
		if got := split(text); len(got) != want {
			t.Errorf("%q has %d statements: %q", text, len(got), got)
		}
	}
	for text, want := range map[string]string{" /* x */ select": "SELECT", "-- a\nWith x": "WITH", "": "", "(select 1)": "("} {
		if got := verb(text); got != want {
			t.Errorf("%q begins with %q", text, got)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("select ';'; create trigger t after insert on x begin select 1; end; -- x")
	f.Fuzz(func(t *testing.T, text string) {
		total := 0
		for _, s := range split(text) {
			total += len(s)
			_ = words(s, 3)
		}
		if total > len(text) {
			t.Errorf("%d bytes of %d", total, len(text))
		}
	})
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	d := open(t, app(nil), nil)
	do(t, d, "create table t (a, b datetime, c date, d timestamp, e boolean)")
	r, err := d.Query(admin, "a", "main", &Statement{SQL: "insert into t values (?, ?, ?, :d, 1) returning *", Args: []Value{[]byte{0, 1}, "2026-01-02T03:04:05Z", "yesterday"}, Named: map[string]Value{":d": "2026-01-02 03:04:05"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Rows); got != "[[[0 1] 2026-01-02T03:04:05Z yesterday 2026-01-02 03:04:05 1]]" || r.Affected != 1 || r.LastID != 1 {
		t.Errorf("got %s, %+v", got, r)
	}
	if r.Columns[1].Type != "DATETIME" {
		t.Errorf("columns: %+v", r.Columns)
	}
	if got := do(t, d, "select 9223372036854775807, 1.5, null, x'ff', 'é'"); got != "[[9223372036854775807 1.5 <nil> [255] é]]" {
		t.Error(got)
	}
}

func TestWalls(t *testing.T) {
	d := open(t, app(nil, "read database/main"), nil)
	do(t, d, "create table t (a)", "insert into t values (1)")
	outside := filepath.Join(t.TempDir(), "x.db")
	for _, s := range []string{
		"attach '" + outside + "' as o", "vacuum into '" + outside + "'", "pragma journal_mode=delete", "pragma writable_schema=1",
		"pragma query_only=0", "pragma temp_store_directory='/tmp'", "create temp table x (a)", "select load_extension('x')",
		"insert into sqlite_schema values (1,2,3,4,5)", "create table _mayfly_x (a)", "create virtual table x using dbstat",
		"create trigger _mayfly_x after insert on t begin select 1; end", "pragma max_page_count=1", "explain attach 'x' as y",
		"with x as (select 1) insert into _mayfly_changes select 1", "detach main", "alter table t rename to _mayfly_y",
	} {
		if err := try(admin, d, s); err == nil {
			t.Errorf("%s is allowed", s)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file was made")
	}
	for _, s := range []string{"select * from t", "with x as (select 1) select * from x", "explain query plan select * from t", "pragma table_info(t)"} {
		if err := try(as("f"), d, s); err != nil {
			t.Errorf("a reader: %s: %v", s, err)
		}
	}
	for _, s := range []string{"insert into t values (1)", "delete from t", "drop table t", "with x as (select 1) insert into t select * from x", "create table u (a)", "update t set a = 1", "vacuum"} {
		if err := try(as("f"), d, s); err == nil {
			t.Errorf("a reader may: %s", s)
		}
	}
	err := try(as("g"), d, "select 1")
	if mayfly.CodeOf(err) != mayfly.Denied || !strings.Contains(err.Error(), "database/main") {
		t.Errorf("without grant: %v", err)
	}
	_, err = d.Query(mayfly.WithCaller(context.Background(), mayfly.Caller{Kind: mayfly.CallerFunction, App: "b", Function: "f"}), "a", "main", &Statement{SQL: "select 1"})
	if mayfly.CodeOf(err) != mayfly.Denied {
		t.Errorf("another app: %v", err)
	}
	if got := do(t, d, "select count(*) from t"); got != "[[1]]" {
		t.Errorf("rows: %s", got)
	}
}

func TestQuota(t *testing.T) {
	m := app(nil)
	m.Databases["main"].Quota = 256 * mayfly.KiB
	d := open(t, m, nil)
	do(t, d, "create table t (a)")
	var err error
	for range 100 {
		if err = try(admin, d, "insert into t values (randomblob(10000))"); err != nil {
			break
		}
	}
	if mayfly.CodeOf(err) != mayfly.Quota {
		t.Errorf("past the quota: %v", err)
	}
}

func TestStatementTimeout(t *testing.T) {
	m := app(nil)
	m.Databases["main"].Timeout = mayfly.Duration(200 * time.Millisecond)
	d := open(t, m, nil)
	err := try(admin, d, "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n")
	if mayfly.CodeOf(err) != mayfly.Timeout {
		t.Errorf("for ever: %v", err)
	}
	for try(admin, d, "select 1") != nil { // a loaded machine may need another attempt
		time.Sleep(10 * time.Millisecond)
	}
}

func TestMigrations(t *testing.T) {
	first := map[string]string{"001_t.sql": "create table t (a); insert into t values (1);", "10_u.sql": "create table u (a)", "2_t.sql": "alter table t add column b"}
	dir := t.TempDir()
	at := func(c *Config) { c.Dir = dir }
	d := open(t, app(first), at)
	if got := do(t, d, "select name from _mayfly_migrations order by rowid"); got != "[[001_t.sql] [2_t.sql] [10_u.sql]]" {
		t.Errorf("ran %s", got)
	}
	check := func(files map[string]string) error { return d.Check(app(files)) }
	if err := check(first); err != nil {
		t.Errorf("the same again: %v", err)
	}
	changed := map[string]string{"001_t.sql": "create table t (a, z)", "10_u.sql": first["10_u.sql"], "2_t.sql": first["2_t.sql"]}
	if err := check(changed); mayfly.CodeOf(err) != mayfly.Conflict || !strings.Contains(err.Error(), "001_t.sql") {
		t.Errorf("a changed migration: %v", err)
	}
	late := map[string]string{"3_late.sql": "select 1"}
	for k, v := range first {
		late[k] = v
	}
	if err := check(late); mayfly.CodeOf(err) != mayfly.Conflict || !strings.Contains(err.Error(), "3_late.sql") {
		t.Errorf("a late migration: %v", err)
	}
	delete(late, "3_late.sql")
	late["11_broken.sql"] = "insert into t values (9, 9); insert into nowhere values (1)"
	if plan, err := d.Steps(app(late)); err != nil || fmt.Sprint(plan) != "map[main:[run migration 11_broken.sql]]" {
		t.Errorf("plan: %v %v", plan, err)
	}
	if err := d.Apply(admin, []*mayfly.Manifest{app(late)}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a broken migration: %v", err)
	}
	if got := do(t, d, "select count(*) from t"); got != "[[1]]" {
		t.Errorf("a part of it stayed: %s", got)
	}
	_ = d.Close()
	d = open(t, app(first), at)
	if got := do(t, d, "select count(*) from t"); got != "[[1]]" {
		t.Errorf("after a restart: %s", got)
	}
	for _, bad := range []map[string]string{{"x.sql": ""}, {"1_a.txt": ""}} {
		if err := check(bad); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := d.Check(&mayfly.Manifest{App: "a", Databases: map[string]*mayfly.Database{"p": {Engine: "oracle"}}}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("an unknown engine: %v", err)
	}
}

// TestChangesAreWhatWasCommitted does random transactions with rollbacks,
// savepoints and failures from several clients, changes the schema meanwhile,
// and compares what the change log says with what is there.
func TestChangesAreWhatWasCommitted(t *testing.T) {
	m := app(map[string]string{"1.sql": "create table t (id integer primary key, v text check (v <> 'bad'), b blob)"})
	m.Functions["f"].On = []mayfly.Trigger{{Table: "main.t"}}
	var told atomic.Int64
	d := open(t, m, func(c *Config) { c.Changed = func(mayfly.AppName, string) { told.Add(1) } })
	db, _ := d.must("a", "main")
	if _, err := d.Position(admin, "a", "main", "f.t"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 7))
			for range 40 {
				transaction(db, rng)
			}
		})
	}
	wg.Wait()
	do(t, d, "alter table t add column extra default 5", "insert into t (id, v, b) values (1000, 'x', x'00ff')", "replace into t (id, v) values (1000, 'y')",
		"alter table t drop column b", "update t set v = 'z' where id = 1000")
	state := map[float64]string{}
	after := int64(0)
	for {
		changes, upTo, err := d.Changes(admin, "a", "main", "t", nil, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			apply(t, state, c)
		}
		if upTo == after {
			break
		}
		after = upTo
	}
	r, err := d.Query(admin, "a", "main", &Statement{SQL: "select id, v from t"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != len(state) || len(r.Rows) < 10 {
		t.Errorf("the table has %d rows, the changes make %d", len(r.Rows), len(state))
	}
	for _, row := range r.Rows {
		if state[float64(row[0].(int64))] != fmt.Sprint(row[1]) {
			t.Errorf("row %v is %v by the changes", row, state[float64(row[0].(int64))])
		}
	}
	if told.Load() == 0 {
		t.Error("nobody was told")
	}
	if err := d.Advance(admin, "a", "main", "f.t", after); err != nil {
		t.Fatal(err)
	}
	if err := d.Keep(admin, "a", "main", []string{"f.t"}); err != nil {
		t.Fatal(err)
	}
	if got := do(t, d, "select count(*) from _mayfly_changes"); got != "[[0]]" {
		t.Errorf("left: %s", got)
	}
}

func transaction(db *database, rng *rand.Rand) {
	st := &stream{db: db, write: true, texts: map[int32]string{}}
	st.mu.Lock()
	defer st.mu.Unlock()
	ctx := context.Background()
	run := func(text string) { _, _ = st.execute(ctx, &Statement{SQL: text}) }
	if rng.IntN(3) > 0 {
		run("BEGIN")
	}
	for range rng.IntN(6) {
		id := rng.IntN(50)
		switch rng.IntN(8) {
		case 0:
			run("SAVEPOINT s")
		case 1:
			run("ROLLBACK TO s")
		case 2:
			run(fmt.Sprint("delete from t where id = ", id))
		case 3:
			run(fmt.Sprint("insert into t (id, v) values (", id, ", 'bad')"))
		case 4:
			run(fmt.Sprint("insert or rollback into t (id, v) values (", id, ", 'dup')"))
		case 5:
			run(fmt.Sprint("insert into t (id, v) values (", id, ", 'up') on conflict do update set v = v || '.'"))
		default:
			run(fmt.Sprintf("update t set v = '%d' where id %% 7 = %d", rng.IntN(1000), id%7))
		}
	}
	if st.conn != nil {
		run([]string{"COMMIT", "ROLLBACK", "END"}[rng.IntN(3)])
	}
	st.rollback("")
}

func apply(t *testing.T, state map[float64]string, c service.RowChange) {
	t.Helper()
	row := func(b []byte) map[string]any {
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		return m
	}
	if c.Event != "insert" {
		old := row(c.Old)
		id := old["id"].(float64)
		if have, ok := state[id]; !ok || have != fmt.Sprint(old["v"]) {
			t.Errorf("%s of %v: before it was %q", c.Event, old, have)
		}
		delete(state, id)
	}
	if c.Event != "delete" {
		after := row(c.New)
		state[after["id"].(float64)] = fmt.Sprint(after["v"])
		if after["id"].(float64) == 1000 && c.Event == "insert" && after["v"] == "x" {
			if blob, _ := after["b"].(map[string]any); blob["$hex"] != "00FF" || after["extra"] != float64(5) {
				t.Errorf("a new column or a blob: %v", after)
			}
		}
	}
}

// serve answers as the administrator over HTTP.
func serve(t testing.TB, d *Driver) string {
	t.Helper()
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		if e := (*mayfly.Error)(nil); errors.As(errors.Join(errs...), &e) {
			status, msg = e.Code.HTTPStatus(), e.Error()
		}
		return &huma.ErrorModel{Status: status, Detail: msg + fmt.Sprint(errs)}
	}
	mux := http.NewServeMux()
	d.Register(humago.New(mux, huma.DefaultConfig("test", "1")))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), mayfly.Caller{Kind: mayfly.CallerAdmin})))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v1/apps/a/databases/main/"
}

// TestLibSQLClient runs libSQL's own client, where it can be installed.
func TestLibSQLClient(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a package")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	dir := install(t, "@libsql/client@0.15")
	script, err := os.ReadFile("testdata/libsql.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "libsql.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	url := serve(t, open(t, app(nil), nil))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, node, filepath.Join(dir, "libsql.mjs"), url).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ok") {
		t.Errorf("%v\n%s", err, out)
	}
}

// install gets packages from npm into a folder of the test.
func install(t *testing.T, packages ...string) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts")
	cmd.Args = append(cmd.Args, packages...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install %s here: %v\n%.500s", packages, err, out)
	}
	return dir
}

func post(t *testing.T, url, body string) (int, map[string]any) {
	t.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return res.StatusCode, out
}

func execute(sql string) string {
	b, _ := json.Marshal(map[string]any{"type": "execute", "stmt": map[string]any{"sql": sql}})
	return string(b)
}

func TestStreams(t *testing.T) {
	d := open(t, app(nil), func(c *Config) { c.Wait = 50 * time.Millisecond })
	url := serve(t, d)
	do(t, d, "create table t (a)")
	status, out := post(t, url+"v3/pipeline", `{"requests":[`+execute("begin")+`,`+execute("insert into t values (1)")+`,{"type":"get_autocommit"}]}`)
	if status != 200 || out["baton"] == nil || !strings.Contains(fmt.Sprint(out["results"]), "is_autocommit:false") {
		t.Fatalf("%d %v", status, out)
	}
	if err := try(admin, d, "insert into t values (2)"); mayfly.CodeOf(err) != mayfly.Throttled {
		t.Errorf("a second writer: %v", err)
	}
	if got := do(t, d, "select count(*) from t"); got != "[[0]]" {
		t.Errorf("a reader sees %s", got)
	}
	first := out["baton"]
	status, out = post(t, url+"v3/pipeline", fmt.Sprintf(`{"baton":%q,"requests":[%s,{"type":"close"}]}`, first, execute("commit")))
	if status != 200 || out["baton"] != nil || do(t, d, "select count(*) from t") != "[[1]]" {
		t.Errorf("commit: %d %v", status, out)
	}
	if status, _ = post(t, url+"v3/pipeline", fmt.Sprintf(`{"baton":%q,"requests":[%s]}`, first, execute("select 1"))); status != 400 {
		t.Errorf("a used baton: %d", status)
	}
	_, out = post(t, url+"v2/pipeline", `{"requests":[`+execute("begin")+`,`+execute("insert into t values (3)")+`]}`)
	d.streams.sweep(time.Now().Add(time.Hour))
	if err := try(admin, d, "insert into t values (4)"); err != nil {
		t.Errorf("after an idle transaction: %v", err)
	}
	if status, _ = post(t, url+"v2/pipeline", fmt.Sprintf(`{"baton":%q,"requests":[%s]}`, out["baton"], execute("commit"))); status != 400 {
		t.Errorf("an idle stream: %d", status)
	}
	if got := do(t, d, "select count(*) from t"); got != "[[2]]" {
		t.Errorf("rows: %s", got)
	}
	_, out = post(t, url+"v2/pipeline", `{"requests":[{"type":"batch","batch":{"steps":[
		{"stmt":{"sql":"insert into t values (5)"}},
		{"stmt":{"sql":"insert into nowhere values (5)"},"condition":{"type":"ok","step":0}},
		{"stmt":{"sql":"insert into t values (6)"},"condition":{"type":"not","cond":{"type":"error","step":1}}},
		{"stmt":{"sql":"select 7"},"condition":{"type":"and","conds":[{"type":"ok","step":0},{"type":"is_autocommit"}]}}]}},
		{"type":"batch","batch":{"steps":[{"stmt":{"sql":"select 1"},"condition":{"type":"ok","step":3}}]}},
		{"type":"execute","stmt":{"sql":"select 1; select 2"}},{"type":"sequence","sql":"insert into t values (8); insert into t values (9)"},{"type":"close"}]}`)
	text, _ := json.Marshal(out["results"])
	for _, want := range []string{`"step_errors":[null,{`, "earlier steps only", "holds 2 statements"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if got := do(t, d, "select group_concat(a) from t"); got != "[[1,4,5,8,9]]" {
		t.Errorf("rows: %s", got)
	}
}

func TestHTTP(t *testing.T) {
	d := open(t, app(nil), nil)
	url := serve(t, d)
	for _, c := range []struct {
		body, want string
		status     int
	}{
		{`{"sql":"create table t (a, b)"}`, `map[`, 200},
		{`{"sql":"insert into t values (?, ?)","args":[1, {"base64":"AP8="}]}`, "affected:1", 200},
		{`{"sql":"insert into t values (:a, :b)","args":{"a":9007199254740993,"b":[1]}}`, "last_id:2", 200},
		{`{"sql":"select typeof(a), a = 9007199254740993, typeof(b), b from t"}`, `[[integer 0 blob map[base64:AP8=]] [integer 1 text [1]]]`, 200},
		{`{"sql":"select 1; select 2"}`, "2 statements", 400},
		{`{"sql":"begin"}`, "stream", 400},
		{`{"sql":"select * from x"}`, "no such table", 400},
		{`{"sql":"select ?","args":7}`, "list or an object", 400},
	} {
		if status, out := post(t, url+"query", c.body); status != c.status || !strings.Contains(fmt.Sprint(out), c.want) {
			t.Errorf("%s: %d %v, want %d with %s", c.body, status, out, c.status, c.want)
		}
	}
	res, err := http.Get(url + "backup")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	file := filepath.Join(t.TempDir(), "copy.db")
	b, _ := io.ReadAll(res.Body)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := connect(t.Context(), file, false, pages(0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r, err := c.own(t.Context(), "select count(*) from t"); err != nil || fmt.Sprint(r.Rows) != "[[2]]" {
		t.Errorf("the copy: %v %v", r, err)
	}
}

func TestManyReadersAndWriters(t *testing.T) {
	d := open(t, app(nil), nil)
	do(t, d, "create table t (a)")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 25 {
				if err := try(admin, d, "insert into t values (1)"); err != nil {
					t.Error(err)
				}
				if err := try(admin, d, "select sum(a) from t"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := do(t, d, "select count(*) from t"); got != "[[400]]" {
		t.Errorf("rows: %s", got)
	}
	if !slices.Contains([]int64{400, 401}, d.database("a", "main").info().Writes-1) {
		t.Logf("stats: %+v", d.database("a", "main").info())
	}
}

func FuzzPipeline(f *testing.F) {
	f.Add([]byte(`{"requests":[{"type":"execute","stmt":{"sql":"select ?","args":[{"type":"integer","value":"1"}]}},{"type":"close"}]}`))
	f.Add([]byte(`{"requests":[{"type":"batch","batch":{"steps":[{"stmt":{"sql":"select 1"},"condition":{"type":"not"}}]}},{"type":"describe","sql":"select 1"},{"type":"close"}]}`))
	d := open(f, app(nil), nil)
	db, _ := d.must("a", "main")
	f.Fuzz(func(t *testing.T, body []byte) {
		var in PipelineRequest
		if json.Unmarshal(body, &in) != nil || len(in.Requests) > 20 {
			return
		}
		ctx, cancel := context.WithTimeout(admin, 5*time.Second)
		defer cancel()
		out, err := d.pipeline(ctx, db, true, &in)
		if err == nil && out.Baton != nil {
			d.streams.end(db)
		}
	})
}

func BenchmarkQuery(b *testing.B) {
	d := open(b, app(nil), nil)
	do(b, d, "create table t (id integer primary key, a)", "insert into t values (1, 'x')")
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			_, _ = d.Query(admin, "a", "main", &Statement{SQL: "select * from t where id = ?", Args: []Value{int64(1)}})
		}
	})
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			_, _ = d.Query(admin, "a", "main", &Statement{SQL: "update t set a = 'y' where id = 1"})
		}
	})
	b.Run("http", func(b *testing.B) {
		url := serve(b, d)
		body := `{"requests":[` + execute("select * from t where id = 1") + `,{"type":"close"}]}`
		for b.Loop() {
			res, err := http.Post(url+"v2/pipeline", "application/json", strings.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	})
}

func TestReadOnlyQueries(t *testing.T) {
	d := open(t, app(map[string]string{"1_t.sql": "create table t (id integer primary key, v); insert into t values (1, 'a')"}), nil)
	checkReadOnly(t, serve(t, d)+"query", "pragma user_version = 5", "create table u (x)", "drop table t", "pragma journal_mode = delete", "vacuum", "analyze", "reindex")
}

// checkReadOnly asks to read only, and writes.
func checkReadOnly(t *testing.T, url string, more ...string) {
	t.Helper()
	ask := func(sql string, readOnly bool) (int, map[string]any) {
		b, err := json.Marshal(map[string]any{"sql": sql, "read_only": readOnly})
		if err != nil {
			t.Fatal(err)
		}
		return post(t, url, string(b))
	}
	for _, sql := range append([]string{
		"insert into t values (102, 'b')", "update t set v = 'changed'", "delete from t", "insert into t values (103, 'c') returning id",
		"/* select */ delete from t", "with x as (select 1) insert into t select 104, 'd' from x",
	}, more...) {
		if status, out := ask(sql, true); status/100 != 4 {
			t.Errorf("%s: %d %v", sql, status, out)
		}
	}
	if status, out := ask("select count(*), max(case when id > 100 or v = 'changed' then 1 else 0 end) from t", true); status != 200 || fmt.Sprint(out["rows"].([]any)[0].([]any)[1]) != "0" {
		t.Errorf("read: %d %v", status, out)
	}
	if status, out := ask("insert into t values (999, 'z')", false); status != 200 {
		t.Errorf("write: %d %v", status, out)
	}
}

// TestQuotaOfAnApp grows a database beside something else of the app.
func TestQuotaOfAnApp(t *testing.T) {
	quotas := service.NewQuotas()
	m := &mayfly.Manifest{App: "a", Quota: 256 * mayfly.KiB, KV: map[string]*mayfly.KV{"k": nil}, Databases: map[string]*mayfly.Database{"main": {}}}
	if err := quotas.Apply(t.Context(), []*mayfly.Manifest{m}); err != nil {
		t.Fatal(err)
	}
	d := open(t, m, func(c *Config) { c.Quotas = quotas })
	db := d.database("a", "main")
	run := func(text string) error {
		_, err := db.once(t.Context(), &Statement{SQL: text}, true)
		return err
	}
	if err := run("create table t (b)"); err != nil {
		t.Fatal(err)
	}
	free := func() int64 { room, _ := quotas.Room("a"); return room }
	before := free()
	if err := run("insert into t values (zeroblob(65536))"); err != nil || before-free() < 65536 {
		t.Errorf("an insert takes %d of the room: %v", before-free(), err)
	}
	quotas.Set("a", service.KindKV, "k", 150<<10)
	err := run("insert into t values (zeroblob(65536))")
	if mayfly.CodeOf(err) != mayfly.Quota || !strings.Contains(err.Error(), "kv/k 150KiB") {
		t.Errorf("beyond the app's quota: %v", err)
	}
	if err := run("delete from t"); err != nil {
		t.Errorf("a delete in a full app: %v", err)
	}
	if err := run("insert into t values (zeroblob(32768))"); err != nil {
		t.Errorf("into what the delete left: %v", err)
	}
	quotas.Set("a", service.KindKV, "k", 0)
	if err := run("insert into t values (zeroblob(65536))"); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	m.Quota = 0
	if err := errors.Join(quotas.Apply(t.Context(), []*mayfly.Manifest{m}), d.Apply(t.Context(), []*mayfly.Manifest{m})); err != nil {
		t.Fatal(err)
	}
	if err := run("insert into t values (zeroblob(1048576))"); err != nil {
		t.Errorf("without a quota: %v", err)
	}
}

// TestCopyIsNobodyElses looks at a copy while it is read: SQLite would make it for
// all users of the machine to read.
func TestCopyIsNobodyElses(t *testing.T) {
	d := open(t, &mayfly.Manifest{App: "a", Databases: map[string]*mayfly.Database{"main": {}}}, nil)
	if _, err := d.database("a", "main").once(t.Context(), &Statement{SQL: "create table t (b)"}, true); err != nil {
		t.Fatal(err)
	}
	found := 0
	err := d.Copies(t.Context(), func(name string, copied *os.File) error {
		found++
		info, err := copied.Stat()
		if left, _ := os.ReadDir(d.cfg.Tmp); err != nil || name != "a/main.db" || info.Size() < 2*pageSize || len(left) != 0 {
			t.Errorf("%s: %v, named %v", name, err, left)
		}
		return err
	})
	if info, e := os.Stat(d.cfg.Tmp); err != nil || found != 1 || e != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%d copies, %v, %v", found, err, e)
	}
}

// SQLite says the same of a quota and of a disk.
func TestFullDiskIsNoQuota(t *testing.T) {
	d := open(t, &mayfly.Manifest{App: "a", Databases: map[string]*mayfly.Database{"main": {}, "small": {Quota: mayfly.MiB}}}, nil)
	for name, want := range map[string]mayfly.Code{"main": mayfly.Unavailable, "small": mayfly.Quota} {
		db := d.database("a", name)
		c, err := db.take(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.noRoom(errors.New("database or disk is full")); mayfly.CodeOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
		db.give(c)
	}
}
