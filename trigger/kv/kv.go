package kv

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Driver matches changes with bindings. It is safe for concurrent use.
type Driver struct {
	enqueue  trigger.Enqueue
	bindings atomic.Pointer[map[string][]trigger.Binding] // by "app/store"
}

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without bindings.
func New(enqueue trigger.Enqueue) *Driver {
	d := &Driver{enqueue: enqueue}
	d.bindings.Store(&map[string][]trigger.Binding{})
	return d
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerKV }

// Check wants a declared store and known events.
func (d *Driver) Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: kv %s", fn, t.KV)
	if _, ok := m.KV[t.KV]; !ok {
		return mayfly.Errorf(mayfly.Invalid, op, "the app declares no store %q; add it under kv:", t.KV)
	}
	for _, e := range t.Events {
		if e != "put" && e != "delete" {
			return mayfly.Errorf(mayfly.Invalid, op, "%q is not an event of a store; use put or delete", e)
		}
	}
	return nil
}

// Apply replaces the bindings.
func (d *Driver) Apply(_ context.Context, all []trigger.Binding) error {
	next := map[string][]trigger.Binding{}
	for _, b := range all {
		key := string(b.App) + "/" + b.Trigger.KV
		next[key] = append(next[key], b)
	}
	d.bindings.Store(&next)
	return nil
}

// Run waits for the end: the service drives Deliver.
func (d *Driver) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Deliver enqueues a call for each binding that wants the change. An error means
// that the same change must be delivered again.
func (d *Driver) Deliver(ctx context.Context, c service.KVChange) error {
	bindings := (*d.bindings.Load())[string(c.App)+"/"+c.Store]
	var event []byte
	for i := range bindings {
		b := &bindings[i]
		if !wants(&b.Trigger, &c) {
			continue
		}
		if event == nil {
			event = encode(&c)
		}
		if err := d.enqueue(ctx, b, c.ID+"-"+b.Key(), event); err != nil {
			return fmt.Errorf("call %s for a change of store %s: %w", b, c.Store, err)
		}
	}
	return nil
}

func wants(t *mayfly.Trigger, c *service.KVChange) bool {
	return strings.HasPrefix(c.Key, t.Prefix) && (len(t.Events) == 0 || slices.Contains(t.Events, c.Event))
}

// Event is what a handler gets: one record, in the outer shape of the other
// data events.
type Event struct {
	Records []Record `json:"Records"`
}

// Record is one change of a key.
type Record struct {
	EventID     string    `json:"eventID"`
	EventSource string    `json:"eventSource"` // "mayfly:kv"
	EventName   string    `json:"eventName"`   // put or delete
	EventTime   time.Time `json:"eventTime"`
	App         string    `json:"app"`
	Store       string    `json:"store"`
	Key         string    `json:"key"`
	Revision    uint64    `json:"revision"`
	Expired     bool      `json:"expired,omitempty"`
	New         *Value    `json:"new,omitempty"`
	Old         *Value    `json:"old,omitempty"`
}

// Value is a JSON value as it is, and any other as text where it is text, or
// else base64.
type Value struct {
	ContentType string          `json:"contentType"`
	Revision    uint64          `json:"revision"`
	Value       json.RawMessage `json:"value,omitempty"`
	Base64      string          `json:"base64,omitempty"`
}

func encode(c *service.KVChange) []byte {
	event, err := json.Marshal(Event{Records: []Record{{
		EventID: c.ID, EventSource: "mayfly:kv", EventName: c.Event, EventTime: c.Time.UTC(),
		App: string(c.App), Store: c.Store, Key: c.Key, Revision: c.Revision, Expired: c.Expired,
		New: value(c.Value), Old: value(c.Old),
	}}})
	if err != nil {
		panic(err) // every field marshals
	}
	return event
}

func value(v *service.KVValue) *Value {
	if v == nil {
		return nil
	}
	out := &Value{ContentType: v.ContentType, Revision: v.Revision}
	kind, _, _ := mime.ParseMediaType(v.ContentType)
	switch {
	case (kind == "application/json" || strings.HasSuffix(kind, "+json")) && json.Valid(v.Data):
		out.Value = v.Data
	case strings.HasPrefix(kind, "text/"):
		out.Value, _ = json.Marshal(string(v.Data))
	default:
		out.Base64 = base64.StdEncoding.EncodeToString(v.Data)
	}
	return out
}
