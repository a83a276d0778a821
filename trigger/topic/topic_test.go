package topic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rig struct {
	*triggertest.Rig
	*Driver
	t testing.TB
}

type secrets map[string]string

func (s secrets) Secret(_ context.Context, _ mayfly.AppName, name string) (string, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	return "", fmt.Errorf("no secret %s", name)
}

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func start(t testing.TB, dir string, apps *triggertest.Apps, call triggertest.Invoker) *rig {
	t.Helper()
	r := &rig{Rig: triggertest.New(t, dir, apps), t: t}
	var logs []string
	for i := range 4 {
		logs = append(logs, engine.LogName("DELIVER", i))
	}
	if call == nil {
		call = func(context.Context, *trigger.Call) ([]byte, error) { return nil, nil }
	}
	r.Driver = New(Config{
		Journal: r.Journal(), Store: r.Store(logs...), Dead: r.Dead, Invoker: call, Apps: apps, Records: r.Bucket("runtime"),
		Secrets: secrets{"S": hookSecret}, Drain: 30 * time.Second,
	})
	r.apply()
	r.Rig.Run(r.Driver.Run)
	return r
}

func (r *rig) apply() {
	r.t.Helper()
	if err := r.Driver.Apply(context.Background(), r.Apps.Bindings(mayfly.TriggerTopic)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) publish(topic string, data ...string) []Published {
	r.t.Helper()
	var events []*mayfly.CloudEvent
	for _, d := range data {
		events = append(events, &mayfly.CloudEvent{Data: json.RawMessage(d)})
	}
	out, err := r.Publish(context.Background(), "app", topic, mayfly.NewTrace(), 0, events...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// app declares topics that functions subscribe to.
func app(fns map[mayfly.FunctionName]mayfly.Trigger, topics ...string) *mayfly.Manifest {
	m := &mayfly.Manifest{App: "app", Topics: map[string]*mayfly.Topic{}, Functions: map[mayfly.FunctionName]*mayfly.Function{}}
	for _, name := range topics {
		m.Topics[name] = nil
	}
	for name, t := range fns {
		m.Functions[name] = &mayfly.Function{On: []mayfly.Trigger{t}}
	}
	return m
}

// calls collects the events that functions get.
type calls struct {
	mu  sync.Mutex
	got []string // "FUNCTION DATA"
	all []*trigger.Call
}

func (c *calls) call(_ context.Context, call *trigger.Call) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var e struct{ Data json.RawMessage }
	_ = json.Unmarshal(call.Event, &e)
	c.got = append(c.got, string(call.Function)+" "+string(e.Data))
	c.all = append(c.all, call)
	return nil, nil
}

func (c *calls) sorted() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(c.got)
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (c *calls) await(t testing.TB, want string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for c.sorted() != want {
		if time.Now().After(deadline) {
			t.Fatalf("came: %s; want %s", c.sorted(), want)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFanOut(t *testing.T) {
	c := &calls{}
	r := start(t, "", triggertest.Deploy(app(map[mayfly.FunctionName]mayfly.Trigger{
		"all":   {Topic: "**"},
		"order": {Topic: "order.*"},
		"big":   {Topic: "order.created", Match: json.RawMessage(`{"data":{"total":[{"numeric":[">",100]}]}}`)},
	}, "order.created", "order.paid", "ping")), c.call)
	trace := mayfly.NewTrace()
	if _, err := r.Publish(context.Background(), "app", "order.created", trace, 2, &mayfly.CloudEvent{Data: json.RawMessage(`{"total":250}`), Subject: "s"}); err != nil {
		t.Fatal(err)
	}
	r.publish("order.created", `{"total":5}`)
	r.publish("order.paid", `1`)
	r.publish("ping", `2`)
	c.await(t, `all 1, all 2, all {"total":250}, all {"total":5}, big {"total":250}, order 1, order {"total":250}, order {"total":5}`)
	for _, call := range c.all {
		if call.Function != "big" {
			continue
		}
		var e mayfly.CloudEvent
		if err := json.Unmarshal(call.Event, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != "order.created" || e.SpecVersion != "1.0" || e.ID == "" || e.Source != "/apps/app" || e.Subject != "s" || e.Time.IsZero() {
			t.Errorf("%s", call.Event)
		}
		if call.Trace.ID != trace.ID || call.Trace.Parent != trace.Span || call.Hops != 2 || call.Trigger != mayfly.TriggerTopic || call.Route != "order.created" {
			t.Errorf("%+v", call)
		}
	}
}

// A subscriber that hangs or fails holds no other.
func TestSlowSubscriberHoldsItselfOnly(t *testing.T) {
	release := make(chan struct{})
	var quick atomic.Int32
	r := start(t, "", triggertest.Deploy(app(map[mayfly.FunctionName]mayfly.Trigger{"slow": {Topic: "t"}, "broken": {Topic: "t"}, "quick": {Topic: "t"}}, "t")),
		func(_ context.Context, call *trigger.Call) ([]byte, error) {
			switch call.Function {
			case "slow":
				<-release
			case "broken":
				return nil, &mayfly.FunctionError{Message: "no"}
			case "quick":
				quick.Add(1)
			}
			return nil, nil
		})
	for i := range 200 {
		r.publish("t", fmt.Sprint(i))
	}
	triggertest.Until(t, "the quick one has all", func() bool { return quick.Load() == 200 })
	close(release)
}

func TestAttemptsAndRedrive(t *testing.T) {
	var n atomic.Int32
	var healthy atomic.Bool
	r := start(t, "", triggertest.Deploy(app(map[mayfly.FunctionName]mayfly.Trigger{"fn": {Topic: "t", Attempts: 1}}, "t")), func(context.Context, *trigger.Call) ([]byte, error) {
		n.Add(1)
		if healthy.Load() {
			return nil, nil
		}
		return nil, &mayfly.FunctionError{Type: "Boom", Message: "no"}
	})
	r.publish("t", `{"a":1}`)
	triggertest.Until(t, "the event is dead", func() bool { return r.Dead.Count("app", "topic/t") == 1 })
	letters, err := r.Dead.List(context.Background(), event.DeadFilter{Source: "topic/t"})
	if err != nil || letters[0].Function != "fn" || letters[0].Error != "Boom: no" || letters[0].Attempts != 1 || !strings.Contains(string(letters[0].Body), `{"a":1}`) {
		t.Fatalf("%+v, %v", letters[0], err)
	}
	healthy.Store(true)
	if err := r.Revive(context.Background(), letters[0], ""); err != nil {
		t.Fatal(err)
	}
	triggertest.Until(t, "it came again", func() bool { return n.Load() == 2 })
}

func TestBatchAndPartialFailure(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	r := start(t, "", triggertest.Deploy(app(map[mayfly.FunctionName]mayfly.Trigger{"fn": {Topic: "t", Batch: 10, Attempts: 2}}, "t")), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		var events []struct {
			ID   string
			Data int
		}
		if err := json.Unmarshal(c.Event, &events); err != nil {
			return nil, err
		}
		var failed []map[string]string
		for _, e := range events {
			got[fmt.Sprint(e.Data)]++
			if e.Data == 3 {
				failed = append(failed, map[string]string{"itemIdentifier": e.ID})
			}
		}
		return json.Marshal(map[string]any{"batchItemFailures": failed})
	})
	r.publish("t", "1", "2", "3", "4")
	triggertest.Until(t, "the failing one is dead", func() bool { return r.Dead.Count("app", "topic/t") == 1 })
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(got) != "map[1:1 2:1 3:2 4:1]" {
		t.Error(got)
	}
}

// What was published before a stop is dispatched after it, once.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	c := &calls{}
	apps := triggertest.Deploy(app(map[mayfly.FunctionName]mayfly.Trigger{"fn": {Topic: "t"}}, "t"))
	r := start(t, dir, apps, c.call)
	r.publish("t", "1", "2")
	c.await(t, "fn 1, fn 2")
	r.Stop()
	r = start(t, dir, apps, c.call)
	r.publish("t", "3")
	c.await(t, "fn 1, fn 2, fn 3")
	r.Stop()
	// What a node that is down publishes no more, another may: here the journal
	// alone runs.
	half := triggertest.New(t, dir, apps)
	if err := half.Journal().Append(context.Background(), &event.Published{App: "app", Topic: "t", Body: []byte(`{"id":"x","data":4}`)}); err != nil {
		t.Fatal(err)
	}
	half.Stop()
	start(t, dir, apps, c.call)
	c.await(t, "fn 1, fn 2, fn 3, fn 4")
}

func TestReplay(t *testing.T) {
	c := &calls{}
	apps := triggertest.Deploy(app(map[mayfly.FunctionName]mayfly.Trigger{"a": {Topic: "t"}, "b": {Topic: "t"}}, "t"))
	r := start(t, "", apps, c.call)
	first := r.publish("t", "1", "2")
	r.publish("t", "3")
	c.await(t, "a 1, a 2, a 3, b 1, b 2, b 3")
	ctx := context.Background()
	n, err := r.Replay(ctx, "app", "t", "a", event.Position{Seq: 1}, first[1].ID, time.Time{})
	if err != nil || n != 2 {
		t.Fatal(n, err)
	}
	c.await(t, "a 1, a 2, a 2, a 3, a 3, b 1, b 2, b 3")
	at, err := r.Driver.position(ctx, time.Now().Add(time.Hour).Format(time.RFC3339))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Replay(ctx, "app", "t", "b", at, "", time.Time{}); err != nil || n != 0 {
		t.Error(n, err)
	}
	// A new function may be given what was published before it.
	apps.Set(app(map[mayfly.FunctionName]mayfly.Trigger{"late": {Topic: "t", Name: "x"}}, "t"))
	r.apply()
	if n, err := r.Replay(ctx, "app", "t", "late.x", event.Position{Seq: 1}, "", time.Time{}); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	c.await(t, "a 1, a 2, a 2, a 3, a 3, b 1, b 2, b 3, late 1, late 2, late 3")
	if _, err := r.Replay(ctx, "app", "t", "gone", event.Position{Seq: 1}, "", time.Time{}); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Error(err)
	}
	if _, err := r.Replay(ctx, "app", "t", "late", event.Position{Seq: 1}, "no-such-id", time.Time{}); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	m := app(nil, "t", "typed")
	m.Topics["typed"] = &mayfly.Topic{Schema: "x.json", SchemaBody: json.RawMessage(`{"type":"object","required":["total"],"properties":{"total":{"type":"number"}}}`)}
	r := start(t, "", triggertest.Deploy(m), nil)
	ctx := context.Background()
	for _, c := range []struct {
		topic string
		hops  int
		e     mayfly.CloudEvent
		code  mayfly.Code
		want  string
	}{
		{"gone", 0, mayfly.CloudEvent{}, mayfly.NotFound, "[t typed]"},
		{"t", 0, mayfly.CloudEvent{Type: "other"}, mayfly.Invalid, "type"},
		{"t", 0, mayfly.CloudEvent{SpecVersion: "0.3"}, mayfly.Invalid, "specversion"},
		{"t", 0, mayfly.CloudEvent{Data: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}, mayfly.TooLarge, "over the limit"},
		{"t", mayfly.MaxHops + 1, mayfly.CloudEvent{}, mayfly.Invalid, "cycle"},
		{"typed", 0, mayfly.CloudEvent{}, mayfly.Invalid, "event 1"},
		{"typed", 0, mayfly.CloudEvent{Data: json.RawMessage(`{"total":"5"}`)}, mayfly.Invalid, "data.total: got string, want number"},
		{"typed", 0, mayfly.CloudEvent{Data: json.RawMessage(`{"total":5}`)}, "", ""},
	} {
		_, err := r.Publish(ctx, "app", c.topic, mayfly.NewTrace(), c.hops, &c.e)
		if mayfly.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v; want %s %q", c.topic, c.e.Type, err, c.code, c.want)
		}
	}
	if n := r.Dead.Count("app", "topic/t"); n != 1 {
		t.Errorf("%d dead letters of a cycle", n)
	}
}

func TestSchemaVersions(t *testing.T) {
	m := app(nil, "t")
	schema := func(text string) *mayfly.Manifest {
		next := app(nil, "t")
		next.Topics["t"] = &mayfly.Topic{Schema: "t.json", SchemaBody: json.RawMessage(text)}
		return next
	}
	const one = `{"type":"object","properties":{"a":{"type":"string"}}}`
	const two = `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}`
	apps := triggertest.Deploy(m)
	r := start(t, "", apps, nil)
	declared := Declared{r.Driver}
	for _, text := range []string{one, one + " ", two} {
		if err := declared.Check(schema(text)); err != nil {
			t.Fatal(err)
		}
		apps.Set(schema(text))
		r.apply()
	}
	versions, err := r.Schemas(context.Background(), "app", "t")
	if err != nil || len(versions) != 2 || versions[1].Version != 2 {
		t.Errorf("%+v, %v", versions, err)
	}
	breaking := schema(`{"type":"object","required":["b"],"properties":{"a":{"type":"string"},"b":{"type":"string"}}}`)
	if err := declared.Check(breaking); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), `"b" is required now`) {
		t.Error(err)
	}
	breaking.Topics["t"].Compatibility = "none"
	if err := declared.Check(breaking); err != nil {
		t.Error(err)
	}
}

// receiver is a server that outgoing webhooks are sent to.
type receiver struct {
	mu     sync.Mutex
	status int
	got    []string // bodies whose signature holds
	bad    []error
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	wh, err := standardwebhooks.NewWebhook(hookSecret)
	if err == nil {
		err = wh.Verify(body, req.Header)
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if err != nil {
		rc.bad = append(rc.bad, err)
	}
	rc.got = append(rc.got, string(body))
	w.WriteHeader(rc.status)
}

func (rc *receiver) set(status int) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.status = status
}

func (rc *receiver) count() int {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return len(rc.got)
}

func TestOutgoingWebhook(t *testing.T) {
	rc := &receiver{status: 204}
	srv := httptest.NewServer(rc)
	t.Cleanup(srv.Close)
	m := app(nil, "order.created")
	m.Webhooks = map[string]*mayfly.Webhook{"erp": {URL: srv.URL, Topic: "order.*", Secret: "S", Attempts: 1}}
	dir := t.TempDir()
	apps := triggertest.Deploy(m)
	r := start(t, dir, apps, nil)
	if err := (Declared{r.Driver}).Check(m); err != nil {
		t.Fatal(err)
	}
	r.publish("order.created", `{"n":1}`)
	triggertest.Until(t, "it is delivered", func() bool { return rc.count() == 1 })
	if len(rc.bad) > 0 || !strings.Contains(rc.got[0], `"data":{"n":1}`) {
		t.Error(rc.bad, rc.got)
	}
	rc.set(500)
	r.publish("order.created", `{"n":2}`)
	triggertest.Until(t, "it is dead", func() bool { return r.Dead.Count("app", "topic/order.created") == 1 })
	triggertest.Until(t, "failures are noted", func() bool { h := r.Hooks("app"); return len(h) == 1 && h[0].Failing != nil && h[0].Disabled == "" })

	rc.set(410)
	r.publish("order.created", `{"n":3}`)
	triggertest.Until(t, "it is disabled", func() bool { return r.Hooks("app")[0].Disabled != "" })
	triggertest.Until(t, "the event is dead", func() bool { return r.Dead.Count("app", "topic/order.created") == 2 })
	triggertest.Until(t, "nothing waits", func() bool { return r.Hooks("app")[0].Waiting == 0 })
	r.publish("order.created", `{"n":4}`)
	triggertest.Until(t, "an event waits", func() bool { return r.Hooks("app")[0].Waiting == 1 })
	r.Stop()

	rc.set(200)
	r = start(t, dir, apps, nil)
	if h := r.Hooks("app")[0]; h.Disabled == "" || rc.count() != 3 {
		t.Errorf("after a restart: %+v, %d deliveries", h, rc.count())
	}
	if err := r.EnableHook(context.Background(), "app", "erp"); err != nil {
		t.Fatal(err)
	}
	triggertest.Until(t, "it is delivered", func() bool { return rc.count() == 4 })
	if err := r.EnableHook(context.Background(), "app", "gone"); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Error(err)
	}
}

// Nothing but failures for long disables a webhook.
func TestWebhookDisabledAfter(t *testing.T) {
	rc := &receiver{status: 500}
	srv := httptest.NewServer(rc)
	t.Cleanup(srv.Close)
	m := app(nil, "t")
	m.Webhooks = map[string]*mayfly.Webhook{"erp": {URL: srv.URL, Topic: "t", Secret: "S", Attempts: 1, DisableAfter: 1}}
	r := start(t, "", triggertest.Deploy(m), nil)
	r.publish("t", "1")
	triggertest.Until(t, "the first fails", func() bool { return r.Hooks("app")[0].Failing != nil })
	r.publish("t", "2")
	triggertest.Until(t, "it is disabled", func() bool { return strings.Contains(r.Hooks("app")[0].Disabled, "nothing but failures") })

	// What waits is kept as long as events are.
	triggertest.Until(t, "both are dead", func() bool { return r.Dead.Count("app", "topic/t") == 2 && r.Hooks("app")[0].Waiting == 0 })
	r.publish("t", "3")
	triggertest.Until(t, "it waits", func() bool { return r.Hooks("app")[0].Waiting == 1 })
	r.forget(context.Background(), time.Now().Add(DefaultRetention-time.Hour))
	if r.Hooks("app")[0].Waiting == 0 {
		t.Error("an event is dropped too early")
	}
	r.forget(context.Background(), time.Now().Add(DefaultRetention+time.Hour))
	if n := r.Hooks("app")[0].Waiting; n != 0 {
		t.Errorf("%d old events still wait", n)
	}
}

func TestCheck(t *testing.T) {
	r := New(Config{Apps: triggertest.Deploy()})
	m := app(nil, "order.created")
	for _, c := range []struct {
		t    mayfly.Trigger
		want string
	}{
		{mayfly.Trigger{Topic: "order.*", Batch: 10, Match: json.RawMessage(`{"data":{"a":[1]}}`), Transform: json.RawMessage(`{"id":"$.data.id"}`)}, ""},
		{mayfly.Trigger{Topic: "order..x"}, "not a topic"},
		{mayfly.Trigger{Topic: "orders.*"}, "no topic of the app"},
		{mayfly.Trigger{Topic: "order.*", Match: json.RawMessage(`{"data":{"a":1}}`)}, "data.a"},
		{mayfly.Trigger{Topic: "order.*", Transform: json.RawMessage(`{"id":"$.data..id"}`)}, "not a path"},
		{mayfly.Trigger{Topic: "order.*", Batch: 1001}, "batch"},
		{mayfly.Trigger{Topic: "order.*", Attempts: -1}, "attempts"},
	} {
		err := r.Check(m, "fn", &c.t)
		if c.want == "" && err != nil || c.want != "" && (mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v; want %q", c.t, err, c.want)
		}
	}
	for want, bad := range map[string]*mayfly.Manifest{
		"cannot name a topic": {Topics: map[string]*mayfly.Topic{"a b": nil}},
		"retention":           {Topics: map[string]*mayfly.Topic{"a": {Retention: 1}}},
		"compatibility":       {Topics: map[string]*mayfly.Topic{"a": {Compatibility: "some"}}},
		"was not read":        {Topics: map[string]*mayfly.Topic{"a": {Schema: "x"}}},
		"read schema":         {Topics: map[string]*mayfly.Topic{"a": {Schema: "x", SchemaBody: json.RawMessage(`{"type":3}`)}}},
		"needs url":           {Webhooks: map[string]*mayfly.Webhook{"w": nil}},
		"not an address":      {Webhooks: map[string]*mayfly.Webhook{"w": {URL: "ftp://x"}}},
		"no topic of the app": {Webhooks: map[string]*mayfly.Webhook{"w": {URL: "https://x", Topic: "t"}}},
		"secret is missing":   {Topics: map[string]*mayfly.Topic{"t": nil}, Webhooks: map[string]*mayfly.Webhook{"w": {URL: "https://x", Topic: "t"}}},
	} {
		if err := (Declared{r}).Check(bad); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, topic string
		want           bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"*", "a", true}, {"*", "a.b", false},
		{"**", "a.b.c", true}, {"a.**", "a", true}, {"a.**", "a.b.c", true}, {"a.**.z", "a.z", true}, {"a.**.z", "a.b.c.z", true}, {"a.**.z", "a.b", false}, {"**.x.**", "a.x", true},
	} {
		if got := matches(c.pattern, c.topic); got != c.want {
			t.Errorf("%s on %s: %v", c.pattern, c.topic, got)
		}
	}
}

func TestTransform(t *testing.T) {
	e, err := numbers([]byte(`{"id":"1","data":{"total":12.50,"lines":[{"sku":"a"},{"sku":"b"}],"name":"Ann"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for template, want := range map[string]string{
		`"$.data.total"`:                                      `12.50`,
		`{"a":["$.id","$.data.lines[1]"]}`:                    `{"a":["1",{"sku":"b"}]}`,
		`"$.data.lines[7].sku"`:                               `null`,
		`"$.data.gone.deep"`:                                  `null`,
		`"Hello <$.data.name>, <$.data.total> and <$.gone>."`: `"Hello Ann, 12.50 and ."`,
		`"$5 for <$.data.lines[0].sku>"`:                      `"$5 for a"`,
		`{"text":"plain","n":1,"b":null}`:                     `{"b":null,"n":1,"text":"plain"}`,
		`"$"`:                                                 `{"data":{"lines":[{"sku":"a"},{"sku":"b"}],"name":"Ann","total":12.50},"id":"1"}`,
	} {
		shape, err := compileTransform([]byte(template))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := shape.apply(e); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", template, got, err, want)
		}
	}
}

func TestTransformedCall(t *testing.T) {
	got := make(chan string, 1)
	r := start(t, "", triggertest.Deploy(app(map[mayfly.FunctionName]mayfly.Trigger{"fn": {Topic: "t", Transform: json.RawMessage(`{"id":"$.data.id"}`)}}, "t")),
		func(_ context.Context, c *trigger.Call) ([]byte, error) { got <- string(c.Event); return nil, nil })
	r.publish("t", `{"id":7}`)
	if s := <-got; s != `{"id":7}` {
		t.Error(s)
	}
}

// own lets functions of an app do all to its topics, and nothing else.
type own struct{}

func (own) Authorize(_ context.Context, who mayfly.Caller, app mayfly.AppName, verb, kind, name string) error {
	if kind == "topic" && app == who.App {
		return nil
	}
	return mayfly.Errorf(mayfly.Denied, "", "not allowed: %s %s/%s", verb, kind, name)
}

func TestHTTP(t *testing.T) {
	c := &calls{}
	m := app(map[mayfly.FunctionName]mayfly.Trigger{"fn": {Topic: "t"}}, "t")
	m.Topics["t"] = &mayfly.Topic{Schema: "t.json", SchemaBody: json.RawMessage(`{"type":["object","integer"],"properties":{"n":{"type":"integer"}}}`)}
	r := start(t, "", triggertest.Deploy(m), c.call)
	r.cfg.Authorize = own{}
	do := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerFunction, App: "app", Function: "pub"}, r.Register)
	const events = "/v1/apps/app/topics/t/events"
	for name, req := range map[string]struct {
		body    string
		headers []string
		want    int
	}{
		"plain":      {`{"n":1}`, nil, 200},
		"structured": {`{"specversion":"1.0","type":"t","source":"/s","id":"s","data":{"n":2},"ext":"x"}`, []string{"Content-Type: application/cloudevents+json"}, 200},
		"binary":     {`{"n":3}`, []string{"ce-specversion: 1.0", "ce-type: t", "ce-source: /s", "ce-id: b"}, 200},
		"batch":      {`[{"specversion":"1.0","type":"t","source":"/s","id":"b1","data":{"n":4}},{"specversion":"1.0","type":"t","source":"/s","id":"b2","data":{"n":5}}]`, []string{"Content-Type: application/cloudevents-batch+json"}, 200},
		"wrong type": {`{"specversion":"1.0","type":"u","source":"/s","id":"s"}`, []string{"Content-Type: application/cloudevents+json"}, 400},
		"not JSON":   {`{`, nil, 400},
		"breaks":     {`{"n":"x"}`, nil, 400},
	} {
		if status, reply := do("POST", events, req.body, req.headers...); status != req.want {
			t.Errorf("%s: %d %s", name, status, reply)
		}
	}
	c.await(t, `fn {"n":1}, fn {"n":2}, fn {"n":3}, fn {"n":4}, fn {"n":5}`)
	for _, call := range c.all {
		if call.Hops != 1 {
			t.Errorf("a function's event has %d hops", call.Hops)
		}
	}
	if status, reply := do("GET", events, ""); status != 200 || strings.Count(reply, `"position"`) != 5 || !strings.Contains(reply, "/apps/app/functions/pub") || !strings.Contains(reply, `"ext":"x"`) {
		t.Error(status, reply)
	}
	if status, reply := do("GET", events+"?limit=2", ""); status != 200 || !strings.Contains(reply, `"next":"`) {
		t.Error(status, reply)
	}
	if status, reply := do("POST", "/v1/apps/app/topics/t/replay", `{"subscription":"fn","from":"2020-01-01T00:00:00Z"}`); status != 200 || !strings.Contains(reply, `"events":5`) {
		t.Error(status, reply)
	}
	for _, get := range []struct{ path, want string }{
		{"/topics", `"schema_version":1`}, {"/topics/t/schemas", `"version":1`}, {"/topics/t/stub?language=go", "type T struct"},
		{"/asyncapi", `"deliverTToFn"`}, {"/webhooks", `"webhooks":[]`},
	} {
		if status, reply := do("GET", "/v1/apps/app"+get.path, ""); status != 200 || !strings.Contains(reply, get.want) {
			t.Error(get.path, status, reply)
		}
	}
	for path, want := range map[string]int{"/topics/gone/events": 404, "/topics/t/events?from=soon": 400} {
		if status, reply := do("GET", "/v1/apps/app"+path, ""); status != want {
			t.Error(path, status, reply)
		}
	}
}
