package event_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a store over an embedded engine that can be stopped and started again.
type rig struct {
	t      testing.TB
	cfg    engine.Config
	shards int
	engine *engine.Engine
	store  *event.Store
	stop   func()
}

func newRig(t testing.TB, shards int, cfg engine.Config) *rig {
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	r := &rig{t: t, cfg: cfg, shards: shards}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	e, err := engine.Open(context.Background(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	var logs []event.Log
	for i := range r.shards {
		log, err := e.Log(context.Background(), engine.LogName("QUEUE", i))
		if err != nil {
			r.t.Fatal(err)
		}
		logs = append(logs, log)
	}
	store, err := event.Open(context.Background(), event.Config{Logs: logs})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()
	r.engine, r.store = e, store
	r.stop = func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			r.t.Error(err)
		}
		_ = e.Close()
		r.stop = func() {}
	}
}

func (r *rig) restart() { r.stop(); r.start() }

func (r *rig) put(lane string, items ...*event.Item) {
	r.t.Helper()
	if err := r.store.Lane(lane).Put(context.Background(), items...); err != nil {
		r.t.Fatal(err)
	}
}

// take waits for up to n items.
func (r *rig) take(lane string, n int) []*event.Lease {
	r.t.Helper()
	l := r.store.Lane(lane)
	deadline := time.After(time.Minute)
	for {
		leases, err := l.Take(context.Background(), n, time.Minute, "test")
		if err != nil {
			r.t.Fatal(err)
		}
		if len(leases) > 0 {
			return leases
		}
		select {
		case <-l.Ready():
		case <-deadline:
			r.t.Fatalf("nothing comes from %s: %+v", lane, l.Stats())
		}
	}
}

func (r *rig) empty(lane string) {
	r.t.Helper()
	leases, err := r.store.Lane(lane).Take(context.Background(), 1, time.Minute, "test")
	if err != nil || len(leases) > 0 {
		r.t.Fatalf("%s gives %v, %v", lane, leases, err)
	}
}

func item(body string) *event.Item { return &event.Item{Body: []byte(body)} }

func keyed(key, body string) *event.Item { return &event.Item{Key: key, Body: []byte(body)} }

func code(err error) mayfly.Code { return mayfly.CodeOf(err) }
