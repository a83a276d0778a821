package invoke

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/pool"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// code is a handler in memory: what the instances of the driver run.
type code func(ctx context.Context, c *sandbox.Call) (*sandbox.Reply, error)

type driver struct{ run code }

func (driver) Runtime() mayfly.Runtime                      { return mayfly.Python }
func (driver) Check(context.Context) error                  { return nil }
func (driver) Prepare(context.Context, *sandbox.Spec) error { return nil }
func (driver) Forget(*sandbox.Spec)                         {}
func (driver) Close() error                                 { return nil }

// startTime is how long a start takes, all of it the code's init.
const startTime = 3 * time.Millisecond

func (d driver) Start(context.Context, *sandbox.Spec, sandbox.Output) (sandbox.Instance, error) {
	time.Sleep(startTime)
	return &instance{run: d.run, done: make(chan struct{})}, nil
}

type instance struct {
	run  code
	once sync.Once
	done chan struct{}
}

func (*instance) ID() string { return "i1" }
func (i *instance) Call(ctx context.Context, c *sandbox.Call) (*sandbox.Reply, error) {
	return i.run(ctx, c)
}
func (i *instance) Done() <-chan struct{} { return i.done }
func (*instance) Err() error              { return sandbox.ErrStopped }
func (i *instance) Stop(context.Context) error {
	i.once.Do(func() { close(i.done) })
	return nil
}
func (*instance) Info() sandbox.Info {
	return sandbox.Info{Phases: []mayfly.Phase{{Name: mayfly.PhaseInit, Duration: startTime}}}
}
func (*instance) Usage() sandbox.Usage {
	return sandbox.Usage{MemoryPeak: 20 * mayfly.MiB, CPU: time.Second}
}

// world is one function, f of app a, and the records of its calls.
type world struct {
	version *mayfly.Version
	budget  error
	mu      sync.Mutex
	records []*mayfly.Invocation
}

func (w *world) Version(app mayfly.AppName, fn mayfly.FunctionName, _ string, _ int) (*mayfly.Version, error) {
	if app != "a" || fn != "f" {
		return nil, mayfly.Errorf(mayfly.NotFound, "", "no function %q", fn)
	}
	return w.version, nil
}
func (w *world) Spec(context.Context, *mayfly.Version) (*sandbox.Spec, error) {
	return &sandbox.Spec{PerInstance: 1}, nil
}
func (w *world) Allow(mayfly.AppName) error { return w.budget }
func (w *world) Invocation(r *mayfly.Invocation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, r)
}

// record is the only record; more or fewer are an error.
func (w *world) record(t *testing.T) *mayfly.Invocation {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.records) != 1 {
		t.Fatalf("%d records", len(w.records))
	}
	return w.records[0]
}

func newInvoker(t *testing.T, run code) (*Invoker, *world, *pool.Pool) {
	w := &world{version: &mayfly.Version{App: "a", Function: "f", Number: 1, Spec: mayfly.Function{
		Runtime: mayfly.Python, Timeout: mayfly.Duration(time.Minute), Memory: 128 * mayfly.MiB, Concurrency: mayfly.Concurrency{Max: 1, Queue: 1},
	}}}
	log := slog.New(slog.DiscardHandler)
	p := pool.New(pool.Config{Drivers: map[mayfly.Runtime]sandbox.Driver{mayfly.Python: driver{run}}, Specs: w, Log: log})
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return New(Config{Versions: w, Pool: p, Recorder: w, Budget: w, Log: log}), w, p
}

func echo(_ context.Context, c *sandbox.Call) (*sandbox.Reply, error) {
	return &sandbox.Reply{Payload: c.Event}, nil
}

func request() *Request {
	return &Request{App: "a", Function: "f", Event: []byte(`{"n":1}`), Trigger: mayfly.TriggerDirect, Trace: mayfly.NewTrace()}
}

func TestACallIsRecorded(t *testing.T) {
	i, w, _ := newInvoker(t, echo)
	req := request()
	res, err := i.Invoke(t.Context(), req)
	if err != nil || string(res.Payload) != `{"n":1}` {
		t.Fatalf("%s %v", res.Payload, err)
	}
	r := w.record(t)
	if r.Outcome != mayfly.OutcomeOK || !r.Cold || r.Attempt != 1 || r.Trace.ID != req.Trace.ID || r.Trace.Parent != req.Trace.Span || r.MemoryPeak != 20*mayfly.MiB {
		t.Errorf("record %+v", r)
	}
	if r.CPU != 0 {
		t.Errorf("the call is charged %v of processor time, which the start used", r.CPU)
	}
	if r.Event != nil {
		t.Error("the input of a call that succeeded is kept")
	}
	if r.Billed%time.Millisecond != 0 || r.Billed < startTime {
		t.Errorf("billed %v: not rounded up, or without the init", r.Billed)
	}
}

func TestFailuresKeepTheirKind(t *testing.T) {
	boom := &mayfly.FunctionError{Type: "ValueError", Message: "bad"}
	for _, c := range []struct {
		name    string
		run     code
		change  func(*world, *Request)
		code    mayfly.Code
		outcome mayfly.Outcome
	}{
		{"handler", func(context.Context, *sandbox.Call) (*sandbox.Reply, error) { return nil, boom }, nil, mayfly.FunctionFailed, mayfly.OutcomeError},
		{"memory", func(context.Context, *sandbox.Call) (*sandbox.Reply, error) { return nil, sandbox.ErrOutOfMemory }, nil, mayfly.FunctionFailed, mayfly.OutcomeMemory},
		{"platform", func(context.Context, *sandbox.Call) (*sandbox.Reply, error) { return nil, io.ErrUnexpectedEOF }, nil, mayfly.Internal, mayfly.OutcomeInternal},
		{"timeout", func(ctx context.Context, _ *sandbox.Call) (*sandbox.Reply, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
			func(w *world, _ *Request) { w.version.Spec.Timeout = mayfly.Duration(time.Millisecond) }, mayfly.FunctionFailed, mayfly.OutcomeTimeout},
		{"budget", echo, func(w *world, _ *Request) { w.budget = mayfly.Errorf(mayfly.Quota, "", "spent") }, mayfly.Quota, mayfly.OutcomeThrottled},
		{"cycle", echo, func(_ *world, r *Request) { r.Hops = mayfly.MaxHops + 1 }, mayfly.Invalid, mayfly.OutcomeInternal},
		{"inspected", echo, func(_ *world, r *Request) {
			r.Inspect = func([]byte, *mayfly.Invocation) error { return boom }
		}, mayfly.FunctionFailed, mayfly.OutcomeError},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, w, _ := newInvoker(t, c.run)
			req := request()
			if c.change != nil {
				c.change(w, req)
			}
			_, err := i.Invoke(t.Context(), req)
			if mayfly.CodeOf(err) != c.code {
				t.Errorf("code %q of %v, want %q", mayfly.CodeOf(err), err, c.code)
			}
			r := w.record(t)
			if r.Outcome != c.outcome {
				t.Errorf("outcome %q, want %q", r.Outcome, c.outcome)
			}
			if string(r.Event) != `{"n":1}` {
				t.Error("the input of a call that failed is gone")
			}
		})
	}
}

func TestUnknownFunctionLeavesNoRecord(t *testing.T) {
	i, w, _ := newInvoker(t, echo)
	req := request()
	req.Function = "g"
	if _, err := i.Invoke(t.Context(), req); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Fatalf("err = %v", err)
	}
	if len(w.records) != 0 {
		t.Error("a call of nothing is recorded")
	}
}

// TestACallerThatGoesAwayEndsNothing cancels while the handler runs: its
// instance must come back.
func TestACallerThatGoesAwayEndsNothing(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	i, w, _ := newInvoker(t, func(ctx context.Context, c *sandbox.Call) (*sandbox.Reply, error) {
		close(began)
		<-finish
		return &sandbox.Reply{Payload: c.Event}, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := i.Invoke(ctx, request()); done <- err }()
	<-began
	cancel()
	close(finish)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r := w.record(t); r.Outcome != mayfly.OutcomeOK {
		t.Errorf("outcome %q", r.Outcome)
	}
}

func TestThrottledCallsAreRecorded(t *testing.T) {
	hold := make(chan struct{})
	var entered sync.WaitGroup
	entered.Add(1)
	i, w, p := newInvoker(t, func(context.Context, *sandbox.Call) (*sandbox.Reply, error) {
		entered.Done()
		<-hold
		return &sandbox.Reply{}, nil
	})
	var running sync.WaitGroup
	running.Go(func() { _, _ = i.Invoke(t.Context(), request()) })
	entered.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	running.Go(func() { _, _ = i.Invoke(ctx, request()) }) // waits in the queue of one
	for len(p.Stats()) == 0 || p.Stats()[0].Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := i.Invoke(t.Context(), request()); mayfly.CodeOf(err) != mayfly.Throttled {
		t.Errorf("err = %v", err)
	}
	if r := w.record(t); r.Outcome != mayfly.OutcomeThrottled || r.Duration != 0 {
		t.Errorf("record %+v", r)
	}
	cancel()
	close(hold)
	running.Wait()
}

func TestCodeLearnsOfItsCall(t *testing.T) {
	var got sandbox.Call
	i, _, _ := newInvoker(t, func(_ context.Context, c *sandbox.Call) (*sandbox.Reply, error) {
		got = *c
		return &sandbox.Reply{Payload: []byte("1")}, nil
	})
	req := request()
	req.Qualifier, req.Attempt, req.Hops, req.Trigger = "beta", 3, 2, mayfly.TriggerQueue
	res, err := i.Invoke(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != res.Invocation.ID || got.Trace != res.Invocation.Trace || got.Attempt != 3 || got.Hops != 2 || got.Trigger != mayfly.TriggerQueue ||
		got.ARN != "arn:aws:lambda:local:000000000000:function:a-f:beta" || string(got.Event) != string(req.Event) || time.Until(got.Deadline) > time.Minute {
		t.Errorf("%+v", got)
	}
}

func TestStreamsEndTheirCall(t *testing.T) {
	for _, c := range []struct {
		name    string
		body    io.Reader
		whole   bool
		outcome mayfly.Outcome
	}{
		{"to the end", strings.NewReader("hello"), true, mayfly.OutcomeOK},
		{"closed early", strings.NewReader("hello"), false, mayfly.OutcomeOK},
		{"broken", io.MultiReader(strings.NewReader("he"), failing{}), true, mayfly.OutcomeError},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, w, _ := newInvoker(t, func(context.Context, *sandbox.Call) (*sandbox.Reply, error) {
				return &sandbox.Reply{Body: io.NopCloser(c.body), Meta: &sandbox.Meta{Status: 201}}, nil
			})
			res, err := i.Invoke(t.Context(), request())
			if err != nil || res.Meta.Status != 201 {
				t.Fatal(res, err)
			}
			if len(w.records) != 0 {
				t.Fatal("recorded before its end")
			}
			if c.whole {
				_, _ = io.ReadAll(res.Body)
			}
			_ = res.Body.Close()
			if r := w.record(t); r.Outcome != c.outcome {
				t.Errorf("outcome %q, want %q", r.Outcome, c.outcome)
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) {
	return 0, &mayfly.FunctionError{Type: "Error", Message: "broke"}
}

func TestSessionOfAnEventShapedInstance(t *testing.T) {
	i, w, p := newInvoker(t, echo)
	s, err := i.Session(t.Context(), request())
	if s != nil || err != nil {
		t.Fatalf("%v %v, want neither", s, err)
	}
	if p.Stats()[0].Busy != 0 || len(w.records) != 0 {
		t.Error("the slot was not given back")
	}
	res, err := i.Invoke(t.Context(), request())
	if err != nil || !res.Invocation.Cold {
		t.Errorf("the first call is not the cold one: %v", err)
	}
}
