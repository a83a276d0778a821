package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

type rig struct {
	*triggertest.Rig
	*Driver
	t testing.TB
}

func start(t testing.TB, dir string, apps *triggertest.Apps, call triggertest.Invoker) *rig {
	t.Helper()
	r := &rig{Rig: triggertest.New(t, dir, apps), t: t}
	var logs []string
	for i := range engine.Shards {
		logs = append(logs, engine.LogName("QUEUE", i))
	}
	if call == nil {
		call = func(context.Context, *trigger.Call) ([]byte, error) { return nil, nil }
	}
	r.Driver = New(Config{Store: r.Store(logs...), Dead: r.Dead, Invoker: call, Apps: apps, Paused: r.Bucket("runtime"), Drain: 30 * time.Second})
	r.apply()
	r.Rig.Run(r.Driver.Run)
	return r
}

func (r *rig) apply() {
	r.t.Helper()
	if err := r.Driver.Apply(context.Background(), r.Apps.Bindings(mayfly.TriggerQueue)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) send(queue string, messages ...*mayfly.Message) []Sent {
	r.t.Helper()
	sent, err := r.Send(context.Background(), "app", queue, messages...)
	if err != nil {
		r.t.Fatal(err)
	}
	return sent
}

func (r *rig) empty(queue string) {
	r.t.Helper()
	triggertest.Until(r.t, queue+" is empty", func() bool {
		info, err := r.Info("app", queue)
		return err == nil && info.Messages == 0
	})
}

// app declares one queue, jobs, that fn receives from.
func app(q *mayfly.Queue, t mayfly.Trigger) *mayfly.Manifest {
	t.Queue = "jobs"
	if q.Backoff == "" {
		q.Backoff = "1ms..2ms"
	}
	return &mayfly.Manifest{
		App:       "app",
		Queues:    map[string]*mayfly.Queue{"jobs": q, "other": {}, "dead": nil},
		Functions: map[mayfly.FunctionName]*mayfly.Function{"fn": {On: []mayfly.Trigger{t}}},
	}
}

// without is the app without its function.
func without(m *mayfly.Manifest) *mayfly.Manifest {
	m.Functions = nil
	return m
}

func message(body string) *mayfly.Message { return &mayfly.Message{Body: json.RawMessage(body)} }

func decode(t testing.TB, c *trigger.Call) Event {
	t.Helper()
	var e Event
	if err := json.Unmarshal(c.Event, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestShapeOfEvent(t *testing.T) {
	calls := make(chan *trigger.Call, 10)
	r := start(t, "", triggertest.Deploy(app(&mayfly.Queue{OrderBy: "key"}, mayfly.Trigger{Batch: 10, Window: mayfly.Duration(50 * time.Millisecond)})),
		func(_ context.Context, c *trigger.Call) ([]byte, error) { calls <- c; return nil, nil })
	trace := mayfly.NewTrace()
	text := message(`"plain text"`)
	text.Key, text.DedupID, text.Trace, text.Attributes, text.Hops = "k", "d", trace, map[string]string{"kind": "a"}, 2
	sent := r.send("jobs", text, message(`{"a": 1}`))
	c := <-calls
	r.empty("jobs")
	e := decode(t, c)
	if len(e.Records) != 2 || c.Hops != 2 || c.Trace.ID != trace.ID || c.Trace.Parent != trace.Span || c.Trigger != mayfly.TriggerQueue {
		t.Fatalf("call %+v with %d records", c, len(e.Records))
	}
	first, second := e.Records[0], e.Records[1]
	if first.Body != "plain text" || first.MessageID != sent[0].ID || first.MD5OfBody != sent[0].MD5 || first.MD5OfBody != "31bc5c2b8fd4f20cd747347b7504a385" {
		t.Errorf("%+v", first)
	}
	if first.EventSource != "aws:sqs" || first.EventSourceARN != "arn:aws:sqs:local:000000000000:app-jobs" || first.AWSRegion != "local" {
		t.Errorf("%+v", first)
	}
	for name, want := range map[string]string{
		"ApproximateReceiveCount": "1", "MessageGroupId": "k", "MessageDeduplicationId": "d", "AWSTraceHeader": trace.XRay(), "SenderId": "anonymous",
	} {
		if first.Attributes[name] != want {
			t.Errorf("%s is %q, not %q", name, first.Attributes[name], want)
		}
	}
	if first.MessageAttributes["kind"].StringValue != "a" || first.MessageAttributes["kind"].DataType != "String" {
		t.Errorf("%+v", first.MessageAttributes)
	}
	if second.Body != `{"a":1}` && second.Body != `{"a": 1}` {
		t.Errorf("body %s", second.Body)
	}
}

// Of a batch, the messages that the function names come again, and no other.
func TestPartialFailures(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	r := start(t, "", triggertest.Deploy(app(&mayfly.Queue{}, mayfly.Trigger{Batch: 10})), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		var failed []map[string]string
		for _, rec := range decode(t, c).Records {
			got[rec.Body]++
			if rec.Body == "3" && rec.Attributes["ApproximateReceiveCount"] != "3" {
				failed = append(failed, map[string]string{"itemIdentifier": rec.MessageID})
			}
		}
		return json.Marshal(map[string]any{"batchItemFailures": failed})
	})
	var all []*mayfly.Message
	for i := range 6 {
		all = append(all, message(fmt.Sprint(i)))
	}
	r.send("jobs", all...)
	r.empty("jobs")
	mu.Lock()
	defer mu.Unlock()
	for i := range 6 {
		want := 1
		if i == 3 {
			want = 3
		}
		if got[fmt.Sprint(i)] != want {
			t.Errorf("message %d came %d times", i, got[fmt.Sprint(i)])
		}
	}
}

func TestReports(t *testing.T) {
	ids := map[string]bool{"a": true, "b": true}
	for _, c := range []struct {
		reply  string
		failed string
		whole  bool
	}{
		{``, "map[]", false},
		{`null`, "map[]", false},
		{`"done"`, "map[]", false},
		{`{"batchItemFailures":[]}`, "map[]", false},
		{`{"batchItemFailures":null}`, "map[]", false},
		{`{"batchItemFailures":[{"itemIdentifier":"b"}]}`, "map[b:true]", false},
		{`{"batchItemFailures":[{"itemIdentifier":"x"}]}`, "map[]", true},
		{`{"batchItemFailures":[{"itemIdentifier":""}]}`, "map[]", true},
		{`{"batchItemFailures":[{"itemIdentifier":null}]}`, "map[]", true},
		{`{"batchItemFailures":[{"other":"b"}]}`, "map[]", true},
	} {
		failed, whole := failures([]byte(c.reply), ids)
		if fmt.Sprint(failed) != c.failed || whole != c.whole {
			t.Errorf("%s: %v, %v", c.reply, failed, whole)
		}
	}
}

func TestDeadLettersAndRedrive(t *testing.T) {
	var healthy atomic.Bool
	apps := triggertest.Deploy(app(&mayfly.Queue{Attempts: 3, DeadLetter: "dead"}, mayfly.Trigger{Batch: 5}))
	var calls atomic.Int32
	r := start(t, "", apps, func(context.Context, *trigger.Call) ([]byte, error) {
		if healthy.Load() {
			return nil, nil
		}
		return nil, &mayfly.FunctionError{Type: "Boom", Message: fmt.Sprint("call ", calls.Add(1))}
	})
	sent := r.send("jobs", message(`{"n":1}`))
	r.empty("jobs")
	letters, err := r.Dead.List(context.Background(), event.DeadFilter{App: "app", Source: "queue/jobs"})
	if err != nil || len(letters) != 1 {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	l := letters[0]
	if l.Item != sent[0].ID || l.Reason != event.DeadAttempts || l.Attempts != 3 || len(l.History) != 3 || l.Error != "Boom: call 3" || l.History[0].Invocation == "" {
		t.Errorf("%+v", l)
	}
	copies, err := r.Receive(context.Background(), "app", "dead", 10, time.Minute, 0)
	if err != nil || len(copies) != 1 || string(copies[0].Body) != `{"n":1}` || copies[0].Attributes["DeadLetterQueueSourceArn"] == "" {
		t.Errorf("the queue for dead messages has %+v, %v", copies, err)
	}
	healthy.Store(true)
	for range 2 { // a redrive that is repeated after a crash
		if err := r.Revive(context.Background(), l, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Revive(context.Background(), l, "other"); err != nil {
		t.Fatal(err)
	}
	r.empty("jobs")
	if other, _ := r.Info("app", "other"); other.Messages != 1 {
		t.Errorf("%+v", other)
	}
	if r.Revive(context.Background(), l, "nowhere") == nil {
		t.Error("redriven to a queue that does not exist")
	}
}

// A function without capacity does not use up attempts.
func TestThrottledIsNotAnAttempt(t *testing.T) {
	var n atomic.Int32
	r := start(t, "", triggertest.Deploy(app(&mayfly.Queue{Attempts: 1}, mayfly.Trigger{})), func(context.Context, *trigger.Call) ([]byte, error) {
		if n.Add(1) < 4 {
			return nil, mayfly.Errorf(mayfly.Throttled, "", "full")
		}
		return nil, nil
	})
	r.send("jobs", message("1"))
	r.empty("jobs")
	if r.Dead.Count("app", "queue/jobs") != 0 || n.Load() != 4 {
		t.Errorf("%d calls, %d dead", n.Load(), r.Dead.Count("app", "queue/jobs"))
	}
}

// Messages of a key come in order through failures; another key goes on.
func TestOrder(t *testing.T) {
	var mu sync.Mutex
	got := map[string][]string{}
	tries := map[string]int{}
	r := start(t, "", triggertest.Deploy(app(&mayfly.Queue{OrderBy: "customer.id", Attempts: 3}, mayfly.Trigger{Batch: 3})), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		var failed []map[string]string
		for _, rec := range decode(t, c).Records {
			var body struct {
				Customer struct{ ID string }
				N        int
			}
			if err := json.Unmarshal([]byte(rec.Body), &body); err != nil {
				t.Error(err)
			}
			tries[rec.MessageID]++
			if body.Customer.ID == "poison" && body.N == 1 || tries[rec.MessageID] == 1 && body.N%3 == 0 {
				failed = append(failed, map[string]string{"itemIdentifier": rec.MessageID})
				continue
			}
			got[body.Customer.ID] = append(got[body.Customer.ID], fmt.Sprint(body.N))
		}
		return json.Marshal(map[string]any{"batchItemFailures": failed})
	})
	for n := range 10 {
		for _, key := range []string{"a", "b", "poison"} {
			r.send("jobs", message(fmt.Sprintf(`{"customer":{"id":%q},"n":%d}`, key, n)))
		}
	}
	r.empty("jobs")
	mu.Lock()
	defer mu.Unlock()
	for key, want := range map[string]string{"a": "0 1 2 3 4 5 6 7 8 9", "b": "0 1 2 3 4 5 6 7 8 9", "poison": "0 2 3 4 5 6 7 8 9"} {
		if s := strings.Join(got[key], " "); s != want {
			t.Errorf("key %s came as %s", key, s)
		}
	}
	if n := r.Dead.Count("app", "queue/jobs"); n != 1 {
		t.Errorf("%d dead letters", n)
	}
	if _, err := r.Send(context.Background(), "app", "jobs", message(`{"n":1}`)); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a message without the key: %v", err)
	}
}

func TestConcurrency(t *testing.T) {
	var running, most, done atomic.Int32
	m := app(&mayfly.Queue{Concurrency: 3}, mayfly.Trigger{MaxCalls: 2})
	m.Functions["second"] = &mayfly.Function{On: []mayfly.Trigger{{Queue: "jobs"}}}
	var mu sync.Mutex
	perFunction := map[mayfly.FunctionName]int{}
	r := start(t, "", triggertest.Deploy(m), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		mu.Lock()
		perFunction[c.Function]++
		if c.Function == "fn" && perFunction["fn"] > 2 {
			t.Error("max_concurrency is passed")
		}
		mu.Unlock()
		most.Store(max(most.Load(), running.Add(1)))
		time.Sleep(2 * time.Millisecond)
		running.Add(-1)
		done.Add(1)
		mu.Lock()
		perFunction[c.Function]--
		mu.Unlock()
		return nil, nil
	})
	for i := range 60 {
		r.send("jobs", message(fmt.Sprint(i)))
	}
	r.empty("jobs")
	if most.Load() > 3 || done.Load() != 60 {
		t.Errorf("%d calls at once, %d in all", most.Load(), done.Load())
	}
}

// What a function cannot run now waits in the queue, where it is not leased and
// says why.
func TestWaitsForCapacity(t *testing.T) {
	release := make(chan struct{})
	m := app(&mayfly.Queue{}, mayfly.Trigger{})
	m.Functions["fn"].Concurrency = mayfly.Concurrency{Max: 2}
	r := start(t, "", triggertest.Deploy(m), func(context.Context, *trigger.Call) ([]byte, error) {
		<-release
		return nil, nil
	})
	for i := range 10 {
		r.send("jobs", message(fmt.Sprint(i)))
	}
	triggertest.Until(t, "two calls run", func() bool {
		info, err := r.Info("app", "jobs")
		return err == nil && info.Running == 2 && info.Ready == 8
	})
	views, err := r.Peek(context.Background(), "app", "jobs", 20)
	if err != nil {
		t.Fatal(err)
	}
	waiting := 0
	for _, v := range views {
		if v.State == event.Available && strings.HasPrefix(v.Why, "no capacity: function fn has 2 calls in flight") {
			waiting++
		}
	}
	if waiting != 8 {
		t.Errorf("%d say that they wait for capacity: %+v", waiting, views)
	}
	close(release)
	r.empty("jobs")
}

// A message that fails poisons its key, which those behind it say.
func TestPoisonedKeySaysSo(t *testing.T) {
	m := app(&mayfly.Queue{OrderBy: "k", Backoff: "1h"}, mayfly.Trigger{})
	r := start(t, "", triggertest.Deploy(m), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if strings.Contains(string(c.Event), "bad") {
			return nil, &mayfly.FunctionError{Message: "no"}
		}
		return nil, nil
	})
	bad := r.send("jobs", message(`{"k":1,"bad":1}`))[0].ID
	triggertest.Until(t, "it fails", func() bool {
		info, err := r.Info("app", "jobs")
		return err == nil && info.Failing == 1
	})
	behind := r.send("jobs", message(`{"k":1}`))[0].ID
	r.send("jobs", message(`{"k":2}`))
	triggertest.Until(t, "the other key goes on", func() bool {
		info, err := r.Info("app", "jobs")
		return err == nil && info.Messages == 2 && info.Blocked == 1
	})
	v, err := r.Find(context.Background(), "app", "jobs", behind)
	if err != nil || v.State != event.Behind || !strings.HasPrefix(v.Why, "poisoned: behind message "+bad+` of the key "1", which failed once and is tried again at `) {
		t.Errorf("%+v, %v", v, err)
	}
}

// A deploy changes batch sizes, and removes and adds consumers.
func TestApply(t *testing.T) {
	m := app(&mayfly.Queue{}, mayfly.Trigger{})
	apps := triggertest.Deploy(m)
	calls := make(chan mayfly.FunctionName, 100)
	r := start(t, "", apps, func(_ context.Context, c *trigger.Call) ([]byte, error) { calls <- c.Function; return nil, nil })
	r.send("jobs", message("1"))
	if fn := <-calls; fn != "fn" {
		t.Error(fn)
	}
	apps.Set(&mayfly.Manifest{App: "app", Queues: m.Queues, Functions: map[mayfly.FunctionName]*mayfly.Function{"next": {On: []mayfly.Trigger{{Queue: "jobs"}}}}})
	r.apply()
	for range 20 {
		r.send("jobs", message("1"))
		if fn := <-calls; fn != "next" {
			t.Error(fn)
		}
	}
	apps.Set(&mayfly.Manifest{App: "app", Queues: m.Queues})
	r.apply()
	id := r.send("jobs", message("1"))[0].ID
	v, err := r.Find(context.Background(), "app", "jobs", id)
	if err != nil || v.State != event.Available || !strings.Contains(v.Why, "no function") {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestReceiveOverHTTP(t *testing.T) {
	r := start(t, "", triggertest.Deploy(without(app(&mayfly.Queue{Attempts: 2}, mayfly.Trigger{}))), nil)
	ctx := context.Background()
	if got, err := r.Receive(ctx, "app", "jobs", 1, 0, 0); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		_, _ = r.Send(ctx, "app", "jobs", message("1"), message("2"), message("3"))
	}()
	got, err := r.Receive(ctx, "app", "jobs", 3, time.Minute, time.Hour)
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	ack, err := r.Acknowledge(ctx, "app", "jobs", []string{got[0].Receipt, got[0].Receipt, "x", "x.y"})
	if err != nil || !ack[0].OK || ack[1].OK || ack[2].OK || ack[3].OK {
		t.Errorf("%+v, %v", ack, err)
	}
	if out, err := r.Extend(ctx, "app", "jobs", []string{got[1].Receipt}, time.Hour); err != nil || !out[0].OK {
		t.Error(out, err)
	}
	if out, err := r.Release(ctx, "app", "jobs", []string{got[1].Receipt}, 0, ""); err != nil || !out[0].OK {
		t.Error(out, err)
	}
	for attempt := 1; attempt <= 2; attempt++ {
		if out, err := r.Release(ctx, "app", "jobs", []string{got[2].Receipt}, 0, "no luck"); err != nil || !out[0].OK {
			t.Error(out, err)
		}
		if attempt == 1 {
			again, err := r.Receive(ctx, "app", "jobs", 2, time.Minute, time.Hour)
			if err != nil || len(again) != 2 || again[0].Attempt+again[1].Attempt != 3 {
				t.Fatalf("%+v, %v", again, err)
			}
			got[2] = again[1]
			if again[0].Attempt == 2 {
				got[2] = again[0]
			}
		}
	}
	letters, err := r.Dead.List(ctx, event.DeadFilter{Source: "queue/jobs"})
	if err != nil || len(letters) != 1 || letters[0].Attempts != 2 || !strings.HasPrefix(string(letters[0].Body), `{"body":3,`) {
		t.Errorf("%+v, %v", letters, err)
	}
}

func TestPauseSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	apps := triggertest.Deploy(without(app(&mayfly.Queue{}, mayfly.Trigger{})))
	r := start(t, dir, apps, nil)
	ctx := context.Background()
	for range 2 {
		if err := r.SetPaused(ctx, "app", "jobs", true); err != nil {
			t.Fatal(err)
		}
	}
	id := r.send("jobs", message("1"))[0].ID
	r.Stop()
	r = start(t, dir, apps, nil)
	if v, err := r.Find(ctx, "app", "jobs", id); err != nil || v.State != event.Halted || v.Why != "the queue is paused" {
		t.Errorf("%+v, %v", v, err)
	}
	if got, _ := r.Receive(ctx, "app", "jobs", 1, 0, 0); len(got) != 0 {
		t.Error("a paused queue gives messages")
	}
	for range 2 {
		if err := r.SetPaused(ctx, "app", "jobs", false); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := r.Receive(ctx, "app", "jobs", 1, time.Minute, 0); len(got) != 1 {
		t.Error("a resumed queue gives nothing")
	}
}

func TestRetention(t *testing.T) {
	m := without(app(&mayfly.Queue{Retention: mayfly.Duration(time.Nanosecond)}, mayfly.Trigger{}))
	r := start(t, "", triggertest.Deploy(m), nil)
	r.send("jobs", message("1"))
	if got, err := r.Receive(context.Background(), "app", "jobs", 1, 0, 0); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	letters, err := r.Dead.List(context.Background(), event.DeadFilter{Reason: event.DeadExpired})
	if err != nil || len(letters) != 1 || letters[0].Attempts != 0 {
		t.Errorf("%+v, %v", letters, err)
	}
}

// Messages that nobody receives are given up when they are too old; those for
// later count from then.
func TestRetentionWithoutReceiver(t *testing.T) {
	m := without(app(&mayfly.Queue{Retention: mayfly.Duration(time.Hour), DeadLetter: "dead"}, mayfly.Trigger{}))
	r := start(t, "", triggertest.Deploy(m), nil)
	now := time.Now()
	later := message("2")
	later.At = now.Add(2 * time.Hour)
	r.send("jobs", message("1"), later)
	count := func() (int, int) {
		info, err := r.Info("app", "jobs")
		if err != nil {
			t.Fatal(err)
		}
		return info.Messages, info.Dead
	}
	for _, c := range []struct {
		at            time.Duration
		waiting, dead int
	}{{time.Minute, 2, 0}, {90 * time.Minute, 1, 1}, {90 * time.Minute, 1, 1}} {
		r.expire(context.Background(), now.Add(c.at))
		if waiting, dead := count(); waiting != c.waiting || dead != c.dead {
			t.Errorf("after %s: %d wait and %d are dead", c.at, waiting, dead)
		}
	}
	copies, err := r.Receive(context.Background(), "app", "dead", 10, 0, 0)
	if err != nil || len(copies) != 1 || string(copies[0].Body) != "1" {
		t.Errorf("the queue for dead messages has %+v, %v", copies, err)
	}
	spec := withDefaults(m.Queues["jobs"])
	it := event.Item{Created: now, At: later.At}
	if expired(&it, &spec, now.Add(179*time.Minute)) || !expired(&it, &spec, now.Add(181*time.Minute)) {
		t.Error("a message for later does not count from then")
	}
}

func TestRefusals(t *testing.T) {
	r := start(t, "", triggertest.Deploy(without(app(&mayfly.Queue{}, mayfly.Trigger{}))), nil)
	big := message(`"` + strings.Repeat("x", 1<<20) + `"`)
	hops := message("1")
	hops.Hops = mayfly.MaxHops + 1
	far := message("1")
	far.At = time.Now().Add(400 * 24 * time.Hour)
	for _, c := range []struct {
		app   mayfly.AppName
		queue string
		m     []*mayfly.Message
		want  mayfly.Code
	}{
		{"nobody", "jobs", []*mayfly.Message{message("1")}, mayfly.NotFound},
		{"app", "jobz", []*mayfly.Message{message("1")}, mayfly.NotFound},
		{"app", "jobs", nil, mayfly.Invalid},
		{"app", "jobs", make([]*mayfly.Message, 1001), mayfly.Invalid},
		{"app", "jobs", []*mayfly.Message{message("{")}, mayfly.Invalid},
		{"app", "jobs", []*mayfly.Message{message("1"), big}, mayfly.TooLarge},
		{"app", "jobs", []*mayfly.Message{hops}, mayfly.Invalid},
		{"app", "jobs", []*mayfly.Message{far}, mayfly.Invalid},
	} {
		if _, err := r.Send(context.Background(), c.app, c.queue, c.m...); mayfly.CodeOf(err) != c.want {
			t.Errorf("%s/%s: %v; want %s", c.app, c.queue, err, c.want)
		}
	}
	if info, _ := r.Info("app", "jobs"); info.Messages != 0 || info.Dead != 1 {
		t.Errorf("%+v", info)
	}
}

func TestCheck(t *testing.T) {
	d := New(Config{})
	second := mayfly.Duration(time.Second)
	for _, c := range []struct {
		q    *mayfly.Queue
		t    mayfly.Trigger
		want string
	}{
		{nil, mayfly.Trigger{}, ""},
		{&mayfly.Queue{Visibility: second, Attempts: 1, Backoff: "1s..5m"}, mayfly.Trigger{Batch: 1000, Window: second}, ""},
		{nil, mayfly.Trigger{Queue: "gone"}, "declares no queue"},
		{nil, mayfly.Trigger{Batch: 1001}, "batch"},
		{nil, mayfly.Trigger{Window: 400 * second}, "window"},
		{nil, mayfly.Trigger{MaxCalls: -1}, "max_concurrency"},
		{&mayfly.Queue{Backoff: "soon"}, mayfly.Trigger{}, "queues.jobs.backoff"},
		{&mayfly.Queue{Attempts: -1}, mayfly.Trigger{}, "attempts"},
		{&mayfly.Queue{Visibility: 1}, mayfly.Trigger{}, "visibility"},
		{&mayfly.Queue{Retention: second}, mayfly.Trigger{}, "retention"},
		{&mayfly.Queue{Delay: mayfly.Duration(MaxDelay) + 1}, mayfly.Trigger{}, "delay"},
		{&mayfly.Queue{Concurrency: -1}, mayfly.Trigger{}, "concurrency"},
		{&mayfly.Queue{DeadLetter: "jobs"}, mayfly.Trigger{}, "its own"},
		{&mayfly.Queue{DeadLetter: "gone"}, mayfly.Trigger{}, "does not declare"},
	} {
		if c.t.Queue == "" {
			c.t.Queue = "jobs"
		}
		m := &mayfly.Manifest{Queues: map[string]*mayfly.Queue{"jobs": c.q}}
		err := errors.Join(d.Check(m, "fn", &c.t), Declared{}.Check(m))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.t, err)
		case c.want != "" && (mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v; want %q", c.t, err, c.want)
		}
	}
}

// Many queues share the fixed set of logs.
func TestThousandQueues(t *testing.T) {
	m := &mayfly.Manifest{App: "app", Queues: map[string]*mayfly.Queue{}, Functions: map[mayfly.FunctionName]*mayfly.Function{}}
	for i := range 1000 {
		name := fmt.Sprintf("q%d", i)
		m.Queues[name] = &mayfly.Queue{}
		m.Functions[mayfly.FunctionName("f"+name)] = &mayfly.Function{On: []mayfly.Trigger{{Queue: name}}}
	}
	var calls atomic.Int32
	r := start(t, "", triggertest.Deploy(m), func(_ context.Context, c *trigger.Call) ([]byte, error) { calls.Add(1); return nil, nil })
	var senders sync.WaitGroup
	for worker := range 20 {
		senders.Go(func() {
			for i := worker; i < 1000; i += 20 {
				r.send(fmt.Sprintf("q%d", i), message("1"))
			}
		})
	}
	senders.Wait()
	triggertest.Until(t, "each function was called", func() bool { return calls.Load() == 1000 })
}

// A queue for dead messages that is not there holds nothing up.
func TestDeadLetterQueueIsGone(t *testing.T) {
	m := app(&mayfly.Queue{Attempts: 1, DeadLetter: "nowhere"}, mayfly.Trigger{})
	r := start(t, "", triggertest.Deploy(m), func(context.Context, *trigger.Call) ([]byte, error) {
		return nil, &mayfly.FunctionError{Message: "no"}
	})
	r.send("jobs", message("1"))
	r.empty("jobs")
	if n := r.Dead.Count("app", "queue/jobs"); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}
