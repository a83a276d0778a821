package bucket

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
	m := &mayfly.Manifest{Buckets: map[string]*mayfly.Bucket{"uploads": nil}}
	for _, c := range []struct {
		t  mayfly.Trigger
		ok bool
	}{
		{mayfly.Trigger{Bucket: "uploads"}, true},
		{mayfly.Trigger{Bucket: "uploads", Events: []string{"created", "removed"}}, true},
		{mayfly.Trigger{Bucket: "uploads", Events: []string{"put"}}, false},
		{mayfly.Trigger{Bucket: "gone"}, false},
	} {
		if err := New(nil).Check(m, "f", &c.t); (err == nil) != c.ok || err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", c.t, err)
		}
	}
}

func TestDeliver(t *testing.T) {
	calls := map[string][]byte{}
	var fail error
	d := New(func(_ context.Context, b *trigger.Binding, id string, event []byte) error {
		calls[string(b.Function)+" "+id] = event
		return fail
	})
	bind := func(fn string, tr mayfly.Trigger) trigger.Binding {
		tr.Bucket = "uploads"
		return trigger.Binding{App: "a", Function: mayfly.FunctionName(fn), Trigger: tr}
	}
	err := d.Apply(t.Context(), []trigger.Binding{
		bind("all", mayfly.Trigger{}),
		bind("made", mayfly.Trigger{Events: []string{"created"}, Prefix: "raw/", Suffix: ".jpg"}),
		bind("removed", mayfly.Trigger{Events: []string{"removed"}}),
		bind("png", mayfly.Trigger{Suffix: ".png"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := service.ObjectChange{
		ID: "s3-1", App: "a", Bucket: "uploads", Key: "raw/a b+c/ü.jpg", Event: "ObjectCreated:Put", Time: time.Unix(1, 5e6),
		Size: 7, ETag: "e", Who: mayfly.Caller{Kind: mayfly.CallerFunction, App: "a", Function: "f"},
	}
	if err := d.Deliver(t.Context(), c); err != nil || len(calls) != 2 {
		t.Fatalf("called %d, %v", len(calls), err)
	}
	var e event
	if err := json.Unmarshal(calls["made s3-1-made.uploads"], &e); err != nil {
		t.Fatal(err)
	}
	r := e.Records[0]
	if r.S3.Object.Key != "raw/a+b%2Bc/%C3%BC.jpg" || r.S3.Bucket.Name != "uploads" || r.EventTime != "1970-01-01T00:00:01.005Z" || r.EventName != "ObjectCreated:Put" || r.S3.Object.Size != 7 {
		t.Errorf("got %+v", r)
	}
	clear(calls)
	c.Event = "ObjectRemoved:Delete"
	if err := d.Deliver(t.Context(), c); err != nil || len(calls) != 2 || calls["removed s3-1-removed.uploads"] == nil {
		t.Errorf("a removal called %d, %v", len(calls), err)
	}
	other := c
	other.App = "b"
	clear(calls)
	if err := d.Deliver(t.Context(), other); err != nil || len(calls) != 0 {
		t.Errorf("another app's change called %d", len(calls))
	}
	if fail = errors.New("full"); d.Deliver(t.Context(), c) == nil {
		t.Error("a failure was swallowed")
	}
}
