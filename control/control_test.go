package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/manifest"
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
	t.Cleanup(func() { _, _ = store.Sweep(context.Background(), func(string) bool { return false }) })
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

func TestDeployOnlyWhatChanged(t *testing.T) {
	n := newNode(t)
	n.shop()
	r := n.deploy(Options{Message: "first"})
	n.wantLive("cart:1 pay:1")
	if !r.Changed || r.Deployment.Versions["cart"] != 1 || len(n.warmer.started) != 2 {
		t.Errorf("result %+v, started %v", r, n.warmer.started)
	}
	if r := n.deploy(Options{}); r.Changed || !r.Plan.Empty() || len(n.warmer.started) != 2 {
		t.Errorf("an unchanged app is deployed again: %s", r.Plan)
	}
	n.write("pay/app.py", "pay = 2")
	if said := n.deploy(Options{}).String(); !strings.HasSuffix(said, "\n0 to add, 1 to change, 0 to remove\n\nshop is live: pay version 2\n") {
		t.Errorf("said: %q", said)
	}
	n.wantLive("cart:1 pay:2")
	v, err := n.Version("shop", "pay", "", 0)
	if err != nil || v.Number != 2 || v.Spec.Memory != 512*mayfly.MiB || v.Spec.On != nil || v.Deploy == "" {
		t.Errorf("version %+v: %v", v, err)
	}
	if r := n.deploy(Options{}).String(); r != "app shop: no changes\n" {
		t.Errorf("said of no change: %q", r)
	}
	// A trigger alone makes no version.
	n.write("mayfly.yaml", strings.Replace(twoFunctions, "GET /cart", "POST /cart", 1))
	r = n.deploy(Options{})
	n.wantLive("cart:1 pay:2")
	if !r.Changed || n.State().Manifests()[0].Functions["cart"].On[0].HTTP != "POST /cart" {
		t.Errorf("the route did not change: %s", r.Plan)
	}
	n.write("mayfly.yaml", "app: shop\nfunctions:\n  pay: {runtime: python, source: ./pay, handler: app.handler, memory: 512MiB}\n")
	n.deploy(Options{})
	n.wantLive("pay:2")
	n.shop()
	n.deploy(Options{})
	n.wantLive("cart:2 pay:3") // a removed function's numbers are not used again
}

func TestPlanText(t *testing.T) {
	n := newNode(t)
	n.shop()
	p, err := n.Plan(t.Context(), Local(n.dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `app shop (new)

+ function cart   python, 1 file, 8 B
    + http GET /cart
+ function pay   python, 1 file, 7 B
+ bucket bills

3 to add, 0 to change, 0 to remove
`
	if p.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", p, want)
	}
	if n.live("shop") != `there is no app "shop"; nothing is deployed: mayfly deploy DIR` {
		t.Error("a plan deployed: " + n.live("shop"))
	}
	n.deploy(Options{})
	n.write("mayfly.yaml", `app: shop
functions:
  cart: {runtime: python, source: ./cart, handler: app.handler, on: [{http: POST /cart, cors: {origins: ["*"]}}]}
  bill: {runtime: python, source: ./pay, handler: app.handler}
buckets: {bills: {public: true}}
queues: {jobs: {}}
budget: {amount: 5}
`)
	n.write("cart/app.py", "cart = 22")
	p, err = n.Plan(t.Context(), Local(n.dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	want = `app shop

+ function bill   python, 1 file, 7 B
~ function cart   new version beside 1, 1 file, 9 B
    + http POST /cart
    - http GET /cart
    code  sha256:61db1e4a36b5 → sha256:c91f8d2ac1cc
- function pay   version 1
~ bucket bills
    public  none → true
+ queue jobs
~ app
    budget.amount  none → 5

2 to add, 3 to change, 1 to remove
`
	got := digests.ReplaceAllString(p.String(), "sha256:…")
	if got != digests.ReplaceAllString(want, "sha256:…") {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

var digests = regexp.MustCompile(`sha256:[0-9a-f]{12}`)

func TestFailedInitKeepsTheOldLive(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.deploy(Options{})
	n.write("cart/app.py", "cart = 2")
	n.write("pay/app.py", "raise ValueError('bad')")
	_, err := n.Deploy(t.Context(), Local(n.dir), Options{})
	var f *mayfly.FunctionError
	if mayfly.CodeOf(err) != mayfly.FunctionFailed || !errors.As(err, &f) {
		t.Fatalf("error %v", err)
	}
	if want := "deploy shop: function pay: does not start: ValueError: bad\n    File \"/var/task/app.py\", line 1, in <module>"; mayfly.MessageOf(err) != want {
		t.Errorf("message:\n%s\nwant:\n%s", mayfly.MessageOf(err), want)
	}
	n.wantLive("cart:1 pay:1")
	slices.Sort(n.dropped)
	if !slices.Equal(n.dropped, []string{"shop.cart.2", "shop.pay.2"}) {
		t.Errorf("abandoned %v", n.dropped)
	}
	n.write("pay/app.py", "pay = 3")
	n.deploy(Options{})
	n.wantLive("cart:3 pay:3") // numbers of the failed deploy are not used again
}

// TestEveryKillPoint fails a deploy at each of its writes and steps, and looks
// at what a restarted node has.
func TestEveryKillPoint(t *testing.T) {
	gone := errors.New("the power is gone")
	for name, fault := range map[string]func(n *node){
		"resources":      func(n *node) { n.resource.apply = gone },
		"prepare":        func(n *node) { n.warmer.before = func(*mayfly.Version) error { return gone } },
		"switch":         func(n *node) { n.index.set(failAt("apps.shop", gone)) },
		"switch refused": func(n *node) { n.index.set(failAt("apps.shop", mayfly.Errorf(mayfly.Conflict, "", "changed"))) },
		"first version":  func(n *node) { n.index.set(failAt("versions.shop.cart.2", gone)) },
		"second version": func(n *node) { n.index.set(failAt("versions.shop.pay.2", gone)) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.shop()
			n.deploy(Options{})
			n.write("cart/app.py", "cart = 2")
			n.write("pay/app.py", "pay = 2")
			fault(n)
			if r, err := n.Deploy(t.Context(), Local(n.dir), Options{}); err == nil {
				t.Fatalf("the deploy succeeds: %+v", r)
			}
			n.wantLive("cart:1 pay:1")
			n.open(n.cfg.Artifacts)
			n.wantLive("cart:1 pay:1")
			for _, fn := range []mayfly.FunctionName{"cart", "pay"} {
				vs, err := n.State().Versions("shop", fn)
				if err != nil || len(vs) != 1 || vs[0].Number != 1 || vs[0].Percent != 100 {
					t.Errorf("versions of %s: %+v %v", fn, vs, err)
				}
			}
			n.resource.apply, n.warmer.before = nil, nil
			n.index.set(nil)
			if r := n.deploy(Options{}); !r.Changed {
				t.Error("the next deploy changes nothing")
			}
			if v, err := n.Version("shop", "pay", "", 0); err != nil || v.Number < 2 {
				t.Errorf("live %+v: %v", v, err)
			}
		})
	}
}

func failAt(key string, err error) func(string) error {
	return func(k string) error {
		if k == key {
			return err
		}
		return nil
	}
}

// TestLostAnswer has the switch written, but its answer lost.
func TestLostAnswer(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.cfg.Index = &lost{Index: n.index}
	r, err := n.Deploy(t.Context(), Local(n.dir), Options{})
	if err != nil || !r.Changed {
		t.Errorf("deploy: %+v %v", r, err)
	}
	n.wantLive("cart:1 pay:1")
}

type lost struct{ Index }

func (l *lost) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	rev, err := l.Index.Put(ctx, key, value, rev)
	if err == nil && strings.HasPrefix(key, "apps.") {
		err = mayfly.Errorf(mayfly.Timeout, "", "no answer")
	}
	return rev, err
}

func TestConcurrentDeploysOfOneApp(t *testing.T) {
	n := newNode(t)
	n.shop()
	other, err := New(n.cfg) // another node
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var wg sync.WaitGroup
	for i, c := range []*Control{n.Control, other, n.Control, other} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, err := c.Deploy(context.Background(), Local(n.dir), Options{Message: fmt.Sprint(i)})
			if code := mayfly.CodeOf(err); code != "" && code != mayfly.Conflict {
				t.Errorf("deploy: %v", err)
			}
		}()
	}
	wg.Wait()
	a, err := n.State().App("shop")
	if err != nil || len(a.Live) != 2 {
		t.Fatalf("app %+v: %v", a, err)
	}
	for fn := range a.Live {
		if _, err := n.Version("shop", fn, "", 0); err != nil {
			t.Errorf("%s: %v", fn, err)
		}
	}
}

func TestCanaryPromoteRollback(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.deploy(Options{})
	n.write("pay/app.py", "pay = 2")
	n.deploy(Options{Canary: 10})
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
	n.deploy(Options{Hold: true})
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

func TestChecksAreJoined(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.resource.check = errors.Join(mayfly.Errorf(mayfly.Invalid, "", "bucket one"), mayfly.Errorf(mayfly.Invalid, "", "bucket two"))
	n.cfg.Triggers = []TriggerCheck{refusing{}}
	n.cfg.Supported = manifest.Supported{Without: []string{"functions.*.memory"}}
	_, err := n.Plan(t.Context(), Local(n.dir), nil)
	want := `mayfly.yaml:1:1: bucket one
mayfly.yaml:1:1: bucket two
mayfly.yaml:3:70: functions.cart.on[0]: no such route today
mayfly.yaml:4:71: functions.pay.memory: is not supported yet`
	if mayfly.CodeOf(err) != mayfly.Invalid || mayfly.MessageOf(err) != want {
		t.Errorf("got:\n%s\nwant:\n%s", mayfly.MessageOf(err), want)
	}
}

type refusing struct{}

func (refusing) Kind() mayfly.TriggerKind { return mayfly.TriggerHTTP }
func (refusing) Check(*mayfly.Manifest, mayfly.FunctionName, *mayfly.Trigger) error {
	return mayfly.Errorf(mayfly.Invalid, "", "no such route today")
}

// TestResourcesDuringADeploy looks at what services are told while versions
// start, and after a deploy that failed.
func TestResourcesDuringADeploy(t *testing.T) {
	n := newNode(t)
	n.write("mayfly.yaml", `app: shop
functions:
  cart: {runtime: python, source: ./cart, handler: app.handler, allow: [read bucket/old]}
  gone: {runtime: python, source: ./cart, handler: app.handler, allow: [list bucket/old]}
buckets: {old: {}}
`)
	n.write("cart/app.py", "cart = 1")
	n.deploy(Options{})
	n.write("mayfly.yaml", `app: shop
functions:
  cart: {runtime: python, source: ./cart, handler: app.handler, allow: [write bucket/new]}
buckets: {new: {}}
`)
	n.write("cart/app.py", "raise")
	var during *mayfly.Manifest
	n.warmer.before = func(v *mayfly.Version) error {
		during = n.resource.applied[0]
		if m := n.Manifest("shop"); m.Buckets["new"] == nil {
			t.Error("versions start with the old manifest")
		}
		return nil
	}
	if _, err := n.Deploy(t.Context(), Local(n.dir), Options{}); err == nil {
		t.Fatal("the deploy succeeds")
	}
	if len(during.Buckets) != 2 || len(during.Functions) != 2 || !slices.Equal(during.Functions["cart"].Allow, []string{"write bucket/new", "read bucket/old"}) {
		t.Errorf("during the deploy: %d buckets, %d functions, %v", len(during.Buckets), len(during.Functions), during.Functions["cart"].Allow)
	}
	after := n.resource.applied[0]
	if len(after.Buckets) != 1 || after.Buckets["old"] == nil || !slices.Equal(after.Functions["cart"].Allow, []string{"read bucket/old"}) {
		t.Errorf("after it failed: %+v", after)
	}
	if m := n.Manifest("shop"); m.Buckets["old"] == nil {
		t.Error("the failed deploy's manifest stays")
	}
}

func TestLackingRuntime(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.warmer.lacking = mayfly.Python
	_, err := n.Deploy(t.Context(), Local(n.dir), Options{})
	if mayfly.CodeOf(err) != mayfly.Unavailable || mayfly.MessageOf(err) != "deploy shop: functions [cart pay]: there is no python on this machine; install it" {
		t.Errorf("error %v", err)
	}
	r := n.deploy(Options{Lenient: true})
	n.wantLive("cart:1 pay:1")
	if len(r.Warnings) != 1 || len(n.warmer.started) != 0 {
		t.Errorf("warnings %v, started %v", r.Warnings, n.warmer.started)
	}
}

func TestLackingBuildTool(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.write("mayfly.yaml", strings.Replace(twoFunctions, "source: ./pay", "source: ./pay, build: no-such-compiler", 1))
	if _, err := n.Deploy(t.Context(), Local(n.dir), Options{}); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("error %v", err)
	}
	r := n.deploy(Options{Lenient: true})
	n.wantLive("cart:1")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "needs a program that this machine lacks") {
		t.Errorf("warnings %v", r.Warnings)
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
	other, err := New(n.cfg) // another node deploys
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
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

func TestSendAndReceive(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.write("mayfly.yaml", twoFunctions+"topics: {t: {schema: ./s.json}}\ndatabases: {d: {migrations: m}}\n")
	n.write("s.json", `{"type": "object"}`)
	n.write("m/001_a.sql", "select 1")
	n.write("m/notes.txt", "no")
	n.write("secret.txt", "stays here")
	n.write("mayfly.yaml", strings.Replace(twoFunctions, "source: ./pay", "source: ./pay, build: echo pay = 9 > app.py", 1)+
		"topics: {t: {schema: ./s.json}}\ndatabases: {d: {migrations: m}}\n")
	local, err := artifact.New(artifact.Config{Dir: filepath.Join(t.TempDir(), "local"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = local.Sweep(context.Background(), func(string) bool { return false }) }()
	var sent bytes.Buffer
	var stages []Stage
	if err := Send(t.Context(), n.dir, local, &sent, func(p Progress) { stages = append(stages, p.Stage) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(stages, StageBuilding) {
		t.Errorf("stages %v", stages)
	}
	tmp := t.TempDir()
	src, err := Receive(t.Context(), &sent, tmp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(src.Dir, "secret.txt")); err == nil {
		t.Error("a file that no function has was sent")
	}
	r, err := n.Deploy(t.Context(), src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := r.Plan.manifest
	if string(m.Topics["t"].SchemaBody) != `{"type":"object"}` || len(m.Databases["d"].MigrationFiles) != 1 {
		t.Errorf("manifest %+v", m)
	}
	v, err := n.Version("shop", "pay", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := n.cfg.Artifacts.Dir(v.Digest)
	if data, _ := os.ReadFile(filepath.Join(dir, "app.py")); string(data) != "pay = 9\n" {
		t.Errorf("built %q", data)
	}
	if err := errors.Join(src.Close(), src.Close()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Error("the received folder is left")
	}
	// The same app from its folder is no change.
	if r := n.deploy(Options{}); r.Changed {
		t.Errorf("the same app, sent and local, differs: %s", r.Plan)
	}
	if _, err := Receive(t.Context(), strings.NewReader("junk, and enough of it to look like something"), tmp); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("junk: %v", err)
	}
}

// registry has one image under one name.
type registry struct{ asked int }

func (r *registry) Fetch(_ context.Context, ref, dir string) error {
	r.asked++
	if ref != "registry.test/shop:1" {
		return mayfly.Errorf(mayfly.Invalid, "", "there is no image %s", ref)
	}
	return writeText(dir, "app.py", "an image's index")
}

func TestImagesByReference(t *testing.T) {
	n := newNode(t)
	n.write("mayfly.yaml", "app: shop\nfunctions:\n  web: {runtime: container, source: registry.test/shop:1}\n")
	if _, err := n.Deploy(t.Context(), Local(n.dir), Options{}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("without a registry: %v", err)
	}
	images := &registry{}
	n.images = images
	n.open(n.cfg.Artifacts)
	for range 3 {
		n.deploy(Options{Lenient: true})
	}
	if images.asked != 1 {
		t.Errorf("lenient deploys asked %d times", images.asked)
	}
	n.deploy(Options{})
	n.deploy(Options{})
	if images.asked != 3 {
		t.Errorf("deploys asked %d times in all", images.asked)
	}
	n.wantLive("web:1")
	local, err := artifact.New(artifact.Config{Dir: filepath.Join(t.TempDir(), "local"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	if err := Send(t.Context(), n.dir, local, &sent, nil); err != nil {
		t.Fatal(err)
	}
	src, err := Receive(t.Context(), &sent, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if r, err := n.Deploy(t.Context(), src, Options{}); err != nil || r.Changed {
		t.Errorf("sent: %+v %v", r, err)
	}
}

func TestProgress(t *testing.T) {
	n := newNode(t)
	n.write("mayfly.yaml", "app: shop\nfunctions:\n  f: {runtime: python, source: ./f, handler: app.handler, build: 'echo hi; echo x > app.py'}\n")
	n.write("f/in", "")
	var got []string
	n.deploy(Options{Progress: func(p Progress) { got = append(got, strings.TrimSpace(string(p.Stage)+" "+p.Text)) }})
	want := []string{"packing", "building echo hi; echo x > app.py", "building hi", "packed", "starting", "started", "switched"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestManifestProblemsKeepTheirPlace(t *testing.T) {
	n := newNode(t)
	n.write("mayfly.yaml", "app: shop\nfunctoins: {}\n")
	_, err := n.Deploy(t.Context(), Local(n.dir), Options{})
	ps := manifest.ProblemsOf(err)
	if len(ps) != 1 || ps[0].Line != 2 {
		t.Errorf("problems %v", ps)
	}
}
