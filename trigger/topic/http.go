package topic

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/event/cloudevent"
	"github.com/mayfly-cloud/mayfly/event/contract"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Path names a topic; exported so that huma fills it.
type Path struct {
	App   mayfly.AppName `path:"app" doc:"The app that declares the topic"`
	Topic string         `path:"topic" doc:"The topic's name"`
}

// Info describes a topic.
type Info struct {
	Name          string             `json:"name"`
	Retention     string             `json:"retention"`
	SchemaVersion int                `json:"schema_version,omitempty"`
	Subscriptions []SubscriptionInfo `json:"subscriptions"`
}

// SubscriptionInfo describes who gets a topic's events.
type SubscriptionInfo struct {
	Function mayfly.FunctionName `json:"function,omitempty"`
	Webhook  string              `json:"webhook,omitempty"`
	Name     string              `json:"name" doc:"Names it in a replay"`
	Topic    string              `json:"topic" doc:"The pattern"`
	Waiting  int                 `json:"waiting" doc:"Events not delivered yet"`
	Failing  int                 `json:"failing" doc:"Of them, those that failed at least once"`
}

type appPath struct {
	App mayfly.AppName `path:"app"`
}

type listOutput struct {
	Body struct {
		Topics []Info `json:"topics"`
	}
}

type publishInput struct {
	Path
	TraceParent string `header:"traceparent"`
	Hops        string `header:"X-Mayfly-Hops"`
	RawBody     []byte
	header      http.Header
}

// Resolve keeps all headers: an event may be in them.
func (in *publishInput) Resolve(ctx huma.Context) []error {
	in.header = http.Header{}
	ctx.EachHeader(func(name, value string) { in.header.Add(name, value) })
	return nil
}

type publishOutput struct {
	Body struct {
		Events []Published `json:"events"`
	}
}

type eventsInput struct {
	Path
	From  string `query:"from" doc:"A time in RFC 3339, or a position; default the last hour"`
	Limit int    `query:"limit" default:"20" minimum:"1" maximum:"1000"`
}

// Recorded is an event of the journal.
type Recorded struct {
	Position  string          `json:"position"`
	Published time.Time       `json:"published"`
	Event     json.RawMessage `json:"event"`
}

type eventsOutput struct {
	Body struct {
		Events []Recorded `json:"events"`
		Next   string     `json:"next,omitempty" doc:"From where the following events are"`
	}
}

type replayInput struct {
	Path
	Body struct {
		Subscription string    `json:"subscription" doc:"Its name, FUNCTION, or webhook:NAME"`
		From         string    `json:"from,omitempty" doc:"A time in RFC 3339, or a position"`
		FromID       string    `json:"from_id,omitempty" doc:"Or the id of an event"`
		Until        time.Time `json:"until,omitzero" doc:"Default now"`
	}
}

type replayOutput struct {
	Body struct {
		Events int `json:"events" doc:"That were put before the subscription again"`
	}
}

type schemaOutput struct {
	Body struct {
		Versions []SchemaVersion `json:"versions"`
	}
}

type stubInput struct {
	Path
	Language string `query:"language" enum:"python,typescript,go" required:"true"`
}

type textOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type hooksOutput struct {
	Body struct {
		Webhooks []HookInfo `json:"webhooks"`
	}
}

// HookPath names an outgoing webhook; exported so that huma fills it.
type HookPath struct {
	App  mayfly.AppName `path:"app"`
	Name string         `path:"name"`
}

// Register adds the operations on topics and outgoing webhooks.
func (d *Driver) Register(api huma.API) {
	const base = "/v1/apps/{app}"
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: base + path, Summary: summary, Tags: []string{"Topics"}, MaxBodyBytes: 8 << 20}
	}
	huma.Register(api, op("list-topics", http.MethodGet, "/topics", "List an app's topics with their subscriptions"), d.httpList)
	huma.Register(api, op("publish-events", http.MethodPost, "/topics/{topic}/events", "Publish: a CloudEvent (structured, binary, batch), or any JSON as its data"), d.httpPublish)
	huma.Register(api, op("list-events", http.MethodGet, "/topics/{topic}/events", "Show events that were published"), d.httpEvents)
	huma.Register(api, op("replay-events", http.MethodPost, "/topics/{topic}/replay", "Put events before one subscription again"), d.httpReplay)
	huma.Register(api, op("list-schemas", http.MethodGet, "/topics/{topic}/schemas", "List the versions of a topic's schema"), d.httpSchemas)
	huma.Register(api, op("get-stub", http.MethodGet, "/topics/{topic}/stub", "Write types for a topic's events"), d.httpStub)
	huma.Register(api, op("get-asyncapi", http.MethodGet, "/asyncapi", "Describe an app's topics as AsyncAPI"), d.httpAsyncAPI)
	huma.Register(api, op("list-webhooks", http.MethodGet, "/webhooks", "List an app's outgoing webhooks"), d.httpHooks)
	huma.Register(api, op("enable-webhook", http.MethodPost, "/webhooks/{name}/enable", "Let a disabled webhook deliver again"), d.httpEnable)
}

func (d *Driver) may(ctx context.Context, app mayfly.AppName, verb, topic string) error {
	return mayfly.Authorize(ctx, d.cfg.Authorize, app, verb, "topic", topic)
}

// all are an app's subscriptions, by name.
func (d *Driver) all(app mayfly.AppName) []*subscription {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*subscription
	for lane, s := range d.subs {
		if a, _, _ := cutLane(lane); a == app {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *subscription) int { return strings.Compare(a.lane, b.lane) })
	return out
}

func (s *subscription) info() SubscriptionInfo {
	stats := s.driver.cfg.Store.Lane(s.lane).Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	_, name, hook := cutLane(s.lane)
	info := SubscriptionInfo{Name: name, Topic: s.topic, Waiting: stats.Total, Failing: stats.Failing}
	if hook {
		info.Webhook, info.Name = name, "webhook:"+name
	} else {
		info.Function = s.binding.Function
	}
	return info
}

func (d *Driver) httpList(ctx context.Context, in *appPath) (*listOutput, error) {
	m, ok := d.cfg.Apps.Manifest(in.App)
	if !ok {
		return nil, mayfly.Errorf(mayfly.NotFound, "list topics", "there is no app %s", in.App)
	}
	out := &listOutput{}
	out.Body.Topics = []Info{}
	for name := range m.Topics {
		if d.may(ctx, in.App, "read", name) != nil {
			continue
		}
		t, err := d.declared(in.App, name)
		if err != nil {
			return nil, err
		}
		info := Info{Name: name, Retention: t.Retention.String(), Subscriptions: []SubscriptionInfo{}}
		if t.Retention == 0 {
			info.Retention = mayfly.Duration(DefaultRetention).String()
		}
		if versions, err := d.Schemas(ctx, in.App, name); err == nil && len(versions) > 0 {
			info.SchemaVersion = versions[len(versions)-1].Version
		}
		for _, s := range d.all(in.App) {
			if i := s.info(); matches(i.Topic, name) {
				info.Subscriptions = append(info.Subscriptions, i)
			}
		}
		out.Body.Topics = append(out.Body.Topics, info)
	}
	slices.SortFunc(out.Body.Topics, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (d *Driver) httpPublish(ctx context.Context, in *publishInput) (*publishOutput, error) {
	if err := d.may(ctx, in.App, "publish", in.Topic); err != nil {
		return nil, err
	}
	events, ok, err := cloudevent.FromRequest(in.header, in.RawBody)
	if err == nil && !ok {
		e := &mayfly.CloudEvent{DataContentType: in.header.Get("Content-Type")}
		err = cloudevent.SetData(e, in.RawBody)
		events = []*mayfly.CloudEvent{e}
	}
	if err != nil {
		return nil, err
	}
	trace, hops := trigger.Cause(ctx, in.TraceParent, in.Hops)
	published, err := d.Publish(ctx, in.App, in.Topic, trace, hops, events...)
	out := &publishOutput{}
	out.Body.Events = published
	return out, err
}

// position reads a time or a position.
func (d *Driver) position(ctx context.Context, from string) (event.Position, error) {
	if p, ok := event.ParsePosition(from); ok {
		return p, nil
	}
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		return event.Position{}, mayfly.Errorf(mayfly.Invalid, "read events", "%q is neither a time, as 2026-12-01T08:00:00Z, nor a position", from)
	}
	return d.cfg.Journal.Find(ctx, at)
}

func (d *Driver) httpEvents(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	if err := d.may(ctx, in.App, "read", in.Topic); err != nil {
		return nil, err
	}
	if _, err := d.declared(in.App, in.Topic); err != nil {
		return nil, err
	}
	if in.From == "" {
		in.From = time.Now().Add(-time.Hour).Format(time.RFC3339)
	}
	at, err := d.position(ctx, in.From)
	if err != nil {
		return nil, err
	}
	out := &eventsOutput{}
	out.Body.Events = []Recorded{}
	err = d.walk(ctx, at, d.cfg.Journal.End(), func(e *event.Published) bool {
		if e.App != in.App || e.Topic != in.Topic {
			return true
		}
		if len(out.Body.Events) == in.Limit {
			out.Body.Next = e.At.String()
			return false
		}
		out.Body.Events = append(out.Body.Events, Recorded{e.At.String(), e.Time, e.Body})
		return true
	})
	return out, err
}

// walk visits the events between two positions until visit returns false.
func (d *Driver) walk(ctx context.Context, from, to event.Position, visit func(*event.Published) bool) error {
	for from.Before(to) {
		events, next, err := d.cfg.Journal.Next(ctx, from)
		if err != nil {
			return err
		}
		for _, e := range events {
			if !visit(e) {
				return nil
			}
		}
		from = next
	}
	return nil
}

// Replay puts events of a topic before one subscription again, those that it
// wants now, and returns how many.
func (d *Driver) Replay(ctx context.Context, app mayfly.AppName, topic, subscription string, from event.Position, fromID string, until time.Time) (n int, err error) {
	s, err := d.named(app, subscription)
	if err != nil {
		return 0, err
	}
	if until.IsZero() {
		until = time.Now()
	}
	found := fromID == ""
	var batch []*event.Published
	flush := func() {
		if err == nil && len(batch) > 0 {
			err = d.fanOut(ctx, batch, s)
			batch = batch[:0]
		}
	}
	walked := d.walk(ctx, from, d.cfg.Journal.End(), func(e *event.Published) bool {
		if e.App != app || e.Topic != topic || e.Time.After(until) {
			return !e.Time.After(until)
		}
		found = found || hasID(e, fromID)
		if found && s.wants(e, func() any { v, _ := numbers(e.Body); return v }) {
			batch = append(batch, e)
			n++
		}
		if len(batch) >= 500 {
			flush()
		}
		return err == nil
	})
	flush()
	switch {
	case err != nil:
	case walked != nil:
		err = walked
	case !found:
		err = mayfly.Errorf(mayfly.NotFound, "replay", "no event of the topic %s that is still kept has the id %s", topic, fromID)
	}
	return n, err
}

func hasID(e *event.Published, id string) bool {
	var head struct{ ID string }
	return json.Unmarshal(e.Body, &head) == nil && head.ID == id
}

// named is an app's subscription by its name or, where that is enough, by its
// function.
func (d *Driver) named(app mayfly.AppName, name string) (*subscription, error) {
	var found []*subscription
	var names []string
	for _, s := range d.all(app) {
		info := s.info()
		names = append(names, info.Name)
		if info.Name == name {
			return s, nil
		}
		if string(info.Function) == name {
			found = append(found, s)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "replay", "which subscription is meant by %q is not clear; the app has [%s]", name, strings.Join(names, " "))
}

func (d *Driver) httpReplay(ctx context.Context, in *replayInput) (*replayOutput, error) {
	if err := d.may(ctx, in.App, "write", in.Topic); err != nil {
		return nil, err
	}
	if _, err := d.declared(in.App, in.Topic); err != nil {
		return nil, err
	}
	var from event.Position
	var err error
	switch {
	case in.Body.From != "":
		from, err = d.position(ctx, in.Body.From)
	case in.Body.FromID != "":
		from, err = d.cfg.Journal.Find(ctx, time.Time{})
	default:
		err = mayfly.Errorf(mayfly.Invalid, "replay", "say from when: from or from_id")
	}
	if err != nil {
		return nil, err
	}
	out := &replayOutput{}
	out.Body.Events, err = d.Replay(ctx, in.App, in.Topic, in.Body.Subscription, from, in.Body.FromID, in.Body.Until)
	return out, err
}

func (d *Driver) httpSchemas(ctx context.Context, in *Path) (*schemaOutput, error) {
	if err := d.may(ctx, in.App, "read", in.Topic); err != nil {
		return nil, err
	}
	versions, err := d.Schemas(ctx, in.App, in.Topic)
	out := &schemaOutput{}
	if out.Body.Versions = versions; versions == nil {
		out.Body.Versions = []SchemaVersion{}
	}
	return out, err
}

func (d *Driver) httpStub(ctx context.Context, in *stubInput) (*textOutput, error) {
	if err := d.may(ctx, in.App, "read", in.Topic); err != nil {
		return nil, err
	}
	t, err := d.declared(in.App, in.Topic)
	if err != nil {
		return nil, err
	}
	c, err := d.contract(t)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, mayfly.Errorf(mayfly.NotFound, "write stub", "the topic %s has no schema to make types of", in.Topic)
	}
	text, err := contract.Stub(in.Topic, c, in.Language)
	return &textOutput{"text/plain; charset=utf-8", []byte(text)}, err
}

func (d *Driver) httpAsyncAPI(ctx context.Context, in *appPath) (*textOutput, error) {
	if err := d.may(ctx, in.App, "read", "*"); err != nil {
		return nil, err
	}
	m, ok := d.cfg.Apps.Manifest(in.App)
	if !ok {
		return nil, mayfly.Errorf(mayfly.NotFound, "export topics", "there is no app %s", in.App)
	}
	topics := map[string]contract.Channel{}
	for name, t := range m.Topics {
		var ch contract.Channel
		if t != nil {
			ch.Schema = t.SchemaBody
		}
		for _, s := range d.all(in.App) {
			if info := s.info(); info.Function != "" && matches(info.Topic, name) {
				ch.Subscribers = append(ch.Subscribers, string(info.Function))
			}
		}
		topics[name] = ch
	}
	text, err := contract.AsyncAPI(in.App, topics)
	return &textOutput{"application/json", text}, err
}

func (d *Driver) httpHooks(ctx context.Context, in *appPath) (*hooksOutput, error) {
	if err := d.may(ctx, in.App, "read", "*"); err != nil {
		return nil, err
	}
	out := &hooksOutput{}
	out.Body.Webhooks = d.Hooks(in.App)
	return out, nil
}

func (d *Driver) httpEnable(ctx context.Context, in *HookPath) (*struct{}, error) {
	if err := d.may(ctx, in.App, "write", "*"); err != nil {
		return nil, err
	}
	return nil, d.EnableHook(ctx, in.App, in.Name)
}
