package event_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
)

func TestDoneIsForGood(t *testing.T) {
	r := newRig(t, 2, engine.Config{})
	var items []*event.Item
	for i := range 10 {
		items = append(items, item(fmt.Sprint(i)))
	}
	r.put("a", items...)
	r.put("b", item("b"))
	for i, le := range r.take("a", 4) {
		if string(le.Body) != fmt.Sprint(i) || le.ID != items[i].ID || le.Attempt != 1 {
			t.Errorf("item %d is %s %s, attempt %d", i, le.ID, le.Body, le.Attempt)
		}
		if !le.Done() || le.Done() {
			t.Error("an item must be done once")
		}
	}
	held := r.take("a", 2)
	r.restart()
	leases := r.take("a", 100)
	if len(leases) != 6 || string(leases[0].Body) != "4" || leases[0].ID != held[0].ID {
		t.Errorf("after a restart: %d items", len(leases))
	}
	if got := r.take("b", 1); string(got[0].Body) != "b" {
		t.Error("another lane's item is lost")
	}
}

func TestFailuresSurviveARestart(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	r.put("a", item("x"))
	for i := range 12 {
		le := r.take("a", 1)[0]
		if le.Attempt != i+1 {
			t.Fatalf("attempt %d is called %d", i+1, le.Attempt)
		}
		le.Fail(time.Time{}, event.Attempt{At: time.Now(), Error: fmt.Sprint("no ", i)})
		if i%4 == 3 {
			r.restart()
		}
	}
	le := r.take("a", 1)[0]
	if len(le.History) != 10 || le.History[9].Error != "no 11" || le.History[0].Error != "no 2" {
		t.Errorf("history: %+v", le.History)
	}
	le.Release(time.Time{})
	if le = r.take("a", 1)[0]; le.Attempt != 13 {
		t.Errorf("a release was counted: %d", le.Attempt)
	}
}

func TestDelayAndBackoff(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	later := item("later")
	later.At = time.Now().Add(time.Hour)
	soon := item("soon")
	soon.At = time.Now().Add(300 * time.Millisecond)
	r.put("a", later, soon)
	if s := r.store.Lane("a").Stats(); s.Delayed+s.Ready != 2 {
		t.Errorf("stats: %+v", s)
	}
	le := r.take("a", 2)
	if len(le) != 1 || string(le[0].Body) != "soon" {
		t.Fatalf("took %d", len(le))
	}
	le[0].Fail(time.Now().Add(time.Hour), event.Attempt{Error: "no"})
	for _, again := range []bool{false, true} {
		if again {
			r.restart()
		}
		r.empty("a")
		for id, want := range map[string]event.State{later.ID: event.Sleeping, soon.ID: event.Backoff} {
			w, err := r.store.Find(context.Background(), id)
			if err != nil || w.State != want {
				t.Errorf("%s: %+v, %v; want %s", id, w, err, want)
			}
		}
	}
}

// Items of a key come one after the other, and a failing one keeps its place.
func TestKeyOrder(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	for i := range 5 {
		r.put("a", keyed("k", fmt.Sprint("k", i)), keyed("j", fmt.Sprint("j", i)))
	}
	leases := r.take("a", 10)
	if len(leases) != 2 || string(leases[0].Body) != "k0" || string(leases[1].Body) != "j0" {
		t.Fatalf("%d items at once", len(leases))
	}
	stats := r.store.Lane("a").Stats()
	if stats.Blocked != 8 {
		t.Errorf("stats: %+v", stats)
	}
	leases[0].Fail(time.Now().Add(time.Hour), event.Attempt{Error: "poison"})
	leases[1].Done()
	r.restart()
	for i := 1; i < 5; i++ { // the poisoned key blocks only itself
		le := r.take("a", 10)
		if len(le) != 1 || string(le[0].Body) != fmt.Sprint("j", i) {
			t.Fatalf("came %d items, %s", len(le), le[0].Body)
		}
		le[0].Fail(time.Time{}, event.Attempt{Error: "once"})
		le = r.take("a", 10)
		if len(le) != 1 || string(le[0].Body) != fmt.Sprint("j", i) || le[0].Attempt != 2 {
			t.Fatalf("a failed item lost its place: %s", le[0].Body)
		}
		le[0].Done()
	}
	r.empty("a")
	waiting, err := r.store.Lane("a").Peek(context.Background(), 10)
	if err != nil || len(waiting) != 5 {
		t.Fatalf("peek: %d, %v", len(waiting), err)
	}
	states := map[event.State]int{}
	for _, w := range waiting {
		states[w.State]++
		if w.State == event.Behind && w.BehindID == "" {
			t.Error("it is not said which item is before")
		}
	}
	if states[event.Backoff] != 1 || states[event.Behind] != 4 {
		t.Errorf("states: %v", states)
	}
	if ok, err := r.store.Cancel(context.Background(), waiting[0].ID); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for i := 1; i < 5; i++ {
		le := r.take("a", 10)
		if len(le) != 1 || string(le[0].Body) != fmt.Sprint("k", i) {
			t.Fatalf("after the poison: %s", le[0].Body)
		}
		le[0].Done()
	}
}

func TestLeaseEnds(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	r.put("a", item("x"))
	first, err := r.store.Lane("a").Take(context.Background(), 1, 10*time.Millisecond, "worker 7")
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	second := r.take("a", 1)[0]
	if second.Attempt != 2 || !strings.Contains(second.History[0].Error, "worker 7") {
		t.Errorf("attempt %d, %+v", second.Attempt, second.History)
	}
	if first[0].Done() || first[0].Extend(time.Minute) || first[0].Release(time.Time{}) {
		t.Error("a lease that ended still counts")
	}
	if _, err := r.store.Lane("a").Held(context.Background(), second.ID, first[0].Token()); code(err) != mayfly.Conflict {
		t.Error(err)
	}
	held, err := r.store.Lane("a").Held(context.Background(), second.ID, second.Token())
	if err != nil || !held.Extend(time.Hour) || !held.Done() {
		t.Error(err)
	}
	if _, err := r.store.Lane("a").Held(context.Background(), second.ID, second.Token()); code(err) != mayfly.NotFound {
		t.Error(err)
	}
}

func TestDeduplication(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	one := &event.Item{Body: []byte("1"), Dedup: "d", Window: time.Hour}
	r.put("a", one)
	r.take("a", 1)[0].Done()
	r.put("a", item("other")) // so that the first record could be cut off
	r.take("a", 1)[0].Done()
	for range 2 {
		two := &event.Item{Body: []byte("2"), Dedup: "d", Window: time.Hour}
		r.put("a", two)
		if !two.Duplicate || two.ID != one.ID {
			t.Errorf("a repeated send is %s, %v; want %s", two.ID, two.Duplicate, one.ID)
		}
		r.restart()
	}
	r.empty("a")
	r.put("b", &event.Item{Body: []byte("b"), Dedup: "d", Window: time.Hour})
	r.take("b", 1)
}

func TestPauseCancelPurge(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	l := r.store.Lane("a")
	l.SetPaused(true)
	var items []*event.Item
	for i := range 100 {
		items = append(items, item(fmt.Sprint(i)))
	}
	r.put("a", items...)
	r.empty("a")
	if w, err := r.store.Find(context.Background(), items[3].ID); err != nil || w.State != event.Halted {
		t.Errorf("%+v, %v", w, err)
	}
	l.SetPaused(false)
	if ok, err := r.store.Cancel(context.Background(), items[0].ID); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := r.store.Cancel(context.Background(), items[0].ID); ok || err != nil {
		t.Error("cancelled twice", err)
	}
	if w, err := r.store.Find(context.Background(), items[0].ID); err != nil || w.State != event.Finished {
		t.Errorf("%+v, %v", w, err)
	}
	le := r.take("a", 1)[0]
	if string(le.Body) != "1" {
		t.Errorf("took %s", le.Body)
	}
	if n := l.Purge(); n != 98 {
		t.Errorf("purged %d", n)
	}
	if s := l.Stats(); s.Total != 1 || s.Leased != 1 || s.Oldest.IsZero() {
		t.Errorf("stats: %+v", s)
	}
	r.restart()
	if got := r.take("a", 10); len(got) != 1 || string(got[0].Body) != "1" {
		t.Errorf("after a purge and a restart: %d items", len(got))
	}
}

func TestUnknownIDs(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	for _, id := range []string{"", "x", mayfly.NewID(), "00000000-0001-8000-8000-000000000000", "zzzzzzzz-0001-8000-8000-000000000000", strings.Repeat("é", 18)} {
		if _, err := r.store.Find(context.Background(), id); code(err) != mayfly.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestLogIsCutOff(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	log, err := r.engine.Log(context.Background(), "QUEUE_0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		r.put("a", item(fmt.Sprint(i)))
		r.take("a", 1)[0].Done()
	}
	deadline := time.Now().Add(time.Minute)
	for {
		first, last, err := log.Bounds(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if first+1 >= last {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log still holds %d to %d", first, last)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.restart()
	r.empty("a")
	r.put("a", item("new"))
	if got := r.take("a", 1); string(got[0].Body) != "new" {
		t.Error("a log that was cut off does not take items")
	}
}

func TestTooLarge(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	big := &event.Item{Body: bytes.Repeat([]byte("x"), 9<<20)}
	if err := r.store.Lane("a").Put(context.Background(), big); code(err) != mayfly.TooLarge {
		t.Errorf("%v", err)
	}
	r.put("a", &event.Item{Body: bytes.Repeat([]byte("x"), 3<<20)}, &event.Item{Body: bytes.Repeat([]byte("y"), 3<<20)})
	if got := r.take("a", 2); len(got) != 2 || len(got[1].Body) != 3<<20 {
		t.Errorf("%d large items", len(got))
	}
}

// A full log refuses what is sent and keeps what was accepted.
func TestFullLog(t *testing.T) {
	r := newRig(t, 1, engine.Config{LogLimit: 256 * mayfly.KiB})
	var accepted []string
	var err error
	for i := 0; err == nil && i < 100; i++ {
		it := &event.Item{Body: append(bytes.Repeat([]byte("x"), 20<<10), fmt.Sprint(i)...), Dedup: fmt.Sprint(i), Window: time.Hour}
		if err = r.store.Lane("a").Put(context.Background(), it); err == nil {
			accepted = append(accepted, it.ID)
		}
	}
	if code(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "full") {
		t.Fatalf("a full log: %v", err)
	}
	for range accepted {
		r.take("a", 1)[0].Fail(time.Time{}, event.Attempt{Error: "no"})
	}
	r.restart()
	for _, id := range accepted {
		if w, err := r.store.Find(context.Background(), id); err != nil || w.State == event.Finished {
			t.Fatalf("%s was accepted and is %+v, %v", id, w, err)
		}
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	store := r.store
	r.stop()
	if err := store.Lane("a").Put(context.Background(), item("x")); code(err) != mayfly.Unavailable {
		t.Errorf("%v", err)
	}
}

// Deduplication ids outlive the records of their items.
func TestDeduplicationOutlivesRecords(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	one := &event.Item{Body: []byte("1"), Dedup: "d", Window: time.Hour}
	r.put("a", one)
	r.take("a", 1)[0].Done()
	r.store.SetRewrite(1)
	log, err := r.engine.Log(context.Background(), "QUEUE_0")
	if err != nil {
		t.Fatal(err)
	}
	_, put, err := log.Bounds(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the record is cut off", func() bool {
		first, _, err := log.Bounds(context.Background())
		return err == nil && first > put
	})
	for range 2 {
		again := &event.Item{Body: []byte("2"), Dedup: "d", Window: time.Hour}
		r.put("a", again)
		if !again.Duplicate || again.ID != one.ID {
			t.Errorf("a repeated send is %s, %v; want %s", again.ID, again.Duplicate, one.ID)
		}
		r.restart()
		r.store.SetRewrite(1)
	}
}
