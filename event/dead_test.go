package event_test

import (
	"context"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
)

func TestDeadLetters(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	ctx := context.Background()
	dead := event.NewDead(r.store)
	for i, source := range []string{"queue/a", "queue/a", "function/f"} {
		letter := &event.DeadLetter{
			App: "app", Source: source, Reason: event.DeadAttempts, Body: []byte(`{"n":` + string(rune('0'+i)) + `}`),
			History: []event.Attempt{{Error: "first"}, {Error: "last of " + source}},
		}
		if err := dead.Add(ctx, letter); err != nil || letter.ID == "" {
			t.Fatal(err)
		}
	}
	r.restart()
	dead = event.NewDead(r.store)
	for _, c := range []struct {
		filter event.DeadFilter
		want   int
	}{
		{event.DeadFilter{}, 3}, {event.DeadFilter{App: "app", Source: "queue/a"}, 2}, {event.DeadFilter{App: "other"}, 0},
		{event.DeadFilter{Text: "function"}, 1}, {event.DeadFilter{Text: `"n":1`}, 1}, {event.DeadFilter{Reason: event.DeadExpired}, 0},
		{event.DeadFilter{Before: time.Now().Add(-time.Hour)}, 0}, {event.DeadFilter{Limit: 2}, 2},
	} {
		if got, err := dead.List(ctx, c.filter); err != nil || len(got) != c.want {
			t.Errorf("%+v: %d letters, %v; want %d", c.filter, len(got), err, c.want)
		}
	}
	all, _ := dead.List(ctx, event.DeadFilter{Source: "queue/a"})
	if all[0].Error != "last of queue/a" || string(all[0].Body) != `{"n":0}` {
		t.Errorf("%+v", all[0])
	}
	if got, err := dead.Get(ctx, all[1].ID); err != nil || string(got.Body) != `{"n":1}` {
		t.Error(got, err)
	}
	if err := dead.Remove(ctx, all[1].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := dead.Get(ctx, all[1].ID); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Error(err)
	}
	if n := dead.Count("app", "queue/a"); n != 1 {
		t.Errorf("%d left", n)
	}
}
