package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// starter is a Warmer that reads the bundle: a file app.py with "raise" in it
// fails as an interpreter would.
type starter struct {
	store   *artifact.Store
	lacking mayfly.Runtime

	mu      sync.Mutex
	started []string // by Ref
	before  func(v *mayfly.Version) error
}

func (s *starter) Check(_ context.Context, r mayfly.Runtime) error {
	if r == s.lacking {
		return mayfly.Errorf(mayfly.Unavailable, "", "there is no %s on this machine; install it", r)
	}
	return nil
}

func (s *starter) Prepare(_ context.Context, v *mayfly.Version) error {
	if s.before != nil {
		return s.before(v)
	}
	return nil
}

func (s *starter) Warm(_ context.Context, v *mayfly.Version) error {
	dir, err := s.store.Dir(v.Digest)
	if err != nil {
		return err
	}
	code, err := os.ReadFile(filepath.Join(dir, "app.py"))
	if err != nil {
		return err
	}
	if bytes.Contains(code, []byte("raise")) {
		return &mayfly.FunctionError{Type: "ValueError", Message: "bad", Trace: []string{`File "/var/task/app.py", line 1, in <module>`}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = append(s.started, v.Ref())
	return nil
}

// failing is an Index whose writes of some keys fail.
type failing struct {
	Index
	mu   sync.Mutex
	fail func(key string) error
}

func (f *failing) set(fail func(key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *failing) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	f.mu.Lock()
	fail := f.fail
	f.mu.Unlock()
	if fail != nil {
		if err := fail(key); err != nil {
			return 0, err
		}
	}
	return f.Index.Put(ctx, key, value, rev)
}

// resource is a data service of which a test says what happens.
type resource struct {
	check   error
	apply   error
	applied []*mayfly.Manifest // by the last Apply
}

func (r *resource) Kind() string                 { return "bucket" }
func (r *resource) Check(*mayfly.Manifest) error { return r.check }
func (r *resource) Apply(_ context.Context, apps []*mayfly.Manifest) error {
	r.applied = apps
	return r.apply
}

// node is a Control with everything around it.
type node struct {
	*Control
	t        *testing.T
	engine   *engine.Engine
	index    *failing
	warmer   *starter
	resource *resource
	images   Images
	dropped  []string
	dir      string // of the app
}

func newNode(t *testing.T) *node {
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
	n := &node{t: t, engine: e, index: &failing{Index: e.Index()}, warmer: &starter{store: store}, resource: &resource{}, dir: t.TempDir()}
	n.open(store)
	return n
}

// open makes a fresh Control over the same index, as a restart does.
func (n *node) open(store *artifact.Store) {
	n.t.Helper()
	c, err := New(Config{
		Index: n.index, Artifacts: store, Warmer: n.warmer, Resources: []Resource{n.resource}, Images: n.images,
		Abandon: func(vs []*mayfly.Version) {
			for _, v := range vs {
				n.dropped = append(n.dropped, v.Ref())
			}
		},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	n.Control = c
}

// another is the Control of another node, with resources of its own.
func (n *node) another() *Control {
	n.t.Helper()
	cfg := n.cfg
	cfg.Resources = []Resource{&resource{}}
	c, err := New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (n *node) write(name, text string) {
	n.t.Helper()
	if err := writeText(n.dir, name, text); err != nil {
		n.t.Fatal(err)
	}
}

func writeText(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

const twoFunctions = `app: shop
functions:
  cart: {runtime: python, source: ./cart, handler: app.handler, on: [{http: GET /cart}]}
  pay: {runtime: python, source: ./pay, handler: app.handler, memory: 512MiB}
buckets: {bills: {}}
`

func (n *node) shop() {
	n.write("mayfly.yaml", twoFunctions)
	n.write("cart/app.py", "cart = 1")
	n.write("pay/app.py", "pay = 1")
}

func (n *node) deploy(o Options) *Result {
	n.t.Helper()
	r, err := n.Deploy(n.t.Context(), Local(n.dir), o)
	if err != nil {
		n.t.Fatalf("deploy: %v", err)
	}
	return r
}

// live says what unqualified calls reach, "cart:1 pay:2"; a canary as "3/4@10".
func (n *node) live(app mayfly.AppName) string {
	n.t.Helper()
	a, err := n.State().App(app)
	if err != nil {
		return mayfly.MessageOf(err)
	}
	var out []string
	for fn, alias := range a.Live {
		s := fmt.Sprintf("%s:%d", fn, alias.Version)
		if alias.Canary > 0 {
			s += fmt.Sprintf("/%d@%d", alias.Canary, alias.Weight)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (n *node) wantLive(want string) {
	n.t.Helper()
	if got := n.live("shop"); got != want {
		n.t.Errorf("live: %s, want %s", got, want)
	}
}

func TestCanaryPromoteRollback(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.deploy(Options{})
	n.write("pay/app.py", "pay = 2")
	if said := n.deploy(Options{Canary: 10}).String(); !strings.HasSuffix(said, "shop is live\n  pay version 2 gets 10% of the calls, version 1 the others; all: mayfly promote pay\n") {
		t.Errorf("said: %q", said)
	}
	n.wantLive("cart:1 pay:1/2@10")
	for roll, want := range map[int]int{0: 2, 9: 2, 10: 1, 99: 1} {
		if v, err := n.Version("shop", "pay", "", roll); err != nil || v.Number != want {
			t.Errorf("roll %d: %+v %v", roll, v, err)
		}
	}
	if r := n.deploy(Options{}); r.Changed {
		t.Errorf("the same source again: %s", r.Plan)
	}
	ctx := t.Context()
	step := func(want string, _ mayfly.Alias, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%v", err)
		}
		n.wantLive("cart:1 pay:" + want)
	}
	alias, err := n.Promote(ctx, "shop", "pay", 0, 50)
	step("1/2@50", alias, err)
	alias, err = n.Rollback(ctx, "shop", "pay", 0)
	step("1", alias, err)
	alias, err = n.Promote(ctx, "shop", "pay", 0, 0)
	step("2", alias, err)
	alias, err = n.Rollback(ctx, "shop", "pay", 0)
	step("1", alias, err)
	n.write("pay/app.py", "pay = 3")
	if said := n.deploy(Options{Hold: true}).String(); !strings.Contains(said, "pay version 3 is held back, calls go to version 1") {
		t.Errorf("said: %q", said)
	}
	n.wantLive("cart:1 pay:1")
	if v, err := n.Version("shop", "pay", "$LATEST", 0); err != nil || v.Number != 3 {
		t.Errorf("$LATEST: %+v %v", v, err)
	}
	r := n.deploy(Options{}) // the held version becomes live
	n.wantLive("cart:1 pay:3")
	if len(r.Plan.Functions) != 1 || r.Plan.Functions[0].To != 3 {
		t.Errorf("plan: %s", r.Plan)
	}
	alias, err = n.Rollback(ctx, "shop", "pay", 2)
	step("2", alias, err)
	for _, err := range []error{
		second(n.Rollback(ctx, "shop", "pay", 2)), second(n.Rollback(ctx, "shop", "cart", 0)), second(n.Promote(ctx, "shop", "pay", 2, 10)),
	} {
		if mayfly.CodeOf(err) != mayfly.Conflict {
			t.Errorf("want a conflict: %v", err)
		}
	}
	if _, err := n.Promote(ctx, "shop", "pay", 99, 0); mayfly.CodeOf(err) != mayfly.NotFound || mayfly.MessageOf(err) != "function shop/pay has no version 99; it has 1, 2, 3" {
		t.Errorf("an unknown version: %v", err)
	}
	if _, err := n.Promote(ctx, "shop", "pay", 1, 101); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("101 percent: %v", err)
	}
	a, _ := n.State().App("shop")
	if len(a.Deploys) != 9 || a.Deploys[0].Action != "rollback" || a.Deploys[0].By != "anonymous" {
		t.Errorf("%d deploys recorded: %+v", len(a.Deploys), a.Deploys[0])
	}
}

func second[A any](_ A, err error) error { return err }

func TestNotFoundNamesTheNearest(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.deploy(Options{})
	for want, err := range map[string]error{
		`there is no app "shpo"; did you mean "shop"?`:                               second(n.Version("shpo", "cart", "", 0)),
		`there is no function "crat" in app shop; did you mean "cart"?`:              second(n.Version("shop", "crat", "", 0)),
		`there is no function "zzz" in app shop; there is cart, pay`:                 second(n.Version("shop", "zzz", "", 0)),
		`function shop/cart has no alias "prod"; there is live, and version numbers`: second(n.Version("shop", "cart", "prod", 0)),
		`function shop/cart has no version 7; it has 1`:                              second(n.Version("shop", "cart", "7", 0)),
		`there is no app "nothing-like-it"; there is shop`:                           second(n.Version("nothing-like-it", "cart", "", 0)),
		`there is no app "shops"; did you mean "shop"?`:                              n.Remove(t.Context(), "shops"),
		`there is no function "pays" in app shop; did you mean "pay"?`:               second(n.Promote(t.Context(), "shop", "pays", 0, 0)),
	} {
		if mayfly.CodeOf(err) != mayfly.NotFound || mayfly.MessageOf(err) != want {
			t.Errorf("got %q, want %q", mayfly.MessageOf(err), want)
		}
	}
}

func TestSubscribersAndRun(t *testing.T) {
	n := newNode(t)
	n.shop()
	var mu sync.Mutex
	told := map[string]int{}
	fail := true
	n.Subscribe("gateway", func(_ context.Context, s *State) error {
		mu.Lock()
		defer mu.Unlock()
		told["gateway"] = len(s.Live())
		return nil
	})
	n.Subscribe("triggers", func(context.Context, *State) error {
		mu.Lock()
		defer mu.Unlock()
		told["triggers"]++
		if fail {
			fail = false
			return errors.New("not now")
		}
		return nil
	})
	r := n.deploy(Options{})
	if told["gateway"] != 2 || len(r.Warnings) != 1 {
		t.Errorf("told %v, warnings %v", told, r.Warnings)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	other := n.another()
	n.write("cart/app.py", "cart = 5")
	if _, err := other.Deploy(t.Context(), Local(n.dir), Options{Canary: 5}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		mu.Lock()
		done := told["gateway"] == 3 && told["triggers"] >= 2
		mu.Unlock()
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("told %v", told)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCollect(t *testing.T) {
	n := newNode(t)
	n.cfg.VersionsKept = 2
	n.shop()
	for i := range 5 {
		n.write("pay/app.py", fmt.Sprintf("pay = %d", i))
		n.deploy(Options{})
	}
	if _, err := n.Rollback(t.Context(), "shop", "pay", 4); err != nil {
		t.Fatal(err)
	}
	if _, err := n.index.Put(t.Context(), versionKey("shop", "pay", 3), []byte("{}"), 0); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Errorf("version 3 is gone before it is collected: %v", err)
	}
	done, err := n.Collect(t.Context())
	if err != nil || done.Versions != 3 || done.Bundles != 3 {
		t.Errorf("collected %+v: %v", done, err)
	}
	for _, number := range []string{"4", "5", ""} {
		v, err := n.Version("shop", "pay", number, 0)
		if err != nil {
			t.Errorf("version %q: %v", number, err)
			continue
		}
		if _, err := n.cfg.Artifacts.Dir(v.Digest); err != nil {
			t.Errorf("version %q: %v", number, err)
		}
	}
	if again, err := n.Collect(t.Context()); err != nil || again != (Collected{}) {
		t.Errorf("collected again: %+v %v", again, err)
	}
	if err := n.Remove(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.State().App("shop"); mayfly.CodeOf(err) != mayfly.NotFound || len(n.State().Live()) != 0 {
		t.Errorf("a removed app: %v", err)
	}
	if done, err := n.Collect(t.Context()); err != nil || done.Versions != 3 || done.Bundles != 3 {
		t.Errorf("collected of a removed app: %+v %v", done, err)
	}
	n.deploy(Options{})
	n.wantLive("cart:2 pay:6")
}
