package control

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/manifest"
)

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

func TestMissingPackagesAreExplained(t *testing.T) {
	missing := &mayfly.FunctionError{Type: mayfly.ErrorTypeImport, Message: "No module named 'requests'"}
	for want, spec := range map[string]mayfly.Function{
		"    build: pip install": {Runtime: mayfly.Python}, "by its build: make deps": {Runtime: mayfly.Node, Build: "make deps"},
	} {
		if said := mayfly.MessageOf(startError(&mayfly.Version{Function: "f", Spec: spec}, missing)); !strings.Contains(said, want) {
			t.Errorf("%s of %s", said, spec.Runtime)
		}
	}
}

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
	other := n.another()
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

// TestPlanForeseesSchedules shows when new and changed schedules call, and
// nothing of those that stay or go.
func TestPlanForeseesSchedules(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.cfg.Triggers = []TriggerCheck{clock{}}
	n.cfg.Supported = manifest.Supported{Triggers: []mayfly.TriggerKind{mayfly.TriggerSchedule}}
	shop := func(on string) string {
		n.write("mayfly.yaml", "app: shop\nfunctions:\n  cart: {runtime: python, source: ./cart, handler: app.handler, on: ["+on+"]}\n")
		p, err := n.Plan(t.Context(), Local(n.dir), nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.String()
	}
	const first, last = "        next Sat 2033-01-01 00:00:00 UTC\n", "             Sat 2033-01-01 04:00:00 UTC\n"
	got := shop(`{schedule: "@hourly"}, {schedule: at 2020-01-01T00:00:00Z}`)
	if !strings.Contains(got, "+ schedule @hourly\n"+first) || !strings.Contains(got, last) || !strings.Contains(got, "never again") {
		t.Errorf("new:\n%s", got)
	}
	n.deploy(Options{})
	got = shop(`{schedule: "@hourly", jitter: 1s}`)
	if !strings.Contains(got, "~ schedule @hourly\n        jitter  none → 1s\n"+first) || strings.Count(got, "2033") != foreseen || strings.Contains(got, "never") {
		t.Errorf("changed:\n%s", got)
	}
}

// clock calls on the hour of 2033, and at no other time.
type clock struct{}

func (clock) Kind() mayfly.TriggerKind                                           { return mayfly.TriggerSchedule }
func (clock) Check(*mayfly.Manifest, mayfly.FunctionName, *mayfly.Trigger) error { return nil }
func (clock) Next(t *mayfly.Trigger, _ time.Time, n int) (out []time.Time, err error) {
	for i := range n {
		if strings.HasPrefix(t.Schedule, "@") {
			out = append(out, time.Date(2033, 1, 1, i, 0, 0, 0, time.UTC))
		}
	}
	return out, nil
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

// TestDeploysOfTwoApps lets one app be deployed while another one's versions
// start: what the other one declares anew stays.
func TestDeploysOfTwoApps(t *testing.T) {
	n := newNode(t)
	n.shop()
	other := t.TempDir()
	err := errors.Join(
		writeText(other, "mayfly.yaml", "app: stall\nfunctions: {f: {runtime: python, source: ., handler: app.handler}}\nbuckets: {fresh: {}}\n"),
		writeText(other, "app.py", "stall = 1"))
	if err != nil {
		t.Fatal(err)
	}
	n.warmer.before = func(v *mayfly.Version) error {
		if v.App != "stall" {
			return nil
		}
		n.deploy(Options{})
		if len(n.resource.applied) != 2 || n.resource.applied[1].Buckets["fresh"] == nil {
			t.Errorf("while stall starts: %+v", n.resource.applied)
		}
		return errors.New("no")
	}
	if _, err := n.Deploy(t.Context(), Local(other), Options{}); err == nil {
		t.Fatal("the deploy succeeds")
	}
	if len(n.resource.applied) != 1 || n.resource.applied[0].App != "shop" {
		t.Errorf("after it failed: %+v", n.resource.applied)
	}
}
