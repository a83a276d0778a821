package event_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
)

// work runs a worker on a lane until the test ends or stop is called.
func (r *rig) work(lane string, cfg event.WorkerConfig) (stop func()) {
	cfg.Lane = r.store.Lane(lane)
	w := event.NewWorker(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx, ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	store := r.stop
	r.stop = func() { stop(); store() }
	return stop
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestWorkerBatches(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	var items []*event.Item
	for i := range 25 {
		items = append(items, item(fmt.Sprint(i)))
	}
	r.put("a", items...)
	sizes := make(chan int, 100)
	stop := r.work("a", event.WorkerConfig{
		Settings: func() event.Settings { return event.Settings{Batch: 10, Window: 50 * time.Millisecond} },
		Handle: func(_ context.Context, leases []*event.Lease) bool {
			sizes <- len(leases)
			for _, le := range leases {
				le.Done()
			}
			return false
		},
	})
	if a, b, c := <-sizes, <-sizes, <-sizes; a+b+c != 25 || min(a, b, c) != 5 {
		t.Errorf("batches of %d, %d and %d", a, b, c)
	}
	stop()
	if s := r.store.Lane("a").Stats(); s.Total != 0 {
		t.Errorf("%+v", s)
	}
}

// A worker that is stopped gives back what it held for a window.
func TestWorkerGivesBack(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	r.put("a", item("x"))
	stop := r.work("a", event.WorkerConfig{
		Settings: func() event.Settings { return event.Settings{Batch: 10, Window: time.Hour} },
		Handle:   func(context.Context, []*event.Lease) bool { t.Error("called"); return false },
	})
	until(t, "the item is held", func() bool { return r.store.Lane("a").Stats().Leased == 1 })
	stop()
	if le := r.take("a", 1)[0]; le.Attempt != 1 {
		t.Errorf("attempt %d", le.Attempt)
	}
}

func TestWorkerRenews(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	r.put("a", item("x"))
	release := make(chan struct{})
	lost := make(chan bool, 1)
	r.work("a", event.WorkerConfig{
		Settings: func() event.Settings { return event.Settings{Visibility: 300 * time.Millisecond} },
		Handle: func(_ context.Context, leases []*event.Lease) bool {
			<-release
			lost <- !leases[0].Done()
			return false
		},
	})
	time.Sleep(3 * time.Second)
	close(release)
	if <-lost {
		t.Error("the lease of a running handler ended")
	}
}

// The gate bounds two workers together, and no call is lost at it.
func TestGate(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	gate := &event.Gate{}
	gate.SetLimit(3)
	var running, most, done atomic.Int32
	for range 2 {
		r.work("a", event.WorkerConfig{
			Gate:     gate,
			Settings: func() event.Settings { return event.Settings{Batch: 2} },
			Handle: func(_ context.Context, leases []*event.Lease) bool {
				most.Store(max(most.Load(), running.Add(1)))
				time.Sleep(time.Millisecond)
				running.Add(-1)
				for _, le := range leases {
					le.Done()
				}
				done.Add(int32(len(leases)))
				return false
			},
		})
	}
	for i := range 100 {
		r.put("a", item(fmt.Sprint(i)))
	}
	until(t, "all are done", func() bool { return done.Load() == 100 })
	if most.Load() > 3 {
		t.Errorf("%d calls at once", most.Load())
	}
}

func TestWorkerAsksForLess(t *testing.T) {
	r := newRig(t, 1, engine.Config{})
	var running, done atomic.Int32
	r.work("a", event.WorkerConfig{
		Settings: func() event.Settings { return event.Settings{} },
		Handle: func(_ context.Context, leases []*event.Lease) bool {
			defer running.Add(-1)
			if running.Add(1) > 2 { // the capacity of this function
				leases[0].Release(time.Time{})
				return true
			}
			time.Sleep(2 * time.Millisecond)
			leases[0].Done()
			done.Add(1)
			return false
		},
	})
	for i := range 50 {
		r.put("a", item(fmt.Sprint(i)))
	}
	until(t, "all are done", func() bool { return done.Load() == 50 })
}
