package event_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
)

// openJournal runs a journal over the engine's EVENTS log until stop.
func openJournal(t *testing.T, dir string) (j *event.Journal, stop func()) {
	t.Helper()
	e, err := engine.Open(context.Background(), engine.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	log, err := e.Log(context.Background(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	j = event.NewJournal(log, nil)
	if err := j.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = j.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait(); _ = e.Close() })
	t.Cleanup(stop)
	return j, stop
}

func published(body string) *event.Published {
	return &event.Published{App: "app", Topic: "t", Trace: "x", Hops: 3, Body: []byte(body)}
}

// readAll reads n events from a position on.
func readAll(t *testing.T, j *event.Journal, from event.Position, n int) (bodies string, next event.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all []string
	for len(all) < n {
		events, after, err := j.Next(ctx, from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.App != "app" || e.Topic != "t" || e.Trace != "x" || e.Hops != 3 || e.Time.IsZero() {
				t.Errorf("%+v", e)
			}
			all = append(all, string(e.Body))
		}
		from = after
	}
	return strings.Join(all, " "), from
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	j, stop := openJournal(t, dir)
	ctx := context.Background()
	start := j.End()
	if err := j.Append(ctx, published("a"), published("b")); err != nil {
		t.Fatal(err)
	}
	c := published("c")
	if err := j.Append(ctx, c); err != nil {
		t.Fatal(err)
	}
	got, next := readAll(t, j, start, 3)
	if got != "a b c" || next != j.End() {
		t.Errorf("read %s up to %s; the end is %s", got, next, j.End())
	}
	go func() { _ = j.Append(ctx, published("d")) }()
	if got, _ := readAll(t, j, next, 1); got != "d" {
		t.Errorf("read %s", got)
	}
	stop()
	if err := j.Append(ctx, published("e")); err == nil {
		t.Error("a closed journal accepts events")
	}
	j, _ = openJournal(t, dir)
	if got, _ := readAll(t, j, start, 4); got != "a b c d" {
		t.Errorf("after a restart: %s", got)
	}
	if got, _ := readAll(t, j, event.Position{Seq: start.Seq, Index: 1}, 1); got != "b" {
		t.Errorf("within a record: %s", got)
	}
	if p, ok := event.ParsePosition(c.At.String()); !ok || p != c.At {
		t.Error(p, ok)
	}
	for _, bad := range []string{"", "1", "1.", "a.b", "1.-1"} {
		if _, ok := event.ParsePosition(bad); ok {
			t.Errorf("%q is a position", bad)
		}
	}
}

func TestJournalFindAndForget(t *testing.T) {
	j, _ := openJournal(t, t.TempDir())
	ctx := context.Background()
	var times []time.Time
	for i := range 10 {
		e := published(fmt.Sprint(i))
		if err := j.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
		times = append(times, e.Time.Truncate(time.Millisecond))
		time.Sleep(3 * time.Millisecond)
	}
	at, err := j.Find(ctx, times[6])
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := readAll(t, j, at, 4); got != "6 7 8 9" {
		t.Errorf("from the time of 6: %s", got)
	}
	if at, err := j.Find(ctx, time.Now().Add(time.Hour)); err != nil || at != j.End() {
		t.Error(at, err)
	}
	if err := j.Forget(ctx, times[4]); err != nil {
		t.Fatal(err)
	}
	if at, err := j.Find(ctx, time.Time{}); err != nil || at.Seq != 5 {
		t.Error(at, err)
	}
	if got, _ := readAll(t, j, event.Position{Seq: 5}, 6); got != "4 5 6 7 8 9" {
		t.Errorf("what is left: %s", got)
	}
}
