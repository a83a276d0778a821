package cron

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// acceptor keeps what was accepted, by id; a repeated id is the first.
type acceptor struct {
	mu    sync.Mutex
	calls map[string]*trigger.Accept
	err   error
}

func (a *acceptor) Accept(_ context.Context, c *trigger.Accept) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return "", a.err
	}
	if a.calls == nil {
		a.calls = map[string]*trigger.Accept{}
	}
	id := c.ID
	if id == "" {
		id = mayfly.NewID()
	}
	if a.calls[id] == nil {
		a.calls[id] = c
	}
	return id, nil
}

func (a *acceptor) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}

func app(triggers ...mayfly.Trigger) *triggertest.Apps {
	return triggertest.Deploy(&mayfly.Manifest{App: "app", Functions: map[mayfly.FunctionName]*mayfly.Function{"fn": {On: triggers}}})
}

func newDriver(t testing.TB, r *triggertest.Rig, a trigger.Acceptor) *Driver {
	t.Helper()
	d := New(Config{Records: r.Bucket("runtime"), Acceptor: a})
	if err := d.Apply(context.Background(), r.Apps.Bindings(mayfly.TriggerSchedule)); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFires(t *testing.T) {
	a := &acceptor{}
	r := triggertest.New(t, "", app(mayfly.Trigger{Schedule: "every 1s"}))
	r.Run(newDriver(t, r, a).Run)
	triggertest.Until(t, "it fires three times", func() bool { return a.count() >= 3 })
}

func TestEvent(t *testing.T) {
	a := &acceptor{}
	r := triggertest.New(t, "", app(
		mayfly.Trigger{Schedule: "0 3 * * *", Timezone: "Europe/Zurich", Name: "nightly"},
		mayfly.Trigger{Schedule: "0 4 * * *", Input: json.RawMessage(`{"a":1}`), Jitter: mayfly.Duration(time.Hour)},
	))
	d := newDriver(t, r, a)
	ctx := context.Background()
	start := at("2026-05-01T00:00:00Z")
	if next := d.tick(ctx, start); next.After(start.Add(longestSleep)) {
		t.Error(next)
	}
	d.tick(ctx, at("2026-05-01T01:00:00Z"))
	d.tick(ctx, at("2026-05-01T04:00:00Z"))
	if a.count() != 2 {
		t.Fatalf("%d calls", a.count())
	}
	for _, c := range a.calls {
		if c.Binding.Trigger.Name != "nightly" {
			if string(c.Event) != `{"a":1}` || c.At.Before(at("2026-05-01T04:00:00Z")) || c.At.After(at("2026-05-01T05:00:00Z")) {
				t.Errorf("%+v", c)
			}
			continue
		}
		var e map[string]any
		if err := json.Unmarshal(c.Event, &e); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{
			"detail-type": "Scheduled Event", "source": "aws.events", "time": "2026-05-01T01:00:00Z", "id": c.ID, "region": "local",
			"account": "000000000000", "version": "0",
		} {
			if e[name] != want {
				t.Errorf("%s is %v; want %v", name, e[name], want)
			}
		}
		if fmt.Sprint(e["resources"]) != "[arn:aws:events:local:000000000000:rule/app-fn-nightly]" || fmt.Sprint(e["detail"]) != "map[]" {
			t.Errorf("%v", e)
		}
	}
}

// A firing is one call, also with two nodes and with a crash between claim and
// acceptance.
func TestFiresOnce(t *testing.T) {
	a := &acceptor{}
	r := triggertest.New(t, "", app(mayfly.Trigger{Schedule: "* * * * *"}))
	nodes := []*Driver{newDriver(t, r, a), newDriver(t, r, a)}
	ctx := context.Background()
	now := at("2026-05-01T00:00:30Z")
	for minute := range 10 {
		var wg sync.WaitGroup
		a.err = nil
		if minute == 5 {
			a.err = errors.New("crashed")
		}
		for _, d := range nodes {
			wg.Go(func() { d.tick(ctx, now) })
		}
		wg.Wait()
		now = now.Add(time.Minute)
	}
	nodes[0].tick(ctx, now)
	if a.count() != 10 {
		t.Errorf("%d calls in ten minutes", a.count())
	}
}

func TestMissedAcrossRestart(t *testing.T) {
	for missed, want := range map[string]int{"skip": 0, "once": 1, "all": 72} {
		t.Run(missed, func(t *testing.T) {
			dir := t.TempDir()
			a := &acceptor{}
			apps := app(mayfly.Trigger{Schedule: "@hourly", Missed: missed})
			r := triggertest.New(t, dir, apps)
			newDriver(t, r, a).tick(context.Background(), at("2026-05-01T00:30:00Z"))
			r.Stop()
			r = triggertest.New(t, dir, apps)
			d := newDriver(t, r, a)
			d.tick(context.Background(), at("2026-05-04T00:30:00Z"))
			d.tick(context.Background(), at("2026-05-04T00:31:00Z"))
			if a.count() != want {
				t.Errorf("%d calls; want %d", a.count(), want)
			}
		})
	}
}

// A schedule that is new, changed, or back again counts from then on.
func TestChangesCountFromNow(t *testing.T) {
	a := &acceptor{}
	apps := app(mayfly.Trigger{Schedule: "@hourly", Name: "x"})
	r := triggertest.New(t, "", apps)
	d := newDriver(t, r, a)
	ctx := context.Background()
	deploy := func(triggers ...mayfly.Trigger) {
		t.Helper()
		apps.Set(&mayfly.Manifest{App: "app", Functions: map[mayfly.FunctionName]*mayfly.Function{"fn": {On: triggers}}})
		if err := d.Apply(ctx, apps.Bindings(mayfly.TriggerSchedule)); err != nil {
			t.Fatal(err)
		}
	}
	d.tick(ctx, at("2026-05-01T00:30:00Z"))
	deploy(mayfly.Trigger{Schedule: "@daily", Name: "x"})
	d.tick(ctx, at("2026-05-03T00:30:00Z"))
	deploy()
	d.tick(ctx, at("2026-05-03T00:31:00Z"))
	deploy(mayfly.Trigger{Schedule: "@daily", Name: "x"})
	d.tick(ctx, at("2026-05-06T00:30:00Z"))
	if a.count() != 0 {
		t.Errorf("%d calls", a.count())
	}
	d.tick(ctx, at("2026-05-07T00:00:00Z"))
	if a.count() != 1 {
		t.Errorf("%d calls", a.count())
	}
}

func TestRefusedCallHoldsNothing(t *testing.T) {
	a := &acceptor{err: mayfly.Errorf(mayfly.NotFound, "", "no such function")}
	r := triggertest.New(t, "", app(mayfly.Trigger{Schedule: "* * * * *"}))
	d := newDriver(t, r, a)
	ctx := context.Background()
	d.tick(ctx, at("2026-05-01T00:00:30Z"))
	d.tick(ctx, at("2026-05-01T00:01:30Z"))
	a.err = nil
	d.tick(ctx, at("2026-05-01T00:02:30Z"))
	if a.count() != 1 {
		t.Errorf("%d calls", a.count())
	}
}

func TestFiveThousandAtOneMinute(t *testing.T) {
	apps := triggertest.Deploy()
	for i := range 50 {
		m := &mayfly.Manifest{App: mayfly.AppName(fmt.Sprintf("app%d", i)), Functions: map[mayfly.FunctionName]*mayfly.Function{}}
		for j := range 100 {
			m.Functions[mayfly.FunctionName(fmt.Sprintf("fn%d", j))] = &mayfly.Function{On: []mayfly.Trigger{{Schedule: "0 3 * * *"}}}
		}
		apps.Set(m)
	}
	a := &acceptor{}
	r := triggertest.New(t, "", apps)
	d := newDriver(t, r, a)
	d.tick(context.Background(), at("2026-05-01T02:59:59Z"))
	start := time.Now()
	d.tick(context.Background(), at("2026-05-01T03:00:00Z"))
	t.Logf("5,000 schedules claimed and accepted in %s", time.Since(start).Round(time.Millisecond))
	if a.count() != 5000 {
		t.Errorf("%d calls", a.count())
	}
}

func TestHTTP(t *testing.T) {
	a := &acceptor{}
	r := triggertest.New(t, "", app(mayfly.Trigger{Schedule: "17 3 * * *", Name: "a"}, mayfly.Trigger{Schedule: "every 1h"}))
	d := newDriver(t, r, a)
	d.tick(context.Background(), time.Now())
	do := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerAdmin}, d.Register)
	status, body := do("GET", "/v1/apps/app/schedules", "")
	if status != 200 || strings.Count(body, `T03:17:00Z"`) != 5 || !strings.Contains(body, `"missed":"once"`) {
		t.Error(status, body)
	}
	for body, want := range map[string]int{
		`{"function":"fn","name":"a"}`: 202, `{"function":"fn","name":"every 1h"}`: 202, `{"function":"fn"}`: 400, `{"function":"gone"}`: 404,
	} {
		if status, reply := do("POST", "/v1/apps/app/schedules/run", body); status != want {
			t.Error(body, status, reply)
		}
	}
	if a.count() != 2 {
		t.Errorf("%d calls", a.count())
	}
	if up := d.Upcoming("app", "fn", at("2026-05-01T00:30:00Z"), 3); len(up) != 3 || !up[0].Equal(at("2026-05-01T01:00:00Z")) {
		t.Error(up)
	}
}
