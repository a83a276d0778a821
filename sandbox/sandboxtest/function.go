package sandboxtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Function is one instance that a test calls.
type Function struct {
	testing.TB
	Instance sandbox.Instance
	Out      *Recorder
}

// Start starts an instance of a version, whose empty fields are completed as
// those of a Maker. It ends with the test.
func Start(t testing.TB, d sandbox.Driver, spec *sandbox.Spec) *Function {
	t.Helper()
	f := &Function{TB: t, Out: &Recorder{}}
	var err error
	if f.Instance, err = d.Start(Within(t), Complete(spec), f.Out); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { End(f.Instance) })
	return f
}

// End ends an instance by force.
func End(inst sandbox.Instance) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = inst.Stop(ctx)
}

// Within is a context that bounds a wait of a test. It is never a measure.
func Within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Call makes a call of which the event, and what is about HTTP, is c's.
func (f *Function) Call(c *sandbox.Call) (*sandbox.Reply, error) {
	c.ID, c.Trace, c.Attempt, c.Trigger, c.Deadline = mayfly.NewID(), mayfly.NewTrace(), 1, mayfly.TriggerDirect, time.Now().Add(Patience)
	if c.HTTP {
		c.Trigger = mayfly.TriggerHTTP
	}
	c.ARN = "arn:mayfly:local:app:function:fn"
	return f.Instance.Call(Within(f), c)
}

// Event makes a call and returns its result.
func (f *Function) Event(event string) string {
	f.Helper()
	text, err := f.Try(event)
	if err != nil {
		f.Fatalf("Call: %v", err)
	}
	return text
}

// Try is Event where the call may fail.
func (f *Function) Try(event string) (string, error) {
	reply, err := f.Call(&sandbox.Call{Event: []byte(event)})
	if err != nil {
		return "", err
	}
	return Read(reply, false)
}

// Fails makes a call that must fail.
func (f *Function) Fails(event string) *mayfly.FunctionError {
	f.Helper()
	_, err := f.Try(event)
	var failed *mayfly.FunctionError
	if !errors.As(err, &failed) {
		f.Fatalf("Call returned %v, want a FunctionError", err)
	}
	return failed
}

// HTTP makes an HTTP call and returns its head and body.
func (f *Function) HTTP(method, path, body string) (*sandbox.Meta, string) {
	f.Helper()
	reply, err := f.Call(&sandbox.Call{HTTP: true, Event: Request(method, path, body)})
	if err != nil {
		f.Fatalf("Call: %v", err)
	}
	text, err := Read(reply, true)
	if err != nil {
		f.Fatalf("the reply ended: %v", err)
	}
	return reply.Meta, text
}

// Want compares texts.
func (f *Function) Want(got, want string) {
	f.Helper()
	if got != want {
		f.Errorf("got %.300q, want %.300q", got, want)
	}
}
