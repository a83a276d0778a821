package api

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// ready is a Warmer that starts nothing.
type ready struct{}

func (ready) Check(context.Context, mayfly.Runtime) error    { return nil }
func (ready) Prepare(context.Context, *mayfly.Version) error { return nil }
func (ready) Warm(context.Context, *mayfly.Version) error    { return nil }

// fared are stats that a test says.
type fared []telemetry.FunctionSummary

func (f fared) Summaries(mayfly.AppName, time.Duration, bool) []telemetry.FunctionSummary { return f }

// deployed is an API over a control with app "shop" of functions f0 to f24.
func deployed(t *testing.T, stats Stats) (*API, *control.Control, string) {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{Dir: filepath.Join(t.TempDir(), "engine"), Durability: engine.Fast, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	store, err := artifact.New(artifact.Config{Dir: filepath.Join(t.TempDir(), "artifacts"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := control.New(control.Config{Index: e.Index(), Artifacts: store, Warmer: ready{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	dir := t.TempDir()
	deployMany(t, c, dir, "queues: {jobs: {}}")
	n := &node{}
	return New(Config{Node: n, Deploys: c, Stats: stats, Invoker: n, Async: n, Tokens: n, Grants: n, Version: "test"}), c, dir
}

func deployMany(t *testing.T, c *control.Control, dir, more string) {
	t.Helper()
	text := "app: shop\n" + more + "\nfunctions:\n"
	for i := range 25 {
		text += fmt.Sprintf("  f%d: {runtime: python, source: ., handler: app.handler}\n", i)
	}
	for name, text := range map[string]string{"mayfly.yaml": text, "app.py": "x = 1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Deploy(t.Context(), control.Local(dir), control.Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestFunctionsByPage(t *testing.T) {
	a, _, _ := deployed(t, fared{
		{App: "shop", Function: "f7", Calls: 10, Failed: 1, ErrorRate: 0.1, Cold: 2, PerMinute: []int64{4, 6}},
		{App: "shop", Function: "f12", Calls: 90, PerMinute: []int64{0, 90}},
		{App: "gone", Function: "f1", Calls: 1000, PerMinute: []int64{1, 999}},
	})
	h := a.Handler()
	for _, c := range []struct{ query, want string }{
		{"", "f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24 of 25"},
		{"?limit=3", "f0 f1 f2 of 25, next 3"},
		{"?limit=3&after=23", "f23 f24 of 25"},
		{"?limit=3&after=99", "of 25"},
		{"?find=F1&limit=2", "f1 f10 of 11, next 2"},
		{"?find=shop/f7", "f7 of 1"},
		{"?app=other", "of 0"},
		{"?runtime=node", "of 0"},
		{"?sort=calls&limit=3", "f12 f7 f0 of 25, next 3, 100 calls"},
		{"?sort=errors&limit=1", "f7 of 25, next 1, 100 calls"},
	} {
		w := do(h, "GET", "/v1/functions"+c.query, "", admin...)
		var page struct {
			Functions []FunctionInfo
			Total     int
			Next      int
			Sum       *FunctionTotals
		}
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatalf("%s: %v: %s", c.query, err, w.Body)
		}
		var words []string
		for _, f := range page.Functions {
			words = append(words, string(f.Name))
		}
		got := strings.TrimSpace(strings.Join(words, " ") + fmt.Sprintf(" of %d", page.Total))
		if page.Next > 0 {
			got += fmt.Sprintf(", next %d", page.Next)
		}
		if page.Sum != nil {
			got += fmt.Sprintf(", %d calls", page.Sum.Calls)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.query, got, c.want)
		}
	}
	if w := do(h, "GET", "/v1/functions?sort=nonsense", "", admin...); w.Code != 400 {
		t.Errorf("an unknown order: %d %s", w.Code, w.Body)
	}
	if w := do(h, "GET", "/v1/apps", "", admin...); !strings.Contains(w.Body.String(), `"resources":{"queue":1}`) {
		t.Errorf("apps: %s", w.Body)
	}
}

func TestUnchangedRepliesAreNotSentAgain(t *testing.T) {
	a, c, dir := deployed(t, nil)
	h := a.Handler()
	first := do(h, "GET", "/v1/functions", "", admin...)
	tag := first.Header().Get("ETag")
	if first.Code != 200 || tag == "" {
		t.Fatalf("%d, tag %q", first.Code, tag)
	}
	again := do(h, "GET", "/v1/functions", "", append(admin, "If-None-Match", tag)...)
	if again.Code != 304 || again.Body.Len() != 0 || again.Header().Get("ETag") != tag {
		t.Errorf("unchanged: %d with %d bytes, tag %q", again.Code, again.Body.Len(), again.Header().Get("ETag"))
	}
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte("x = 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Deploy(t.Context(), control.Local(dir), control.Options{}); err != nil {
		t.Fatal(err)
	}
	if w := do(h, "GET", "/v1/functions", "", append(admin, "If-None-Match", tag)...); w.Code != 200 || w.Body.Len() == 0 {
		t.Errorf("changed: %d with %d bytes", w.Code, w.Body.Len())
	}
	if w := do(h, "GET", "/v1/apps/nothing", "", append(admin, "If-None-Match", tag)...); w.Code != 404 || w.Header().Get("ETag") != "" {
		t.Errorf("an error: %d, tag %q", w.Code, w.Header().Get("ETag"))
	}
}

func TestDeploysAreComparedAndRestored(t *testing.T) {
	a, c, dir := deployed(t, nil)
	deployMany(t, c, dir, "topics: {order.created: {}}")
	h := a.Handler()
	var list struct{ Deploys []control.Deployment }
	w := do(h, "GET", "/v1/apps/shop/deploys", "", admin...)
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Deploys) != 2 {
		t.Fatalf("%v: %s", err, w.Body)
	}
	path := "/v1/apps/shop/deploys/"
	var diff control.Plan
	w = do(h, "GET", path+list.Deploys[0].ID+"/changes", "", admin...)
	if err := json.Unmarshal(w.Body.Bytes(), &diff); err != nil || len(diff.Resources) != 2 || len(diff.Functions) != 0 {
		t.Errorf("changes: %v: %s", err, w.Body)
	}
	w = do(h, "GET", path+list.Deploys[1].ID, "", admin...)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"queues":{"jobs"`) {
		t.Errorf("snapshot: %d %s", w.Code, w.Body)
	}
	if w = do(h, "POST", path+list.Deploys[1].ID+"/restore", "", admin...); w.Code != 200 || !strings.Contains(w.Body.String(), `"action":"restore"`) {
		t.Errorf("restore: %d %s", w.Code, w.Body)
	}
	if app, _ := c.State().App("shop"); len(app.Manifest.Queues) != 1 || len(app.Manifest.Topics) != 0 {
		t.Errorf("restored: %+v", app.Manifest)
	}
	if w = do(h, "GET", path+"nothing/changes", "", admin...); w.Code != 404 {
		t.Errorf("an unknown deploy: %d", w.Code)
	}
}
