package pool

import (
	"sync"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// stocked is a driver that holds some instances ready.
type stocked struct {
	driver
	mu   sync.Mutex
	held int // guarded by mu
}

func (d *stocked) Held(spec *sandbox.Spec, _ sandbox.Output) sandbox.Instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == 0 {
		return nil
	}
	d.held--
	d.live.Add(1)
	return &fake{driver: &d.driver, id: "held", per: int64(spec.PerInstance), done: make(chan struct{})}
}

func TestTakesWhatTheDriverHolds(t *testing.T) {
	d := &stocked{held: 1}
	p := newPool(t, &d.driver)
	p.cfg.Drivers[mayfly.Python] = d
	l, err := p.Acquire(t.Context(), version(mayfly.Concurrency{}))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(0, 0)
	if l.Instance().ID() != "held" || !l.Cold || d.starts.Load() != 0 {
		t.Errorf("instance %s, cold %v, %d starts", l.Instance().ID(), l.Cold, d.starts.Load())
	}
}

// TestHeldInstanceAmongCallers has many callers arrive at once at a version
// whose driver holds one instance.
func TestHeldInstanceAmongCallers(t *testing.T) {
	for range 50 {
		d := &stocked{held: 1}
		p := newPool(t, &d.driver)
		p.cfg.Drivers[mayfly.Python] = d
		v := version(mayfly.Concurrency{Max: 3})
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				l, err := p.Acquire(t.Context(), v)
				if err != nil {
					t.Error(err)
					return
				}
				l.Release(0, 0)
			})
		}
		callers.Wait()
		if n := d.live.Load(); n < 1 || n > 3 {
			t.Fatalf("%d instances", n)
		}
	}
}
