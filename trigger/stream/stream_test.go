package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rig struct {
	*triggertest.Rig
	*Driver
	t       testing.TB
	journal *event.Journal
}

func start(t testing.TB, dir string, apps *triggertest.Apps, call triggertest.Invoker) *rig {
	t.Helper()
	r := &rig{Rig: triggertest.New(t, dir, apps), t: t}
	r.journal = r.Journal()
	r.Driver = New(Config{Journal: r.journal, Dead: r.Dead, Invoker: call, Records: r.Bucket("runtime"), Drain: 30 * time.Second})
	r.apply()
	r.Rig.Run(r.Driver.Run)
	return r
}

func (r *rig) apply() {
	r.t.Helper()
	if err := r.Driver.Apply(context.Background(), r.Apps.Bindings(mayfly.TriggerStream)); err != nil {
		r.t.Fatal(err)
	}
}

// publish appends events "KEY N" of the topic t.
func (r *rig) publish(events ...string) {
	r.t.Helper()
	var all []*event.Published
	for _, e := range events {
		key, n, _ := strings.Cut(e, " ")
		body := fmt.Sprintf(`{"id":"%s-%s","specversion":"1.0","type":"t","source":"/s","subject":%q,"data":{"n":%s}}`, key, n, key, n)
		all = append(all, &event.Published{App: "app", Topic: "t", Trace: mayfly.NewTrace().Header(), Hops: 2, Body: []byte(body)})
	}
	if err := r.journal.Append(context.Background(), all...); err != nil {
		r.t.Fatal(err)
	}
}

func app(t mayfly.Trigger) *triggertest.Apps {
	t.Stream = "t"
	if t.Start == "" {
		t.Start = "oldest"
	}
	return triggertest.Deploy(&mayfly.Manifest{
		App: "app", Topics: map[string]*mayfly.Topic{"t": nil}, Functions: map[mayfly.FunctionName]*mayfly.Function{"fn": {On: []mayfly.Trigger{t}}},
	})
}

// got is what a function was called with, in order.
type got struct {
	mu    sync.Mutex
	calls []string // "KEY N KEY N"
	seen  map[string][]string
	raw   [][]byte
}

func (g *got) note(t testing.TB, c *trigger.Call) (e Event, names []string) {
	if err := json.Unmarshal(c.Event, &e); err != nil {
		t.Error(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil {
		g.seen = map[string][]string{}
	}
	for _, rec := range e.Records {
		var body struct {
			Subject string
			Data    struct{ N int }
		}
		if err := json.Unmarshal(rec.Kinesis.Data, &body); err != nil {
			t.Error(err)
		}
		names = append(names, fmt.Sprintf("%s %d", body.Subject, body.Data.N))
		g.seen[body.Subject] = append(g.seen[body.Subject], fmt.Sprint(body.Data.N))
	}
	g.calls = append(g.calls, strings.Join(names, " "))
	g.raw = append(g.raw, c.Event)
	return e, names
}

func (g *got) all() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.calls, ", ")
}

func (g *got) of(key string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.seen[key], " ")
}

func (g *got) call(t testing.TB) triggertest.Invoker {
	return func(_ context.Context, c *trigger.Call) ([]byte, error) { g.note(t, c); return nil, nil }
}

func await(t testing.TB, what func() string, want string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for what() != want {
		if time.Now().After(deadline) {
			t.Fatalf("came: %s; want %s", what(), want)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestOrderAndShape(t *testing.T) {
	g := &got{}
	r := start(t, "", app(mayfly.Trigger{Batch: 3}), g.call(t))
	r.publish("a 1", "b 1", "a 2", "b 2", "a 3")
	await(t, g.all, "a 1 b 1 a 2, b 2 a 3")
	var e struct {
		Records []struct {
			Kinesis struct {
				PartitionKey, SequenceNumber, KinesisSchemaVersion string
				ApproximateArrivalTimestamp                        float64
			}
			EventSource, EventName, EventSourceARN, EventID string
		}
		Window *Window
	}
	if err := json.Unmarshal(g.raw[0], &e); err != nil {
		t.Fatal(err)
	}
	rec := e.Records[1]
	if rec.EventSource != "aws:kinesis" || rec.EventName != "aws:kinesis:record" || rec.Kinesis.PartitionKey != "b" || rec.Kinesis.SequenceNumber != "100001" ||
		rec.EventSourceARN != "arn:aws:kinesis:local:000000000000:stream/app-t" || rec.EventID != "shardId-000000000000:100001" || rec.Kinesis.ApproximateArrivalTimestamp < 1e9 || e.Window != nil {
		t.Errorf("%s", g.raw[0])
	}
}

// Partitions go on beside one another; each keeps the order of its keys.
func TestPartitions(t *testing.T) {
	g := &got{}
	release := make(chan struct{})
	r := start(t, "", app(mayfly.Trigger{Partitions: 8}), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if _, names := g.note(t, c); names[0] == "stuck 0" {
			<-release
		}
		return nil, nil
	})
	r.publish("stuck 0", "stuck 1")
	want := ""
	for i := range 20 {
		var all []string
		for k := range 10 {
			all = append(all, fmt.Sprintf("k%d %d", k, i))
		}
		r.publish(all...)
		want = strings.TrimSpace(want + fmt.Sprintf(" %d", i))
	}
	free := 0
	triggertest.Until(t, "the keys of other partitions are done", func() bool {
		free = 0
		for k := range 10 {
			if g.of(fmt.Sprintf("k%d", k)) == want {
				free++
			}
		}
		return free >= 5
	})
	close(release)
	for k := range 10 {
		await(t, func() string { return g.of(fmt.Sprintf("k%d", k)) }, want)
	}
	await(t, func() string { return g.of("stuck") }, "0 1")
}

// What was done does not come again after a stop, and the rest does.
func TestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	g := &got{}
	apps := app(mayfly.Trigger{Batch: 10, Partitions: 3})
	r := start(t, dir, apps, g.call(t))
	r.publish("a 1", "b 1", "c 1")
	triggertest.Until(t, "three came", func() bool { return g.of("a")+g.of("b")+g.of("c") == "111" })
	r.Stop()
	r = start(t, dir, apps, g.call(t))
	r.publish("a 2", "b 2", "c 2")
	for _, key := range []string{"a", "b", "c"} {
		await(t, func() string { return g.of(key) }, "1 2")
	}
	// Another number of partitions goes on, and leaves nothing out.
	m, _ := apps.Manifest("app")
	changed := *m
	changed.Functions = map[mayfly.FunctionName]*mayfly.Function{"fn": {On: []mayfly.Trigger{{Stream: "t", Batch: 10, Partitions: 5}}}}
	apps.Set(&changed)
	r.apply()
	r.publish("a 3", "b 3", "c 3")
	for _, key := range []string{"a", "b", "c"} {
		triggertest.Until(t, "3 comes", func() bool { return strings.HasSuffix(g.of(key), "3") })
	}
}

func TestStart(t *testing.T) {
	g := &got{}
	dir := t.TempDir()
	r := triggertest.New(t, dir, app(mayfly.Trigger{}))
	old := &rig{Rig: r, t: t, journal: r.Journal()}
	old.publish("a 1")
	time.Sleep(5 * time.Millisecond)
	from := time.Now()
	time.Sleep(1100 * time.Millisecond) // RFC 3339 has seconds
	old.publish("a 2")
	r.Stop()
	second := start(t, dir, app(mayfly.Trigger{Start: from.Add(time.Second).Format(time.RFC3339)}), g.call(t))
	await(t, g.all, "a 2")
	second.Stop()
	third := start(t, dir, app(mayfly.Trigger{Start: "latest", Name: "other"}), g.call(t))
	triggertest.Until(t, "it begins", func() bool {
		keys, err := third.Bucket("runtime").Keys(context.Background(), "streams.")
		return err == nil && len(keys) == 4
	})
	third.publish("a 3")
	await(t, g.all, "a 2, a 3")
}

// A batch that fails is tried again; in the end it is dead and the partition
// goes on.
func TestAttempts(t *testing.T) {
	g := &got{}
	r := start(t, "", app(mayfly.Trigger{Batch: 2, Attempts: 1}), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if _, names := g.note(t, c); names[0] == "a 1" {
			return nil, &mayfly.FunctionError{Type: "Boom", Message: "no"}
		}
		return nil, nil
	})
	r.publish("a 1", "a 2", "a 3")
	await(t, g.all, "a 1 a 2, a 3")
	letters, err := r.Dead.List(context.Background(), event.DeadFilter{Source: "stream/t"})
	if err != nil || len(letters) != 2 || letters[0].Error != "Boom: no" || letters[0].Function != "fn" {
		t.Fatalf("%+v, %v", letters, err)
	}
	if err := r.Revive(context.Background(), letters[1], ""); err != nil {
		t.Error(err)
	}
	await(t, g.all, "a 1 a 2, a 3, a 2")
	if r.Revive(context.Background(), letters[0], "") == nil {
		t.Error("a redrive that fails is said to succeed")
	}
}

// Halves are tried, so that only the event that fails dies.
func TestBisect(t *testing.T) {
	g := &got{}
	r := start(t, "", app(mayfly.Trigger{Batch: 8, Attempts: 1, Bisect: true}), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if _, names := g.note(t, c); strings.Contains(strings.Join(names, ","), "a 5") {
			return nil, &mayfly.FunctionError{Message: "poison"}
		}
		return nil, nil
	})
	r.publish("a 1", "a 2", "a 3", "a 4", "a 5", "a 6", "a 7", "a 8")
	await(t, g.all, "a 1 a 2 a 3 a 4 a 5 a 6 a 7 a 8, a 1 a 2 a 3 a 4, a 5 a 6 a 7 a 8, a 5 a 6, a 5, a 6, a 7 a 8")
	triggertest.Until(t, "one is dead", func() bool { return r.Dead.Count("app", "stream/t") == 1 })
}

// What comes before the first failure that is reported is done.
func TestPartialFailure(t *testing.T) {
	g := &got{}
	failed := false
	r := start(t, "", app(mayfly.Trigger{Batch: 4}), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		e, _ := g.note(t, c)
		if failed || len(e.Records) < 4 {
			return nil, nil
		}
		failed = true
		return fmt.Appendf(nil, `{"batchItemFailures":[{"itemIdentifier":%q},{"itemIdentifier":%q}]}`, e.Records[3].Kinesis.SequenceNumber, e.Records[2].EventID), nil
	})
	r.publish("a 1", "a 2", "a 3", "a 4")
	await(t, g.all, "a 1 a 2 a 3 a 4, a 3 a 4")
}

func TestThrottledWaits(t *testing.T) {
	g := &got{}
	n := 0
	r := start(t, "", app(mayfly.Trigger{Attempts: 1}), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if n++; n < 4 {
			return nil, mayfly.Errorf(mayfly.Throttled, "", "full")
		}
		g.note(t, c)
		return nil, nil
	})
	r.publish("a 1")
	await(t, g.all, "a 1")
}

func TestMatchAndOtherTopics(t *testing.T) {
	g := &got{}
	r := start(t, "", app(mayfly.Trigger{Match: json.RawMessage(`{"data":{"n":[{"numeric":[">",1]}]}}`)}), g.call(t))
	if err := r.journal.Append(context.Background(), &event.Published{App: "app", Topic: "u", Body: []byte(`{}`)}, &event.Published{App: "other", Topic: "t", Body: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	r.publish("a 1", "a 2")
	await(t, g.all, "a 2")
}

// The state goes from call to call; the last call of a window has no records.
func TestTumblingWindow(t *testing.T) {
	type call struct {
		final bool
		state string
		n     int
		start time.Time
	}
	var mu sync.Mutex
	var calls []call
	dir := t.TempDir()
	apps := app(mayfly.Trigger{Batch: 1, Tumbling: mayfly.Duration(2 * time.Second)})
	fn := func(_ context.Context, c *trigger.Call) ([]byte, error) {
		var e Event
		if err := json.Unmarshal(c.Event, &e); err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, call{*e.Final, string(e.State), len(e.Records), e.Window.Start})
		var state struct{ Count int }
		if err := json.Unmarshal(e.State, &state); err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, `{"state":{"Count":%d}}`, state.Count+len(e.Records)), nil
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(calls) }
	r := start(t, dir, apps, fn)
	r.publish("a 1")
	triggertest.Until(t, "the first is counted", func() bool { return count() >= 1 })
	r.Stop() // the state survives
	r = start(t, dir, apps, fn)
	r.publish("a 2", "a 3")
	triggertest.Until(t, "all windows are over", func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, c := range calls {
			n += c.n
		}
		return n == 3 && calls[len(calls)-1].final
	})
	mu.Lock()
	defer mu.Unlock()
	var total int
	for i, c := range calls {
		if i == 0 && (c.state != "{}" || c.final) {
			t.Errorf("first call: %+v", c)
		}
		if i > 0 && calls[i-1].final && c.state != "{}" {
			t.Errorf("a window begins with the state %s", c.state)
		}
		if i > 0 && !c.start.Equal(calls[i-1].start) && !calls[i-1].final {
			t.Errorf("a window ended without its last call")
		}
		if c.final {
			var state struct{ Count int }
			if err := json.Unmarshal([]byte(c.state), &state); err != nil || c.n != 0 {
				t.Errorf("last call: %+v", c)
			}
			total += state.Count
		}
	}
	if total != 3 {
		t.Errorf("the windows counted %d of 3: %+v", total, calls)
	}
}

func TestCheck(t *testing.T) {
	d := New(Config{})
	m := &mayfly.Manifest{Topics: map[string]*mayfly.Topic{"t": nil}}
	for _, c := range []struct {
		trig mayfly.Trigger
		want string
	}{
		{mayfly.Trigger{Stream: "t", Batch: 100, Partitions: 8, Start: "2026-05-01T00:00:00Z", Tumbling: mayfly.Duration(time.Minute)}, ""},
		{mayfly.Trigger{Stream: "u"}, "declares no topic"},
		{mayfly.Trigger{Stream: "t", Match: json.RawMessage(`[]`)}, "pattern"},
		{mayfly.Trigger{Stream: "t", Start: "soon"}, "start"},
		{mayfly.Trigger{Stream: "t", Batch: -1}, "batch"},
		{mayfly.Trigger{Stream: "t", Partitions: 1000}, "partitions"},
		{mayfly.Trigger{Stream: "t", Window: mayfly.Duration(time.Hour)}, "window"},
		{mayfly.Trigger{Stream: "t", Tumbling: mayfly.Duration(time.Hour)}, "tumbling_window"},
		{mayfly.Trigger{Stream: "t", Attempts: -1}, "attempts"},
	} {
		err := d.Check(m, "fn", &c.trig)
		if c.want == "" && err != nil || c.want != "" && (mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v; want %q", c.trig, err, c.want)
		}
	}
}

// A stream shows how far each partition is, and what holds one up.
func TestShowsWhereItIs(t *testing.T) {
	g := &got{}
	var mended atomic.Bool
	r := start(t, "", app(mayfly.Trigger{Attempts: 1000, Partitions: 2}), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if _, names := g.note(t, c); names[0] == "a 1" && !mended.Load() {
			return nil, &mayfly.FunctionError{Type: "Boom", Message: "no"}
		}
		return nil, nil
	})
	do := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerAdmin}, r.Register)
	list := func() (string, []PartitionInfo) {
		var out struct{ Streams []Info }
		status, body := do("GET", "/v1/apps/app/streams", "")
		if err := json.Unmarshal([]byte(body), &out); err != nil || status != 200 || len(out.Streams) != 1 {
			t.Fatal(status, body, err)
		}
		return body, out.Streams[0].Partitions
	}
	r.publish("a 1")
	triggertest.Until(t, "it says that it fails", func() bool {
		body, parts := list()
		return len(parts) == 2 && strings.Count(body, "Boom: no") == 1 && strings.Count(body, `"behind"`) == 1
	})
	mended.Store(true)
	triggertest.Until(t, "nothing is behind", func() bool {
		body, parts := list()
		return !strings.Contains(body, "Boom") && !strings.Contains(body, `"behind"`) && parts[0].Position == "2.0" && parts[1].Position == parts[0].Position
	})
	function := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerFunction, App: "app", Function: "fn"}, r.Register)
	if status, body := function("GET", "/v1/apps/app/streams", ""); status != 403 { // nobody grants it that
		t.Error(status, body)
	}
	if status, body := do("GET", "/v1/apps/other/streams", ""); status != 200 || !strings.Contains(body, `"streams":[]`) {
		t.Error(status, body)
	}
}
