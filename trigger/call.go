package trigger

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Call is one call of a function.
type Call struct {
	ID        string // "": a new one
	App       mayfly.AppName
	Function  mayfly.FunctionName
	Qualifier string // "": live
	Event     []byte // JSON
	Trigger   mayfly.TriggerKind
	Route     string
	Attempt   int // 1 for the first
	Trace     mayfly.Trace
	Caller    mayfly.Caller
	HTTP      bool // Event is an HTTPRequest
	Hops      int  // functions that the cause went through

	// Of a call that waited: what it waited in, such as queue/mail, since when,
	// and the traces of the further messages of its batch.
	Source string
	Sent   time.Time
	Causes []mayfly.Trace
}

// Invoker runs one call and waits for its reply, a streamed one to its end. An
// error is a *mayfly.FunctionError where the function failed, else says what
// the platform could not do: Throttled and Unavailable are worth another try.
type Invoker interface {
	Call(ctx context.Context, c *Call) (payload []byte, err error)
}

// Functions knows what is deployed. The Function must not be changed.
type Functions interface {
	Function(app mayfly.AppName, fn mayfly.FunctionName) (*mayfly.Function, bool)
}

// Secrets resolves an app's secret.
type Secrets interface {
	Secret(ctx context.Context, app mayfly.AppName, name string) (string, error)
}

// Sender hands a message to a destination of an app: queue/NAME, topic/NAME or
// function/NAME. The message is durable when it returns.
type Sender interface {
	SendTo(ctx context.Context, app mayfly.AppName, destination string, m *mayfly.Message) error
}

// Verdict is what a failed call means for the event that caused it.
type Verdict int

const (
	Retry  Verdict = iota // the attempt counts; try again while there are any left
	Wait                  // no capacity: try again, and do not count it
	Reject                // it can never succeed
)

// Judge says what an error of an Invoker means for the event.
func Judge(err error) Verdict {
	switch mayfly.CodeOf(err) {
	case mayfly.Throttled, mayfly.Quota, mayfly.Unavailable:
		return Wait
	case mayfly.Invalid, mayfly.Denied, mayfly.NotFound, mayfly.TooLarge:
		return Reject
	}
	if errors.Is(err, context.Canceled) {
		return Wait // the platform is going down
	}
	return Retry
}

// Apps knows the manifests that are deployed. They must not be changed.
type Apps interface {
	Manifest(app mayfly.AppName) (*mayfly.Manifest, bool)
	Manifests() []*mayfly.Manifest
}

// FunctionsOf are the functions of the deployed manifests.
func FunctionsOf(apps Apps) Functions { return deployed{apps} }

type deployed struct{ Apps }

func (d deployed) Function(app mayfly.AppName, fn mayfly.FunctionName) (*mayfly.Function, bool) {
	m, ok := d.Manifest(app)
	if !ok {
		return nil, false
	}
	spec, ok := m.Functions[fn]
	return spec, ok
}

// Destinations send by the kind of destination: "queue", "topic", "function".
type Destinations map[string]func(ctx context.Context, app mayfly.AppName, name string, m *mayfly.Message) error

// SendTo implements Sender.
func (d Destinations) SendTo(ctx context.Context, app mayfly.AppName, destination string, m *mayfly.Message) error {
	kind, name, _ := strings.Cut(destination, "/")
	send := d[kind]
	if send == nil || name == "" {
		return mayfly.Errorf(mayfly.Invalid, "send", "%q is not a destination; write it as queue/NAME, topic/NAME or function/NAME", destination)
	}
	return send(ctx, app, name, m)
}

// HopsHeader is where a function says how many functions the cause of its
// request went through; "traceparent" says the trace.
const HopsHeader = "X-Mayfly-Hops"

// Cause is the trace and the hops of what a request sends: its headers, else
// what the context knows. A function's own call is one hop more.
func Cause(ctx context.Context, traceparent, hops string) (mayfly.Trace, int) {
	trace, ok := mayfly.ParseTrace(traceparent, "")
	if !ok {
		if trace = mayfly.TraceFrom(ctx); trace.ID == "" {
			trace = mayfly.NewTrace()
		}
	}
	n, err := strconv.Atoi(hops)
	if err != nil || n < 0 {
		n = 0
	}
	if mayfly.CallerFrom(ctx).Kind == mayfly.CallerFunction {
		n++
	}
	return trace, n
}

// Accept is an asynchronous call that a trigger causes.
type Accept struct {
	Binding *Binding
	Event   []byte // JSON
	ID      string // a second one with it within Window is the first; "" none
	Window  time.Duration
	At      time.Time // not before
	Route   string
	HTTP    bool
	Trace   mayfly.Trace
	Hops    int
}

// Acceptor accepts an asynchronous call durably, and returns its id.
type Acceptor interface {
	Accept(ctx context.Context, a *Accept) (id string, err error)
}
