package async

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// functions are those of the app "app".
type functions map[mayfly.FunctionName]*mayfly.Function

func (f functions) Function(app mayfly.AppName, fn mayfly.FunctionName) (*mayfly.Function, bool) {
	spec, ok := f[fn]
	return spec, ok && app == "app"
}

type invoker func(ctx context.Context, c *trigger.Call) ([]byte, error)

func (f invoker) Call(ctx context.Context, c *trigger.Call) ([]byte, error) { return f(ctx, c) }

// sent keeps what went to destinations.
type sent struct {
	mu   sync.Mutex
	sent []string // "DESTINATION BODY"
	err  error
}

func (s *sent) SendTo(_ context.Context, app mayfly.AppName, to string, m *mayfly.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.sent = append(s.sent, to+" "+string(m.Body))
	return nil
}

func (s *sent) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.sent, "\n")
}

type rig struct {
	*Calls
	dead *event.Dead
	sent *sent
	stop func()
}

// start runs Calls over an engine in dir.
func start(t testing.TB, dir string, fns functions, call invoker) *rig {
	t.Helper()
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	open := func(names ...string) *event.Store {
		var logs []event.Log
		for _, name := range names {
			log, err := e.Log(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, log)
		}
		store, err := event.Open(ctx, event.Config{Logs: logs})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	calls, dead := open("INVOKE_0", "INVOKE_1"), open("DEAD")
	r := &rig{dead: event.NewDead(dead), sent: &sent{}}
	r.Calls = New(Config{Store: calls, Dead: r.dead, Invoker: call, Functions: fns, Sender: r.sent, Drain: 30 * time.Second})
	storing, stopStores := context.WithCancel(ctx)
	working, stopCalls := context.WithCancel(ctx)
	var stores, work sync.WaitGroup
	stores.Go(func() { _ = calls.Run(storing) })
	stores.Go(func() { _ = dead.Run(storing) })
	work.Go(func() { _ = r.Run(working) })
	r.stop = sync.OnceFunc(func() {
		stopCalls()
		work.Wait()
		stopStores()
		stores.Wait()
		_ = e.Close()
	})
	t.Cleanup(r.stop)
	return r
}

func (r *rig) enqueue(t testing.TB, fn mayfly.FunctionName, event string) string {
	t.Helper()
	id, err := r.Enqueue(context.Background(), &Request{App: "app", Function: fn, Event: []byte(event), Trigger: mayfly.TriggerDirect})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// await waits until a call is in the state.
func (r *rig) await(t testing.TB, id string, want State) *Status {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		s, err := r.Status(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		if s.State == want {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("call %s is %+v, not %s", id, s, want)
		}
		time.Sleep(time.Millisecond)
	}
}

func retries(attempts int) *mayfly.Function {
	return &mayfly.Function{Retry: &mayfly.Retry{Attempts: attempts, Backoff: "1ms..2ms"}}
}

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

func TestSucceeds(t *testing.T) {
	fn := retries(3)
	fn.OnSuccess = "queue/done"
	var got *trigger.Call
	r := start(t, t.TempDir(), functions{"f": fn}, func(_ context.Context, c *trigger.Call) ([]byte, error) {
		got = c
		return []byte(`{"ok":true}`), nil
	})
	trace := mayfly.NewTrace()
	id, err := r.Enqueue(context.Background(), &Request{App: "app", Function: "f", Event: []byte(`{"a":1}`), Trace: trace, Hops: 3, Trigger: mayfly.TriggerBucket})
	if err != nil {
		t.Fatal(err)
	}
	r.await(t, id, Succeeded)
	if got.ID != id || got.Attempt != 1 || string(got.Event) != `{"a":1}` || got.Hops != 3 || got.Trigger != mayfly.TriggerBucket {
		t.Errorf("called with %+v", got)
	}
	if got.Trace.ID != trace.ID || got.Trace.Parent != trace.Span {
		t.Errorf("trace %+v is no child of %+v", got.Trace, trace)
	}
	if s := r.sent.all(); !strings.HasPrefix(s, "queue/done {") || !strings.Contains(s, `"responsePayload":{"ok":true}`) || !strings.Contains(s, `"condition":"Success"`) {
		t.Errorf("sent %s", s)
	}
}

func TestRetriesThenDies(t *testing.T) {
	fn := retries(3)
	fn.OnFailure = "topic/failed"
	var attempts []int
	var working atomic.Bool
	r := start(t, t.TempDir(), functions{"f": fn}, func(_ context.Context, c *trigger.Call) ([]byte, error) {
		attempts = append(attempts, c.Attempt)
		if working.Load() {
			return nil, nil
		}
		return nil, &mayfly.FunctionError{Type: "Boom", Message: fmt.Sprint("no ", c.Attempt)}
	})
	id := r.enqueue(t, "f", `1`)
	s := r.await(t, id, Dead)
	if fmt.Sprint(attempts) != "[1 2 3]" || s.Attempts != 3 || len(s.History) != 3 || s.Error != "Boom: no 3" {
		t.Errorf("attempts %v, %+v", attempts, s)
	}
	if s := r.sent.all(); !strings.Contains(s, "topic/failed") || !strings.Contains(s, "RetriesExhausted") || !strings.Contains(s, `"errorType":"Boom"`) {
		t.Errorf("sent %s", s)
	}
	letters, err := r.dead.List(context.Background(), event.DeadFilter{App: "app", Source: "function/f"})
	if err != nil || len(letters) != 1 || letters[0].ID != s.DeadLetter || letters[0].Item != id || letters[0].Reason != event.DeadAttempts {
		t.Fatalf("dead letters: %+v, %v", letters, err)
	}
	working.Store(true)
	if err := r.Revive(context.Background(), letters[0], ""); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for r.Config().Store.Lane("app/f").Stats().Total > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the redriven call does not end")
		}
		time.Sleep(time.Millisecond)
	}
	if fmt.Sprint(attempts) != "[1 2 3 1]" {
		t.Errorf("attempts %v", attempts)
	}
}

func (c *Calls) Config() Config { return c.cfg }

// A function without capacity is called again, without an attempt counted.
func TestThrottledIsNotAnAttempt(t *testing.T) {
	var n atomic.Int32
	r := start(t, t.TempDir(), functions{"f": retries(1)}, func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if n.Add(1) <= 5 {
			return nil, mayfly.Errorf(mayfly.Throttled, "", "full")
		}
		if c.Attempt != 1 {
			return nil, errors.New("an attempt was counted")
		}
		return nil, nil
	})
	r.await(t, r.enqueue(t, "f", `1`), Succeeded)
}

// Functions that hang do not hold others of their shard.
func TestSlowFunctionHoldsItselfOnly(t *testing.T) {
	release := make(chan struct{})
	fns := functions{"slow": retries(1)}
	for i := range 20 {
		fns[mayfly.FunctionName(fmt.Sprint("f", i))] = retries(1)
	}
	r := start(t, t.TempDir(), fns, func(ctx context.Context, c *trigger.Call) ([]byte, error) {
		if c.Function == "slow" {
			<-release
		}
		return nil, nil
	})
	var slow []string
	for range 100 {
		slow = append(slow, r.enqueue(t, "slow", `1`))
	}
	for i := range 20 {
		r.await(t, r.enqueue(t, mayfly.FunctionName(fmt.Sprint("f", i)), `1`), Succeeded)
	}
	close(release)
	for _, id := range slow {
		r.await(t, id, Succeeded)
	}
}

// A call that waits for its function's capacity is not running, and becomes too
// old where it waits.
func TestWaitsForCapacity(t *testing.T) {
	release := make(chan struct{})
	one := &mayfly.Function{Concurrency: mayfly.Concurrency{Max: 1}}
	r := start(t, t.TempDir(), functions{"f": one}, func(context.Context, *trigger.Call) ([]byte, error) {
		<-release
		return nil, nil
	})
	first := r.enqueue(t, "f", `1`)
	r.await(t, first, Running)
	second, err := r.Enqueue(context.Background(), &Request{App: "app", Function: "f", Event: []byte(`2`), Trigger: mayfly.TriggerDirect, MaxAge: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond) // older than it may be
	r.await(t, second, Waiting)
	close(release)
	r.await(t, first, Succeeded)
	letter, err := r.dead.Get(context.Background(), r.await(t, second, Dead).DeadLetter)
	if err != nil || letter.Reason != event.DeadExpired || letter.Attempts != 0 || letter.Error != "the call is older than 1ms" {
		t.Errorf("%+v, %v", letter, err)
	}
}

func TestCancel(t *testing.T) {
	started := make(chan struct{}, 1)
	r := start(t, t.TempDir(), functions{"f": retries(1)}, func(ctx context.Context, c *trigger.Call) ([]byte, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	running := r.enqueue(t, "f", `1`)
	<-started
	if s := r.await(t, running, Running); s.Function != "f" {
		t.Errorf("%+v", s)
	}
	if err := r.Cancel(context.Background(), running); err != nil {
		t.Fatal(err)
	}
	r.await(t, running, Cancelled)
	if err := r.Cancel(context.Background(), running); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Error(err)
	}
	later, err := r.Enqueue(context.Background(), &Request{App: "app", Function: "f", At: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.await(t, later, Waiting); s.Next.IsZero() {
		t.Errorf("%+v", s)
	}
	if err := r.Cancel(context.Background(), later); err != nil {
		t.Fatal(err)
	}
	r.await(t, later, Cancelled)
}

func TestRefusals(t *testing.T) {
	r := start(t, t.TempDir(), functions{"f": retries(1)}, func(context.Context, *trigger.Call) ([]byte, error) { return nil, nil })
	for _, c := range []struct {
		r    Request
		want mayfly.Code
	}{
		{Request{App: "app", Function: "g"}, mayfly.NotFound},
		{Request{App: "other", Function: "f"}, mayfly.NotFound},
		{Request{App: "app", Function: "f", Event: []byte("{")}, mayfly.Invalid},
		{Request{App: "app", Function: "f", Event: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}, mayfly.TooLarge},
		{Request{App: "app", Function: "f", Hops: mayfly.MaxHops + 1}, mayfly.Invalid},
	} {
		if _, err := r.Enqueue(context.Background(), &c.r); mayfly.CodeOf(err) != c.want {
			t.Errorf("%s/%s: %v, want %s", c.r.App, c.r.Function, err, c.want)
		}
	}
	letters, err := r.dead.List(context.Background(), event.DeadFilter{Reason: event.DeadHops})
	if err != nil || len(letters) != 1 {
		t.Errorf("a cycle is not kept: %v, %v", letters, err)
	}
	if _, err := r.Status(context.Background(), mayfly.NewID()); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Error(err)
	}
}

// What can never succeed dies at once: a rejected event, one that is too old,
// one whose function is gone.
func TestDiesAtOnce(t *testing.T) {
	dir := t.TempDir()
	fns := functions{"f": retries(9), "g": retries(9)}
	reject := func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if c.Function == "g" {
			return nil, mayfly.Errorf(mayfly.Throttled, "", "full")
		}
		return nil, mayfly.Errorf(mayfly.Invalid, "", "no such handler")
	}
	r := start(t, dir, fns, reject)
	if s := r.await(t, r.enqueue(t, "f", `1`), Dead); s.Attempts != 1 {
		t.Errorf("%+v", s)
	}
	old, err := r.Enqueue(context.Background(), &Request{App: "app", Function: "g", MaxAge: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.await(t, old, Dead); !strings.Contains(s.Error, "older") {
		t.Errorf("%+v", s)
	}
	orphan := r.enqueue(t, "g", `1`)
	r.stop()
	r = start(t, dir, functions{}, reject)
	if s := r.await(t, orphan, Dead); !strings.Contains(s.Error, "does not exist") {
		t.Errorf("%+v", s)
	}
}

// A result that cannot be sent makes the call run again, not vanish.
func TestDestinationFails(t *testing.T) {
	fn := retries(2)
	fn.OnSuccess = "queue/gone"
	r := start(t, t.TempDir(), functions{"f": fn}, func(context.Context, *trigger.Call) ([]byte, error) { return nil, nil })
	r.sent.err = mayfly.Errorf(mayfly.NotFound, "", "no such queue")
	id := r.enqueue(t, "f", `1`)
	if s := r.await(t, id, Backoff); !strings.Contains(s.Error, "no such queue") {
		t.Errorf("%+v", s)
	}
}

func TestStopLetsCallsEnd(t *testing.T) {
	dir := t.TempDir()
	started, release := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	call := func(ctx context.Context, c *trigger.Call) ([]byte, error) {
		if calls.Add(1) == 1 {
			close(started)
		}
		<-release
		return nil, ctx.Err()
	}
	r := start(t, dir, functions{"f": retries(1)}, call)
	id := r.enqueue(t, "f", `1`)
	<-started
	go func() { time.Sleep(50 * time.Millisecond); close(release) }()
	r.stop()
	r = start(t, dir, functions{"f": retries(1)}, call)
	if s := r.await(t, id, Finished); s == nil || calls.Load() != 1 {
		t.Errorf("%+v after %d calls", s, calls.Load())
	}
}
