package pool

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// driver makes instances in memory; it counts what the pool does to them.
type driver struct {
	startErr  error
	startTime time.Duration
	phases    []mayfly.Phase
	gate      chan struct{} // where not nil, a start takes a value from it

	starts, stops, freezes, thaws, live, most atomic.Int64
}

func (d *driver) Runtime() mayfly.Runtime                      { return mayfly.Python }
func (d *driver) Check(context.Context) error                  { return nil }
func (d *driver) Prepare(context.Context, *sandbox.Spec) error { return nil }
func (d *driver) Forget(*sandbox.Spec)                         {}
func (d *driver) Close() error                                 { return nil }

func (d *driver) Start(ctx context.Context, spec *sandbox.Spec, _ sandbox.Output) (sandbox.Instance, error) {
	n := d.starts.Add(1)
	if d.gate != nil {
		select {
		case <-d.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	time.Sleep(d.startTime)
	if d.startErr != nil {
		return nil, d.startErr
	}
	live := d.live.Add(1)
	for most := d.most.Load(); live > most && !d.most.CompareAndSwap(most, live); most = d.most.Load() {
	}
	return &fake{driver: d, id: strconv.Itoa(int(n)), per: int64(spec.PerInstance), done: make(chan struct{})}, nil
}

type fake struct {
	driver *driver
	id     string
	per    int64
	active atomic.Int64
	over   atomic.Bool // more leases than per instance, seen by Call
	once   sync.Once
	done   chan struct{}
}

func (f *fake) ID() string { return f.id }
func (f *fake) Call(_ context.Context, c *sandbox.Call) (*sandbox.Reply, error) {
	if f.active.Add(1) > f.per {
		f.over.Store(true)
	}
	defer f.active.Add(-1)
	if len(c.Event) > 0 {
		time.Sleep(time.Duration(c.Event[0]) * 10 * time.Microsecond)
	}
	return &sandbox.Reply{Payload: c.Event}, nil
}
func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Err() error            { return sandbox.ErrStopped }
func (f *fake) Stop(context.Context) error {
	f.end()
	return nil
}
func (f *fake) end() {
	f.once.Do(func() {
		f.driver.stops.Add(1)
		f.driver.live.Add(-1)
		close(f.done)
	})
}
func (f *fake) Info() sandbox.Info   { return sandbox.Info{Phases: f.driver.phases} }
func (f *fake) Usage() sandbox.Usage { return sandbox.Usage{Memory: 10 * mayfly.MiB} }
func (f *fake) Freeze() error        { f.driver.freezes.Add(1); return nil }
func (f *fake) Thaw() error          { f.driver.thaws.Add(1); return nil }

type specs struct{}

func (specs) Spec(_ context.Context, v *mayfly.Version) (*sandbox.Spec, error) {
	return &sandbox.Spec{App: v.App, Function: v.Function, Version: v.Number, PerInstance: v.Spec.Concurrency.WithDefaults().PerInstance}, nil
}

func newPool(t *testing.T, d *driver) *Pool {
	p := New(Config{
		Drivers: map[mayfly.Runtime]sandbox.Driver{mayfly.Python: d}, Specs: specs{}, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if n := d.live.Load(); n != 0 {
			t.Errorf("%d instances live after Close", n)
		}
	})
	return p
}

func version(c mayfly.Concurrency) *mayfly.Version {
	return &mayfly.Version{App: "a", Function: "f", Number: 1, Spec: mayfly.Function{Runtime: mayfly.Python, Timeout: mayfly.DefaultTimeout, Concurrency: c}}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

func TestReusesAnInstance(t *testing.T) {
	d := &driver{}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{})
	for i := range 10 {
		l, err := p.Acquire(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if l.Cold != (i == 0) {
			t.Errorf("call %d: cold = %v", i, l.Cold)
		}
		l.Release(time.Millisecond, 0)
	}
	if n := d.starts.Load(); n != 1 {
		t.Errorf("%d starts for ten calls in a row", n)
	}
}

func TestCoalescesStarts(t *testing.T) {
	d := &driver{gate: make(chan struct{})}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{PerInstance: 50})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			l, err := p.Acquire(t.Context(), v)
			if err != nil {
				t.Error(err)
				return
			}
			l.Release(0, 0)
		})
	}
	eventually(t, "all wait", func() bool { s := p.Stats(); return len(s) == 1 && s[0].Waiting == 50 })
	close(d.gate)
	wg.Wait()
	if n := d.starts.Load(); n > 2 {
		t.Errorf("%d starts for 50 calls that fit into one instance", n)
	}
}

func TestThrottlesBeyondTheQueue(t *testing.T) {
	d := &driver{}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{Max: 1, Queue: 2})
	l, err := p.Acquire(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := p.Acquire(ctx, v); !errors.Is(err, context.Canceled) {
				t.Errorf("err = %v, want cancelled", err)
			}
		})
	}
	eventually(t, "two wait", func() bool { return p.Stats()[0].Waiting == 2 })
	if _, err := p.Acquire(t.Context(), v); mayfly.CodeOf(err) != mayfly.Throttled {
		t.Errorf("err = %v, want throttled", err)
	}
	cancel()
	wg.Wait()
	l.Release(0, 0)
	if l, err = p.Acquire(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	l.Release(0, 0)
}

func TestFailedStartReachesEveryWaitingCall(t *testing.T) {
	boom := &mayfly.FunctionError{Type: "ImportError", Message: "no module"}
	d := &driver{startErr: boom}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{Max: 2})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := p.Acquire(t.Context(), v); !errors.Is(err, boom) {
				t.Errorf("err = %v", err)
			}
		})
	}
	wg.Wait()
}

func TestInstanceThatEndedIsReplaced(t *testing.T) {
	d := &driver{}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{Warm: 1})
	p.Keep([]*mayfly.Version{v})
	eventually(t, "warm", func() bool { s := p.Stats(); return len(s) == 1 && s[0].Idle == 1 })
	l, err := p.Acquire(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	l.Instance().(*fake).end()
	l.Release(0, 0)
	eventually(t, "another one", func() bool { s := p.Stats(); return d.starts.Load() == 2 && len(s) == 1 && s[0].Idle == 1 })
}

func TestDiscardStopsTheInstance(t *testing.T) {
	d := &driver{}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{})
	l, _ := p.Acquire(t.Context(), v)
	l.Discard()
	l.Release(0, 0)
	eventually(t, "stopped", func() bool { return d.stops.Load() == 1 })
	if l, _ = p.Acquire(t.Context(), v); !l.Cold {
		t.Error("a discarded instance served again")
	}
	l.Release(0, 0)
}

func TestIdleInstancesFreezeAndStop(t *testing.T) {
	d := &driver{}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{})
	v.Spec.KeepAlive = "1m"
	l, _ := p.Acquire(t.Context(), v)
	l.Release(0, 0)
	p.sweep(time.Now().Add(10 * time.Second))
	if d.freezes.Load() != 1 {
		t.Fatal("not frozen")
	}
	l, _ = p.Acquire(t.Context(), v)
	if d.thaws.Load() != 1 || l.Cold {
		t.Errorf("thaws = %d, cold = %v", d.thaws.Load(), l.Cold)
	}
	l.Release(0, 0)
	p.sweep(time.Now().Add(2 * time.Minute))
	eventually(t, "stopped", func() bool { return d.stops.Load() == 1 })
}

func TestMemoryBoundEvictsIdleInstances(t *testing.T) {
	d := &driver{}
	p := newPool(t, d)
	p.cfg.Memory = 25 * mayfly.MiB
	v := version(mayfly.Concurrency{})
	var leases []*Lease
	for range 4 {
		l, err := p.Acquire(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, l)
	}
	p.sweep(time.Now())
	if d.stops.Load() != 0 {
		t.Fatal("a busy instance was evicted")
	}
	for _, l := range leases {
		l.Release(0, 0)
	}
	p.sweep(time.Now())
	eventually(t, "two are left", func() bool { return d.live.Load() == 2 })
}

func TestPrewarmsForKnownFirings(t *testing.T) {
	d := &driver{}
	p := newPool(t, d)
	began := time.Now()
	p.cfg.Firings = func(mayfly.AppName, mayfly.FunctionName, time.Time) []time.Time {
		return []time.Time{began.Add(3 * time.Hour)}
	}
	v := version(mayfly.Concurrency{})
	l, _ := p.Acquire(t.Context(), v)
	l.Release(0, 0)
	p.sweep(began.Add(2 * time.Hour))
	eventually(t, "stopped in between", func() bool { return d.live.Load() == 0 && len(p.Stats()) == 0 })
	p.sweep(began.Add(3*time.Hour - time.Second))
	eventually(t, "started before the firing", func() bool { return d.live.Load() == 1 })
}

func TestRetiredVersionDrains(t *testing.T) {
	d := &driver{}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{})
	busy, _ := p.Acquire(t.Context(), v)
	p.Keep(nil)
	if d.stops.Load() != 0 {
		t.Fatal("a busy instance was stopped")
	}
	late, err := p.Acquire(t.Context(), v)
	if err != nil {
		t.Fatalf("a call that chose the version before the switch fails: %v", err)
	}
	late.Release(0, 0)
	busy.Release(0, 0)
	eventually(t, "both stopped", func() bool { return d.stops.Load() == 2 })
	eventually(t, "forgotten", func() bool {
		p.sweep(time.Now())
		p.mu.RLock()
		defer p.mu.RUnlock()
		return len(p.groups) == 0
	})
}

// TestHammer asserts the package's invariants under everything at once.
func TestHammer(t *testing.T) {
	d := &driver{startTime: 200 * time.Microsecond}
	p := newPool(t, d)
	const maxInstances, per = 8, 3
	v := version(mayfly.Concurrency{Max: maxInstances, PerInstance: per, Queue: 40})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	var wg sync.WaitGroup
	var served, throttled, cancelled atomic.Int64
	for range 64 {
		wg.Go(func() {
			for range 200 {
				c, stop := ctx, context.CancelFunc(func() {})
				if rand.IntN(10) == 0 {
					c, stop = context.WithTimeout(ctx, time.Duration(rand.IntN(500))*time.Microsecond)
				}
				l, err := p.Acquire(c, v)
				stop()
				switch {
				case mayfly.CodeOf(err) == mayfly.Throttled:
					throttled.Add(1)
					time.Sleep(100 * time.Microsecond)
					continue
				case err != nil:
					cancelled.Add(1)
					continue
				}
				in := l.Instance().(*fake)
				_, _ = in.Call(ctx, &sandbox.Call{Event: []byte{byte(rand.IntN(20))}})
				served.Add(1)
				switch rand.IntN(50) {
				case 0:
					l.Discard()
				case 1:
					in.end()
					l.Release(0, 0)
				default:
					l.Release(time.Microsecond, 0)
				}
				if in.over.Load() {
					t.Errorf("instance %s had more than %d calls", in.id, per)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	running.Wait()
	t.Logf("served %d, throttled %d, cancelled %d, starts %d, most live %d", served.Load(), throttled.Load(), cancelled.Load(), d.starts.Load(), d.most.Load())
	if served.Load() == 0 {
		t.Error("nothing was served")
	}
	for _, s := range p.Stats() {
		if s.Busy != 0 || s.Waiting != 0 {
			t.Errorf("left: %+v", s)
		}
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	d := &driver{}
	p := New(Config{Drivers: map[mayfly.Runtime]sandbox.Driver{mayfly.Python: d}, Specs: specs{}, Log: slog.New(slog.DiscardHandler)})
	defer p.Close(context.Background())
	v := version(mayfly.Concurrency{})
	b.ReportAllocs()
	for b.Loop() {
		l, err := p.Acquire(context.Background(), v)
		if err != nil {
			b.Fatal(err)
		}
		l.Release(time.Microsecond, 0)
	}
}

// BenchmarkQueue is the same where calls wait for one another.
func BenchmarkQueue(b *testing.B) {
	d := &driver{}
	p := New(Config{Drivers: map[mayfly.Runtime]sandbox.Driver{mayfly.Python: d}, Specs: specs{}, Log: slog.New(slog.DiscardHandler)})
	defer p.Close(context.Background())
	v := version(mayfly.Concurrency{Max: 1})
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, err := p.Acquire(context.Background(), v)
			if err != nil {
				b.Error(err)
				return
			}
			runtime.Gosched() // others ask meanwhile
			l.Release(time.Microsecond, 0)
		}
	})
}
