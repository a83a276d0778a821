package topic

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/event/cloudevent"
	"github.com/mayfly-cloud/mayfly/event/contract"
	"github.com/mayfly-cloud/mayfly/event/pattern"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// DefaultRetention is how long events are kept for replay.
const DefaultRetention = 7 * 24 * time.Hour

const (
	defaultAttempts = 5
	maxBatch        = 1000
)

// Config of the topics. All but Secrets, Authorize, Logger and Drain are needed.
type Config struct {
	Journal   *event.Journal // of the EVENTS log; who made it runs it
	Store     *event.Store   // of the DELIVER logs; who made it runs it
	Dead      *event.Dead
	Invoker   trigger.Invoker
	Apps      trigger.Apps
	Records   Records           // how far the dispatcher is, schemas, webhooks
	Secrets   trigger.Secrets   // for outgoing webhooks
	Authorize mayfly.Authorizer // for the API; nil: administrators only
	Logger    *slog.Logger      // default: discards
	Drain     time.Duration     // how long running calls may take when Run's context ends; default 5 s
}

// Records keeps small values, written by compare-and-set. *engine.Bucket is one.
type Records interface {
	Get(ctx context.Context, key string) (value []byte, rev uint64, err error)
	Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
}

// Driver runs the topics of all apps. It is safe for concurrent use.
type Driver struct {
	cfg    Config
	client *http.Client
	crew   *trigger.Crew // of the subscriptions

	mu        sync.Mutex
	subs      map[string]*subscription      // guarded by mu; by lane
	contracts map[string]*contract.Contract // guarded by mu; by schema text
}

// subscription is a function or a URL that wants events of a topic.
type subscription struct {
	driver *Driver
	lane   string
	worker *event.Worker
	member *trigger.Member // nil until it is set

	mu      sync.Mutex
	app     mayfly.AppName
	topic   string // a pattern
	match   *pattern.Pattern
	shape   *transform
	binding *trigger.Binding // of a function
	hook    *hook            // of a URL
}

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver.
func New(cfg Config) *Driver {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Drain == 0 {
		cfg.Drain = 5 * time.Second
	}
	return &Driver{
		cfg: cfg, client: hookClient(), crew: trigger.NewCrew(cfg.Drain),
		subs: map[string]*subscription{}, contracts: map[string]*contract.Contract{},
	}
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerTopic }

// Check wants a pattern that names a declared topic, a match and a transform
// that can be read.
func (d *Driver) Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: topic %s", fn, t.Topic)
	if err := checkWants(m, t.Topic, t.Match); err != nil {
		return mayfly.Errorf(mayfly.Invalid, op, "%s", mayfly.MessageOf(err))
	}
	if _, err := compileTransform(t.Transform); err != nil {
		return mayfly.Errorf(mayfly.Invalid, op, "%s", mayfly.MessageOf(err))
	}
	switch {
	case t.Batch < 0 || t.Batch > maxBatch:
		return mayfly.Errorf(mayfly.Invalid, op, "batch is %d; choose 1 to %d", t.Batch, maxBatch)
	case t.Attempts < 0 || t.Attempts > 1000:
		return mayfly.Errorf(mayfly.Invalid, op, "attempts is %d; choose 1 to 1000", t.Attempts)
	}
	return nil
}

// checkWants checks what a subscription wants against the topics there are.
func checkWants(m *mayfly.Manifest, topic string, match json.RawMessage) error {
	if err := checkPattern(topic); err != nil {
		return err
	}
	found := false
	for name := range m.Topics {
		found = found || matches(topic, name)
	}
	if !found {
		return mayfly.Errorf(mayfly.Invalid, "", "no topic of the app is %q; it has [%s]; add one under topics:", topic, strings.Join(slices.Sorted(maps.Keys(m.Topics)), " "))
	}
	if len(match) > 0 {
		_, err := pattern.Compile(match)
		return err
	}
	return nil
}

// declared is a topic of an app, NotFound where the app has none of the name.
func (d *Driver) declared(app mayfly.AppName, name string) (*mayfly.Topic, error) {
	m, ok := d.cfg.Apps.Manifest(app)
	if !ok {
		return nil, mayfly.Errorf(mayfly.NotFound, "topic "+name, "there is no app %s", app)
	}
	t, ok := m.Topics[name]
	if !ok {
		return nil, mayfly.Errorf(mayfly.NotFound, "topic "+name, "the app %s has no topic %s; it has [%s]", app, name, strings.Join(slices.Sorted(maps.Keys(m.Topics)), " "))
	}
	if t == nil {
		t = &mayfly.Topic{}
	}
	return t, nil
}

// contract compiles a topic's schema, once for each text.
func (d *Driver) contract(t *mayfly.Topic) (*contract.Contract, error) {
	if len(t.SchemaBody) == 0 {
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.contracts[string(t.SchemaBody)]; c != nil {
		return c, nil
	}
	c, err := contract.Compile(t.SchemaBody)
	if err != nil {
		return nil, err
	}
	if len(d.contracts) > 1000 {
		clear(d.contracts)
	}
	d.contracts[string(t.SchemaBody)] = c
	return c, nil
}

// Published is one accepted event.
type Published struct {
	ID       string `json:"id"`
	Position string `json:"position" doc:"Where it is in the journal, for replay"`
}

// Publish accepts events of a topic: all of them, durably, or none. It fills
// what an event may lack: id, source, specversion, time, and the type, which is
// the topic's name.
func (d *Driver) Publish(ctx context.Context, app mayfly.AppName, name string, trace mayfly.Trace, hops int, events ...*mayfly.CloudEvent) ([]Published, error) {
	op := "publish to topic " + name
	t, err := d.declared(app, name)
	if err != nil {
		return nil, err
	}
	schema, err := d.contract(t)
	if err != nil {
		return nil, err
	}
	if len(events) > maxBatch {
		return nil, mayfly.Errorf(mayfly.TooLarge, op, "%d events; publish up to %d at once", len(events), maxBatch)
	}
	entries := make([]*event.Published, len(events))
	for i, e := range events {
		d.complete(ctx, e, app, name)
		body, err := check(e, name, schema)
		if err != nil {
			return nil, mayfly.Errorf(mayfly.CodeOf(err), op, "event %d: %s", i+1, mayfly.MessageOf(err))
		}
		entries[i] = &event.Published{App: app, Topic: name, Trace: trace.Header(), Hops: hops, Body: body}
	}
	if hops > mayfly.MaxHops {
		return nil, d.cycle(ctx, entries)
	}
	if len(entries) == 0 {
		return []Published{}, nil
	}
	if err := d.cfg.Journal.Append(ctx, entries...); err != nil {
		return nil, err
	}
	out := make([]Published, len(events))
	for i, e := range events {
		out[i] = Published{ID: e.ID, Position: entries[i].At.String()}
	}
	return out, nil
}

// complete fills what the publisher left out.
func (d *Driver) complete(ctx context.Context, e *mayfly.CloudEvent, app mayfly.AppName, name string) {
	if e.ID == "" {
		e.ID = mayfly.NewID()
	}
	if e.SpecVersion == "" {
		e.SpecVersion = cloudevent.SpecVersion
	}
	if e.Type == "" {
		e.Type = name
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	if e.Source == "" {
		e.Source = "/apps/" + string(app)
		if who := mayfly.CallerFrom(ctx); who.Kind == mayfly.CallerFunction {
			e.Source += "/functions/" + string(who.Function)
		}
	}
}

func check(e *mayfly.CloudEvent, name string, schema *contract.Contract) ([]byte, error) {
	if err := cloudevent.Validate(e); err != nil {
		return nil, err
	}
	if e.Type != name {
		return nil, mayfly.Errorf(mayfly.Invalid, "", "its type is %q and the topic is %q; an event's type is its topic", e.Type, name)
	}
	if schema != nil {
		data := e.Data
		if data == nil {
			data = json.RawMessage("null")
		}
		if err := schema.Validate(data); err != nil {
			return nil, err
		}
	}
	body, err := cloudevent.Encode(e)
	if err == nil && len(body) > int(mayfly.MaxAsync) {
		err = mayfly.Errorf(mayfly.TooLarge, "", "an event of %d bytes is over the limit of %s; put the content in a bucket and publish its key", len(body), mayfly.MaxAsync)
	}
	return body, err
}

// Send publishes a message's body as an event's data, as a destination.
func (d *Driver) Send(ctx context.Context, app mayfly.AppName, name string, m *mayfly.Message) error {
	_, err := d.Publish(ctx, app, name, m.Trace, m.Hops, &mayfly.CloudEvent{Data: m.Body, DataContentType: "application/json", Subject: m.Key})
	return err
}

// cycle keeps events that went through too many functions as dead letters.
func (d *Driver) cycle(ctx context.Context, entries []*event.Published) error {
	var last string
	for _, e := range entries {
		letter := d.letter(e, "", event.DeadHops)
		letter.Error = "functions publish to each other in a cycle"
		if err := d.cfg.Dead.Add(ctx, letter); err != nil {
			return err
		}
		last = letter.ID
		d.cfg.Logger.Warn("functions publish to each other in a cycle, which is stopped", "app", e.App, "topic", e.Topic, "publisher", mayfly.CallerFrom(ctx).String(), "trace", letter.Trace.ID, "dead_letter", letter.ID)
	}
	return mayfly.Errorf(mayfly.Invalid, "publish", "the event came through more than %d functions: they publish to each other in a cycle; it is kept as dead letter %s", mayfly.MaxHops, last)
}

// deadBody is what a dead letter of a topic holds: enough to deliver it again.
type deadBody struct {
	Subscription string          `json:"subscription,omitempty"` // a lane
	Topic        string          `json:"topic"`
	Event        json.RawMessage `json:"event"`
}

func (d *Driver) letter(e *event.Published, lane, reason string) *event.DeadLetter {
	body, _ := json.Marshal(deadBody{lane, e.Topic, e.Body})
	trace, _ := mayfly.ParseTrace(e.Trace, "")
	return &event.DeadLetter{App: e.App, Source: "topic/" + e.Topic, Reason: reason, Accepted: e.Time, Trace: trace, Body: body}
}

// Revive delivers a dead letter's event to its subscription again, or publishes
// it to another topic where to is not empty.
func (d *Driver) Revive(ctx context.Context, letter *event.DeadLetter, to string) error {
	var body deadBody
	if err := json.Unmarshal(letter.Body, &body); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "redrive", "dead letter %s is not an event: %w", letter.ID, err)
	}
	if to == "" && body.Subscription != "" {
		return d.put(ctx, body.Subscription, &stored{Topic: body.Topic, Trace: letter.Trace.Header(), Event: body.Event}, "redrive."+letter.ID)
	}
	e, err := cloudevent.Decode(body.Event)
	if err != nil {
		return err
	}
	if to == "" {
		to = body.Topic
	}
	e.Type = to
	_, err = d.Publish(ctx, letter.App, to, letter.Trace, 0, e)
	return err
}
