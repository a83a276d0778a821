package async

import (
	"encoding/json"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Request is one call to accept.
type Request struct {
	App       mayfly.AppName
	Function  mayfly.FunctionName
	Qualifier string
	Event     []byte // JSON
	Trigger   mayfly.TriggerKind
	Route     string
	Trace     mayfly.Trace
	Caller    mayfly.Caller
	HTTP      bool
	Hops      int

	At       time.Time     // not before
	Dedup    string        // a second request of the function with it, within Window, is the first
	Window   time.Duration // default 1 m
	Attempts int           // default: the function's retry.attempts
	MaxAge   time.Duration // default: the function's retry.max_age
}

// stored is a Request as the store keeps it.
type stored struct {
	App       mayfly.AppName      `json:"app"`
	Function  mayfly.FunctionName `json:"fn"`
	Qualifier string              `json:"q,omitempty"`
	Event     json.RawMessage     `json:"event"`
	Trigger   mayfly.TriggerKind  `json:"trigger"`
	Route     string              `json:"route,omitempty"`
	Trace     mayfly.Trace        `json:"trace,omitzero"`
	Caller    mayfly.Caller       `json:"caller,omitzero"`
	HTTP      bool                `json:"http,omitempty"`
	Hops      int                 `json:"hops,omitempty"`
	Attempts  int                 `json:"attempts,omitempty"`
	MaxAge    time.Duration       `json:"max_age,omitempty"`
}

func encode(r *Request) ([]byte, error) {
	event := r.Event
	if len(event) == 0 {
		event = []byte("null")
	}
	trace := r.Trace
	if trace.ID == "" { // one for all attempts
		trace = mayfly.NewTrace()
	}
	body, err := json.Marshal(stored{
		App: r.App, Function: r.Function, Qualifier: r.Qualifier, Event: event, Trigger: r.Trigger, Route: r.Route,
		Trace: trace, Caller: r.Caller, HTTP: r.HTTP, Hops: r.Hops, Attempts: r.Attempts, MaxAge: r.MaxAge,
	})
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "call "+string(r.Function), "the event is not JSON: %w", err)
	}
	return body, nil
}

func (s *stored) request() *Request {
	return &Request{
		App: s.App, Function: s.Function, Qualifier: s.Qualifier, Event: s.Event, Trigger: s.Trigger, Route: s.Route,
		Trace: s.Trace, Caller: s.Caller, HTTP: s.HTTP, Hops: s.Hops, Attempts: s.Attempts, MaxAge: s.MaxAge,
	}
}

func (s *stored) call(id string, attempt int) *trigger.Call {
	return &trigger.Call{
		ID: id, App: s.App, Function: s.Function, Qualifier: s.Qualifier, Event: s.Event, Trigger: s.Trigger, Route: s.Route,
		Attempt: attempt, Trace: s.Trace.Child(), Caller: s.Caller, HTTP: s.HTTP, Hops: s.Hops,
	}
}

// policy is how long and how often a call is tried.
type policy struct {
	attempts int
	maxAge   time.Duration
	backoff  string
}

const (
	defaultAttempts = 3
	defaultMaxAge   = 6 * time.Hour
	defaultWindow   = time.Minute
)

func (s *stored) policy(fn *mayfly.Function) policy {
	p := policy{attempts: s.Attempts, maxAge: s.MaxAge}
	if fn != nil && fn.Retry != nil {
		p.backoff = fn.Retry.Backoff
		if p.attempts == 0 {
			p.attempts = fn.Retry.Attempts
		}
		if p.maxAge == 0 {
			p.maxAge = fn.Retry.MaxAge.D()
		}
	}
	if p.attempts == 0 {
		p.attempts = defaultAttempts
	}
	if p.maxAge == 0 {
		p.maxAge = defaultMaxAge
	}
	return p
}

// request is the Request that a trigger's Accept asks for.
func request(a *trigger.Accept) *Request {
	kind, _ := a.Binding.Trigger.Kind()
	return &Request{
		App: a.Binding.App, Function: a.Binding.Function, Event: a.Event, Trigger: kind, Route: a.Route, HTTP: a.HTTP,
		Trace: a.Trace, Hops: a.Hops, At: a.At, Dedup: a.ID, Window: a.Window, Attempts: a.Binding.Trigger.Attempts,
		Caller: mayfly.Caller{Kind: mayfly.CallerPlatform, Name: string(kind)},
	}
}
