package program

import (
	"context"
	"strconv"
	"time"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/runtimeapi"
)

// Poller is a program that asks the Runtime API for events. It is a
// sandbox.Instance, safe for concurrent use.
type Poller struct {
	*Program
	server *runtimeapi.Server
	door   *Door
}

var (
	_ sandbox.Instance = (*Poller)(nil)
	_ sandbox.Freezer  = (*Poller)(nil)
)

// NewPoller opens the Runtime API for a program that is not started yet.
func NewPoller(l *process.Launcher, spec *sandbox.Spec) (*Poller, error) {
	door, err := OpenDoor(l, runtimeapi.Port)
	if err != nil {
		return nil, err
	}
	return &Poller{door: door, server: runtimeapi.New(runtimeapi.Config{PerInstance: spec.PerInstance})}, nil
}

// Environ is what the program needs to find the Runtime API.
func (p *Poller) Environ(spec *sandbox.Spec, handler string) map[string]string {
	env := map[string]string{"AWS_LAMBDA_RUNTIME_API": p.door.Addr(), "_HANDLER": handler}
	if spec.PerInstance > 1 {
		env["AWS_LAMBDA_MAX_CONCURRENCY"] = strconv.Itoa(spec.PerInstance)
	}
	return env
}

// Start runs the program with the Runtime API served to it.
func (p *Poller) Start(ctx context.Context, id string, c Config) error {
	c.Command.Listen = p.door.Listen()
	c.Serve = func(proc *process.Process) { p.server.Serve(p.door.Listener(proc)) }
	ended := c.Ended
	c.Ended = func(err error) {
		p.server.Fail(err)
		if ended != nil {
			ended(err)
		}
	}
	if c.Current == nil {
		c.Current = p.server.Current
	}
	var err error
	if p.Program, err = Start(ctx, id, c); err != nil {
		p.door.Close()
	}
	return err
}

// Current is the call that output belongs to, nil where that is not known.
func (p *Poller) Current() *sandbox.Call { return p.server.Current() }

// Polling is closed when the program has asked for an event, or never will:
// Polled then tells which.
func (p *Poller) Polling() <-chan struct{} { return p.server.Ready() }

// Polled is nil once the program has asked for an event, and else why it failed
// to. It is called after Polling is closed.
func (p *Poller) Polled() error {
	if p.server.Polled() {
		return nil
	}
	if err := p.server.InitError(); err != nil {
		return err
	}
	<-p.Done()
	return p.Err()
}

// Await waits until the program asks for an event. A program that does not in
// time, or fails, is ended.
func (p *Poller) Await(ctx context.Context, limit time.Duration) error {
	var err error
	select {
	case <-p.Polling():
		err = p.Polled()
	case <-ctx.Done():
		err = p.Slow(ctx, limit, "it did not ask for an event (GET /2018-06-01/runtime/invocation/next)")
	}
	if err != nil {
		p.Kill()
		return err
	}
	p.Ready()
	return nil
}

// Call hands the program one event.
func (p *Poller) Call(ctx context.Context, call *sandbox.Call) (*sandbox.Reply, error) {
	return p.server.Call(ctx, call)
}
