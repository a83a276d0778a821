package invoke

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/pool"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Versions resolves what a call names. qualifier is "", an alias or a version
// number; roll, uniform in [0, 100), decides between the two of a canary.
type Versions interface {
	Version(app mayfly.AppName, fn mayfly.FunctionName, qualifier string, roll int) (*mayfly.Version, error)
}

// Recorder takes the record of every call, which is also its span. It neither
// blocks nor fails, and does not change the record.
type Recorder interface {
	Invocation(*mayfly.Invocation)
}

// Budget refuses calls of an app that spent what it may.
type Budget interface {
	Allow(app mayfly.AppName) error
}

// Watcher is told which call each instance runs, by the instance's process
// (sandbox.Info.PID). hops are the functions that the call's cause went through.
// It neither blocks nor changes the record.
type Watcher interface {
	Began(pid int, r *mayfly.Invocation, hops int)
	Ended(pid int, r *mayfly.Invocation)
}

// Config configures an Invoker.
type Config struct {
	Versions Versions
	Pool     *pool.Pool
	Recorder Recorder
	Budget   Budget  // nil: none
	Watcher  Watcher // nil: none
	Log      *slog.Logger
	Region   string              // in ARN-like ids; default "local"
	Redact   func(string) string // of what functions' errors say; nil: as it is
}

// Invoker runs calls.
type Invoker struct{ cfg Config }

// New makes an Invoker.
func New(cfg Config) *Invoker {
	if cfg.Region == "" {
		cfg.Region = "local"
	}
	return &Invoker{cfg: cfg}
}

// Request is one call.
type Request struct {
	ID        string // "": a new one
	App       mayfly.AppName
	Function  mayfly.FunctionName
	Qualifier string // "": live; an alias or a version number
	Event     []byte // JSON
	Trigger   mayfly.TriggerKind
	Route     string // of an HTTP call
	Attempt   int    // default 1
	Trace     mayfly.Trace
	Caller    mayfly.Caller
	HTTP      bool // Event is an HTTPRequest
	Hops      int  // functions that the cause went through

	// Inspect, where set, reads the result before the call is recorded; its
	// error makes the call one that failed. It may set the record's Status.
	Inspect func(payload []byte, r *mayfly.Invocation) error
}

// Result is a call's reply. Where Body is set the call still runs until Body is
// at its end or closed, and Invocation is complete only then.
type Result struct {
	Payload    []byte
	Body       io.ReadCloser
	Meta       *sandbox.Meta
	Invocation *mayfly.Invocation
}

// Whole is Body where it came as a whole, and false where it has to be read. The
// call has ended then.
func (r *Result) Whole() ([]byte, bool) {
	s, ok := r.Body.(*stream)
	if !ok {
		return nil, false
	}
	return s.whole()
}

// Invoke runs one call and waits for its reply. The error is a
// *mayfly.FunctionError where the user's code failed, else a *mayfly.Error. The
// Result is not nil where the call got as far as a version.
func (i *Invoker) Invoke(ctx context.Context, req *Request) (*Result, error) {
	c, err := i.admit(ctx, req)
	if err != nil {
		return c.result(), err
	}
	reply, err := c.run(ctx, req)
	if err != nil {
		return c.result(), c.fail(err)
	}
	if reply.Body != nil {
		res := c.result()
		res.Meta = reply.Meta
		res.Body = &stream{call: c, body: reply.Body}
		return res, nil
	}
	c.record.BytesOut = int64(len(reply.Payload))
	if req.Inspect != nil {
		if err := req.Inspect(reply.Payload, c.record); err != nil {
			return c.result(), c.fail(err)
		}
	}
	c.finish(mayfly.OutcomeOK, nil)
	res := c.result()
	res.Payload, res.Meta = reply.Payload, reply.Meta
	return res, nil
}

// admit resolves the version and gets a lease.
func (i *Invoker) admit(ctx context.Context, req *Request) (*call, error) {
	v, err := i.cfg.Versions.Version(req.App, req.Function, req.Qualifier, rand.IntN(100))
	if err != nil {
		return nil, err
	}
	c := i.newCall(req, v)
	if req.Hops > mayfly.MaxHops {
		return c, c.fail(mayfly.Errorf(mayfly.Invalid, "", "the event came through more than %d functions: they call each other in a cycle", mayfly.MaxHops))
	}
	if i.cfg.Budget != nil {
		if err := i.cfg.Budget.Allow(req.App); err != nil {
			return c, c.fail(err)
		}
	}
	c.lease, err = i.cfg.Pool.Acquire(ctx, v)
	if err != nil {
		return c, c.fail(err)
	}
	c.record.Cold = c.lease.Cold
	c.record.Instance = c.lease.Instance().ID()
	c.record.Isolation = c.lease.Instance().Info().Tier.Name
	c.record.Phases = c.lease.Phases()
	c.watch()
	return c, nil
}

func (i *Invoker) newCall(req *Request, v *mayfly.Version) *call {
	if req.ID == "" {
		req.ID = mayfly.NewID()
	}
	return &call{
		invoker: i, version: v, hops: req.Hops,
		record: &mayfly.Invocation{
			ID: req.ID, App: v.App, Function: v.Function, Version: v.Number,
			Trigger: req.Trigger, Route: req.Route, Trace: req.Trace.Child(), Attempt: max(req.Attempt, 1),
			Start: time.Now(), Memory: v.Spec.Memory, Caller: req.Caller,
			BytesIn: int64(len(req.Event)), Event: req.Event,
		},
	}
}

// run hands the event to the instance. A caller that goes away does not end it.
func (c *call) run(ctx context.Context, req *Request) (*sandbox.Reply, error) {
	c.began = time.Now()
	deadline := c.began.Add(c.version.Spec.Timeout.D())
	ctx, c.cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline)
	c.sent = sandbox.Call{
		ID: c.record.ID, Trace: c.record.Trace, Deadline: deadline, Attempt: c.record.Attempt, Trigger: req.Trigger,
		ARN: c.invoker.arn(c.version, req.Qualifier), Event: req.Event, HTTP: req.HTTP, Hops: req.Hops,
	}
	reply, err := c.lease.Instance().Call(ctx, &c.sent)
	if err == nil {
		return reply, nil
	}
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		err = c.overran()
	}
	return nil, err
}

func (c *call) overran() error {
	return &mayfly.FunctionError{Type: mayfly.ErrorTypeTimeout, Message: "the call did not end within its timeout of " + c.version.Spec.Timeout.String()}
}

// arn is what a handler reads as its own identifier, in the form of Lambda's.
func (i *Invoker) arn(v *mayfly.Version, qualifier string) string {
	arn := "arn:aws:lambda:" + i.cfg.Region + ":000000000000:function:" + string(v.App) + "-" + string(v.Function)
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}
