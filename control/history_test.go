package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// deploys are the ids of an app's changes, the newest first.
func (n *node) deploys() (ids []string) {
	n.t.Helper()
	a, err := n.State().App("shop")
	if err != nil {
		n.t.Fatal(err)
	}
	for _, d := range a.Deploys {
		ids = append(ids, d.ID)
	}
	return ids
}

func (n *node) changes(from, to string) string {
	n.t.Helper()
	p, err := n.Changes("shop", from, to)
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, f := range p.Functions {
		line := fmt.Sprintf("%s %s %d→%d", f.Action, f.Function, f.From, f.To)
		for _, x := range f.Fields {
			if x.Field == "code" {
				x.Old, x.New = "", ""
			}
			line += fmt.Sprintf(" %s(%s→%s)", x.Field, x.Old, x.New)
		}
		for _, x := range f.Triggers {
			line += fmt.Sprintf(" %s %s %s", x.Action, x.Kind, x.On)
		}
		out = append(out, line)
	}
	for _, r := range p.Resources {
		out = append(out, fmt.Sprintf("%s %s %s", r.Action, r.Kind, r.Name))
	}
	return strings.Join(out, "\n")
}

func TestChangesBetweenDeploys(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.deploy(Options{})
	n.write("pay/app.py", "pay = 2")
	n.write("mayfly.yaml", `app: shop
functions:
  cart: {runtime: python, source: ./cart, handler: app.handler, on: [{http: GET /basket}]}
  pay: {runtime: python, source: ./pay, handler: app.handler, memory: 1GiB, env: {CURRENCY: EUR}}
buckets: {bills: {}}
queues: {mail: {}}
`)
	n.deploy(Options{Message: "basket"})
	if _, err := n.Rollback(t.Context(), "shop", "pay", 0); err != nil {
		t.Fatal(err)
	}
	ids := n.deploys() // rollback, second, first
	for _, c := range []struct{ from, to, want string }{
		{"", ids[2], "add cart 0→1 add http GET /cart\nadd pay 0→1\nadd bucket bills"},
		{"", ids[1], "change cart 1→1 remove http GET /cart\nchange pay 1→2 code(→) env.CURRENCY(→EUR) memory(512MiB→1GiB)\nadd queue mail"},
		{"", ids[0], "change pay 2→1 code(→) env.CURRENCY(EUR→) memory(1GiB→512MiB)"},
		{ids[0], ids[1], "change pay 1→2 code(→) env.CURRENCY(→EUR) memory(512MiB→1GiB)"},
		{ids[2], ids[0], "change cart 1→1 remove http GET /cart\nadd queue mail"},
		{ids[0], ids[0], ""},
	} {
		got := strings.ReplaceAll(n.changes(c.from, c.to), " add http GET /basket", "")
		if got != c.want {
			t.Errorf("from %q to %q:\n%s\nwant\n%s", c.from, c.to, got, c.want)
		}
	}
	p, err := n.Changes("shop", ids[2], ids[1])
	if err != nil {
		t.Fatal(err)
	}
	want := `app shop

~ function cart   version 1 stays
    + http GET /basket
    - http GET /cart
~ function pay   version 2 in place of 1
    code          sha256:… → sha256:…
    env.CURRENCY  none → EUR
    memory        512MiB → 1GiB
+ queue mail

1 added, 2 changed, 0 removed
`
	if got := digests.ReplaceAllString(p.Done(), "sha256:…"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if p, err := n.Changes("shop", "", ids[2]); err != nil || !strings.Contains(p.Done(), "+ function pay   python, version 1\n") {
		t.Errorf("the first deploy: %v %v", p, err)
	}
	if p, err := n.Changes("shop", ids[0], ids[0]); err != nil || p.Done() != "app shop: nothing differs\n" {
		t.Errorf("a deploy and itself: %v %v", p, err)
	}
	n.open(n.cfg.Artifacts) // a restart
	if got := n.changes(ids[0], ids[1]); !strings.HasPrefix(got, "change pay 1→2") {
		t.Errorf("after a restart: %s", got)
	}
	if _, err := n.Changes("shop", "", "nothing"); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("an unknown deploy: %v", err)
	}
}

func TestChangesOfACanary(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.deploy(Options{})
	n.write("pay/app.py", "pay = 2")
	n.deploy(Options{Hold: true})
	for _, weight := range []int{10, 100} {
		if _, err := n.Promote(t.Context(), "shop", "pay", 2, weight); err != nil {
			t.Fatal(err)
		}
	}
	ids := n.deploys() // all, a tenth, held back, first
	for _, c := range []struct{ of, want string }{
		{ids[1], "change pay 1→1 calls(all to version 1→10% to version 2, the others to version 1)"},
		{ids[0], "change pay 1→2 code(→) calls(10% to version 2, the others to version 1→all to version 2)"},
	} {
		if got := n.changes("", c.of); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.of, got, c.want)
		}
	}
}

func TestRestore(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.deploy(Options{})
	n.write("cart/app.py", "cart = 2")
	n.write("pay/app.py", "pay = 2")
	n.write("mayfly.yaml", strings.Replace(twoFunctions, "buckets: {bills: {}}", "queues: {mail: {}}", 1))
	n.deploy(Options{})
	first := n.deploys()[1]
	n.wantLive("cart:2 pay:2")

	// Nothing of it happens where a version does not start.
	n.warmer.before = func(v *mayfly.Version) error { return fmt.Errorf("no %s", v.Ref()) }
	if _, err := n.Restore(t.Context(), "shop", first); err == nil {
		t.Error("restored what does not start")
	}
	n.wantLive("cart:2 pay:2")
	if len(n.resource.applied) != 1 || len(n.resource.applied[0].Buckets) != 0 {
		t.Errorf("resources stay as restored: %+v", n.resource.applied)
	}
	n.warmer.before = nil

	d, err := n.Restore(t.Context(), "shop", first)
	if err != nil || d.Action != "restore" || d.Versions["cart"] != 1 || d.Versions["pay"] != 1 {
		t.Fatalf("restored %+v: %v", d, err)
	}
	n.wantLive("cart:1 pay:1")
	a, _ := n.State().App("shop")
	if len(a.Manifest.Buckets) != 1 || len(a.Manifest.Queues) != 0 || a.Live["pay"].Previous != 2 {
		t.Errorf("manifest %+v, live %+v", a.Manifest, a.Live)
	}
	if got := n.changes(first, d.ID); got != "" {
		t.Errorf("differs from what was restored: %s", got)
	}
}

// TestRestoreOfGoneVersions names the versions that were collected.
func TestRestoreOfGoneVersions(t *testing.T) {
	n := newNode(t)
	n.cfg.VersionsKept = 1
	n.shop()
	for i := range 4 {
		n.write("pay/app.py", fmt.Sprintf("pay = %d", i))
		n.deploy(Options{})
	}
	ids := n.deploys()
	_, err := n.Restore(t.Context(), "shop", ids[3])
	if mayfly.CodeOf(err) != mayfly.Conflict || !strings.Contains(mayfly.MessageOf(err), "no more version pay 1") {
		t.Errorf("restore of a version that is gone: %v", err)
	}
	if err := n.Remove(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for e := range n.index.List(snapshotsPrefix) {
		t.Errorf("%s is left of an app that was removed", e.Key)
	}
}
