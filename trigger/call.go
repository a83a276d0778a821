package trigger

import (
	"context"
	"errors"

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

// Authorizer decides whether who may do verb to the resource kind/name of app.
type Authorizer interface {
	Authorize(ctx context.Context, who mayfly.Caller, app mayfly.AppName, verb, kind, name string) error
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
