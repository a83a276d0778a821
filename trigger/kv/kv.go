package kv

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Driver matches changes with bindings. It is safe for concurrent use.
type Driver struct{ *trigger.Changes }

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without bindings.
func New(enqueue trigger.Enqueue) *Driver {
	return &Driver{trigger.NewChanges(enqueue, func(t *mayfly.Trigger) string { return t.KV })}
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

// Deliver enqueues a call for each binding that wants the change. An error means
// that the same change must be delivered again.
func (d *Driver) Deliver(ctx context.Context, c service.KVChange) error {
	return d.Tell(ctx, c.App, c.Store, c.ID, func(t *mayfly.Trigger) bool { return wants(t, &c) }, func() []byte { return encode(&c) })
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
