package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service/sql"
	"github.com/mayfly-cloud/mayfly/trigger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type allowAll struct{}

func (allowAll) Authorize(context.Context, mayfly.Caller, mayfly.AppName, string, string, string) error {
	return nil
}

// rig is a real database whose changes a function takes.
type rig struct {
	t    *testing.T
	db   *sql.Driver
	d    *Driver
	m    *mayfly.Manifest
	stop func()

	mu    sync.Mutex
	calls []Event                 // guarded by mu
	took  map[string]mayfly.Trace // guarded by mu; of the calls, by the last new row
	aside []Event                 // guarded by mu
	reply func(e Event, attempt int) (string, error)
}

func (r *rig) Call(_ context.Context, c *trigger.Call) ([]byte, error) {
	var e Event
	if err := json.Unmarshal(c.Event, &e); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reply != nil {
		if out, err := r.reply(e, c.Attempt); err != nil || out != "" {
			return []byte(out), err
		}
	}
	r.calls = append(r.calls, e)
	if r.took == nil {
		r.took = map[string]mayfly.Trace{}
	}
	r.took[string(e.Records[len(e.Records)-1].New)] = c.Trace
	return []byte("null"), nil
}

func start(t *testing.T, dir string, tr mayfly.Trigger) *rig {
	t.Helper()
	tr.Table = "main.t"
	r := &rig{t: t, m: &mayfly.Manifest{
		App:       "a",
		Databases: map[string]*mayfly.Database{"main": {MigrationFiles: map[string]string{"1.sql": "create table t (id integer primary key, v); create table u (x);"}}},
		Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {On: []mayfly.Trigger{tr}}},
	}}
	r.db = sql.New(sql.Config{Dir: dir, Authz: allowAll{}, Changed: func(app mayfly.AppName, name string) { r.d.Wake(app, name) }})
	r.d = New(Config{Source: r.db, Invoker: r, Poll: 20 * time.Millisecond, Backoff: time.Millisecond, Aside: func(_ context.Context, _ *trigger.Binding, _ string, event []byte) error {
		var e Event
		_ = json.Unmarshal(event, &e)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.aside = append(r.aside, e)
		return nil
	}})
	if err := r.db.Apply(t.Context(), []*mayfly.Manifest{r.m}); err != nil {
		t.Fatal(err)
	}
	if err := r.d.Apply(t.Context(), []trigger.Binding{{App: "a", Function: "f", Trigger: tr, Spec: r.m.Functions["f"], Manifest: r.m}}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.d.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				r.t.Error(err)
			}
			_ = r.db.Close()
		})
	}
	r.t.Cleanup(r.stop)
}

func (r *rig) do(statements ...string) {
	r.t.Helper()
	for _, s := range statements {
		if _, err := r.db.Query(r.t.Context(), "a", "main", &sql.Statement{SQL: s}); err != nil {
			r.t.Fatalf("%s: %v", s, err)
		}
	}
}

// told is what the function took, in order.
func (r *rig) told() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.calls {
		for _, c := range e.Records {
			out = append(out, fmt.Sprintf("%s %s>%s", c.EventName, c.Old, c.New))
		}
	}
	return out
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	r.t.Fatalf("never happened: %s; told %v", what, r.told())
}

func TestInOrderWithBeforeAndAfter(t *testing.T) {
	r := start(t, t.TempDir(), mayfly.Trigger{})
	r.run()
	r.do("insert into t values (1, 'a')", "insert into u values (5)", "update t set v = 'b'", "delete from t")
	want := `[insert >{"id":1,"v":"a"} update {"id":1,"v":"a"}>{"id":1,"v":"b"} delete {"id":1,"v":"b"}>]`
	r.eventually("all changes", func() bool { return len(r.told()) == 3 })
	if got := fmt.Sprint(r.told()); got != want {
		t.Errorf("told %s", got)
	}
}

func TestOnlyWantedEventsInBatches(t *testing.T) {
	r := start(t, t.TempDir(), mayfly.Trigger{Events: []string{"insert"}, Batch: 3})
	for i := range 10 {
		r.do(fmt.Sprintf("insert into t values (%d, 'x')", i))
	}
	r.do("delete from t where id < 5")
	r.run()
	r.eventually("all inserts", func() bool { return len(r.told()) == 10 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) != 4 || len(r.calls[0].Records) != 3 {
		t.Errorf("%d calls", len(r.calls))
	}
}

func TestFailuresKeepTheOrder(t *testing.T) {
	r := start(t, t.TempDir(), mayfly.Trigger{Batch: 4, Attempts: 3})
	seen := map[string]int{}
	r.reply = func(e Event, attempt int) (string, error) {
		seen[e.Records[0].EventID]++
		switch n := seen[e.Records[0].EventID]; {
		case n == 1:
			return "", &mayfly.FunctionError{Type: "Error", Message: "not yet"}
		case n == 2:
			return "", mayfly.Errorf(mayfly.Throttled, "", "full") // does not count
		case n == 3 && len(e.Records) > 2: // takes two of them
			r.calls = append(r.calls, Event{Records: e.Records[:2]})
			return `{"batchItemFailures":[{"itemIdentifier":"` + e.Records[2].EventID + `"}]}`, nil
		}
		return "", nil
	}
	for i := range 8 {
		r.do(fmt.Sprintf("insert into t values (%d, 'x')", i))
	}
	r.run()
	r.eventually("all changes", func() bool { return len(r.told()) == 8 })
	for i, s := range r.told() {
		if !strings.Contains(s, fmt.Sprintf(`"id":%d`, i)) {
			t.Errorf("change %d is %s", i, s)
		}
	}
	if len(r.aside) != 0 {
		t.Errorf("aside: %v", r.aside)
	}
}

func TestAPoisonedBatchIsSetAside(t *testing.T) {
	r := start(t, t.TempDir(), mayfly.Trigger{Batch: 1, Attempts: 3})
	tries := 0
	r.reply = func(e Event, attempt int) (string, error) {
		if strings.Contains(string(e.Records[0].New), "poison") {
			tries++
			if attempt != tries {
				return "", errors.New("attempts are miscounted")
			}
			return "", &mayfly.FunctionError{Type: "Error", Message: "poison"}
		}
		return "", nil
	}
	r.do("insert into t values (1, 'a')", "insert into t values (2, 'poison')", "insert into t values (3, 'c')")
	r.run()
	r.eventually("the others", func() bool { return len(r.told()) == 2 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if tries != 3 || len(r.aside) != 1 || !strings.Contains(string(r.aside[0].Records[0].New), "poison") {
		t.Errorf("%d tries, aside %v", tries, r.aside)
	}
}

func TestThePositionOutlivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	first := start(t, dir, mayfly.Trigger{Batch: 1})
	first.run()
	first.do("insert into t values (1, 'a')")
	first.eventually("the first", func() bool { return len(first.told()) == 1 })
	// The position follows the call; a restart before it would tell again.
	first.eventually("the position", func() bool {
		at, err := first.db.Position(t.Context(), "a", "main", "f.main.t")
		return err == nil && at == 1
	})
	first.reply = func(Event, int) (string, error) { return "", mayfly.Errorf(mayfly.Unavailable, "", "going down") }
	first.do("insert into t values (2, 'b')")
	first.stop()
	second := start(t, dir, mayfly.Trigger{Batch: 1})
	second.do("insert into t values (3, 'c')")
	second.run()
	second.eventually("what came after", func() bool { return len(second.told()) == 2 })
	if got := fmt.Sprint(second.told()); !strings.HasPrefix(got, `[insert >{"id":2`) {
		t.Errorf("told %s", got)
	}
}

func TestCheck(t *testing.T) {
	m := &mayfly.Manifest{Databases: map[string]*mayfly.Database{"main": nil, "pg": {Engine: "postgres"}}}
	for _, c := range []struct {
		t  mayfly.Trigger
		ok bool
	}{
		{mayfly.Trigger{Table: "main.t", Events: []string{"insert", "update", "delete"}, Batch: 10}, true},
		{mayfly.Trigger{Table: "main"}, false},
		{mayfly.Trigger{Table: "main."}, false},
		{mayfly.Trigger{Table: "gone.t"}, false},
		{mayfly.Trigger{Table: "pg.audit.t"}, true},
		{mayfly.Trigger{Table: "main._mayfly_changes"}, false},
		{mayfly.Trigger{Table: "main.t", Events: []string{"created"}}, false},
		{mayfly.Trigger{Table: "main.t", Batch: 5000}, false},
		{mayfly.Trigger{Table: "main.t", Events: []string{"truncate"}}, false},
		{mayfly.Trigger{Table: "pg.t", Events: []string{"truncate"}}, true},
	} {
		if err := New(Config{}).Check(m, "f", &c.t); (err == nil) != c.ok || err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", c.t, err)
		}
	}
}

// A call goes on in the trace of the write that caused it. A look at the table
// between a write and the note of its cause does not know it, which is rare.
func TestCallsGoOnInTheTraceOfTheWrite(t *testing.T) {
	r := start(t, t.TempDir(), mayfly.Trigger{Batch: 1})
	r.run()
	for i := 1; ; i++ {
		cause := mayfly.NewTrace()
		if _, err := r.db.Query(mayfly.WithTrace(t.Context(), cause), "a", "main", &sql.Statement{SQL: fmt.Sprintf("insert into t values (%d, 'x')", i)}); err != nil {
			t.Fatal(err)
		}
		var got mayfly.Trace
		r.eventually("the call", func() (ok bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			got, ok = r.took[fmt.Sprintf(`{"id":%d,"v":"x"}`, i)]
			return ok
		})
		if got.ID == cause.ID && got.Parent == cause.Span {
			return
		}
		if i == 20 {
			t.Fatalf("no call goes on in the trace of its write; the last has %+v, not %+v", got, cause)
		}
	}
}
