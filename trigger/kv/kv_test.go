package kv

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/trigger"
)

func TestCheck(t *testing.T) {
	m := &mayfly.Manifest{KV: map[string]*mayfly.KV{"s": nil}}
	for _, c := range []struct {
		t  mayfly.Trigger
		ok bool
	}{
		{mayfly.Trigger{KV: "s"}, true},
		{mayfly.Trigger{KV: "s", Events: []string{"put", "delete"}}, true},
		{mayfly.Trigger{KV: "s", Events: []string{"created"}}, false},
		{mayfly.Trigger{KV: "gone"}, false},
	} {
		if err := New(nil).Check(m, "f", &c.t); (err == nil) != c.ok || err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", c.t, err)
		}
	}
}

func TestDeliver(t *testing.T) {
	calls := map[string]Event{}
	var fail error
	d := New(func(_ context.Context, b *trigger.Binding, id string, event []byte) error {
		var e Event
		if err := json.Unmarshal(event, &e); err != nil {
			t.Error(err)
		}
		calls[b.String()+" "+id] = e
		return fail
	})
	bind := func(app, fn string, tr mayfly.Trigger) trigger.Binding {
		return trigger.Binding{App: mayfly.AppName(app), Function: mayfly.FunctionName(fn), Trigger: tr}
	}
	err := d.Apply(t.Context(), []trigger.Binding{
		bind("a", "all", mayfly.Trigger{KV: "s"}),
		bind("a", "puts", mayfly.Trigger{KV: "s", Events: []string{"put"}, Prefix: "user/"}),
		bind("a", "others", mayfly.Trigger{KV: "s", Prefix: "x/"}),
		bind("b", "all", mayfly.Trigger{KV: "s"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	change := service.KVChange{
		ID: "kv-1-7", App: "a", Store: "s", Key: "user/1", Event: "put", Revision: 7, Time: time.Now(),
		Value: &service.KVValue{Data: []byte(`{"n":1}`), ContentType: "application/json; charset=utf-8", Revision: 7},
		Old:   &service.KVValue{Data: []byte{0xff}, ContentType: "application/octet-stream", Revision: 3},
	}
	if err := d.Deliver(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if len(calls) != 2 {
		t.Fatalf("called %v", calls)
	}
	r := calls["a/puts on[0] kv-1-7-puts.s"].Records[0]
	if string(r.New.Value) != `{"n":1}` || r.Old.Base64 != "/w==" || r.EventName != "put" || r.Key != "user/1" || r.Revision != 7 {
		t.Errorf("got %+v", r)
	}
	clear(calls)
	change.Event, change.Value, change.Old.ContentType = "delete", nil, "text/plain"
	if err := d.Deliver(t.Context(), change); err != nil || len(calls) != 1 {
		t.Errorf("a delete called %v, %v", calls, err)
	}
	if fail = errors.New("full"); d.Deliver(t.Context(), change) == nil {
		t.Error("a failure was swallowed")
	}
}
