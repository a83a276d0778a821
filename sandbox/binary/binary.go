package binary

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/program"
	"github.com/mayfly-cloud/mayfly/sandbox/runtimeapi"
)

// DefaultHandler is the executable where a manifest names none.
const DefaultHandler = "bootstrap"

// Config configures a Driver.
type Config struct {
	Launcher *process.Launcher
	Log      *slog.Logger // default: none
}

// Driver runs the binary runtime. It keeps nothing between calls.
type Driver struct {
	launcher *process.Launcher
	log      *slog.Logger
}

var _ sandbox.Driver = (*Driver)(nil)

// New returns a Driver.
func New(c Config) *Driver {
	return &Driver{launcher: c.Launcher, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler))}
}

// Runtime is mayfly.Binary.
func (d *Driver) Runtime() mayfly.Runtime { return mayfly.Binary }

// Check succeeds: an executable brings all that it needs.
func (d *Driver) Check(context.Context) error { return nil }

// Prepare checks that the handler is an executable of this machine.
func (d *Driver) Prepare(_ context.Context, spec *sandbox.Spec) error {
	name, err := handler(spec)
	if err != nil {
		return err
	}
	return program.Executable(filepath.Join(spec.Dir, name), name)
}

// handler is the executable's path in the bundle.
func handler(spec *sandbox.Spec) (string, error) {
	name := strings.TrimPrefix(filepath.Clean(cmp.Or(spec.Handler, DefaultHandler)), process.TaskDir+"/")
	if !filepath.IsLocal(name) {
		return "", &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler,
			Message: "handler " + strconv.Quote(spec.Handler) + " is not a path within the bundle"}
	}
	return name, nil
}

// instance is a program that asks its server for events.
type instance struct {
	*program.Program
	server *runtimeapi.Server
}

var (
	_ sandbox.Instance = (*instance)(nil)
	_ sandbox.Freezer  = (*instance)(nil)
)

// Start runs the executable and waits until it asks for its first event.
func (d *Driver) Start(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (sandbox.Instance, error) {
	if err := d.Prepare(ctx, spec); err != nil {
		return nil, err
	}
	ctx, cancel, limit := program.Limit(ctx, spec)
	defer cancel()
	in, err := d.begin(ctx, spec, out)
	if err != nil {
		return nil, err
	}
	select {
	case <-in.server.Ready():
	case <-ctx.Done():
		err = in.Slow(ctx, limit, "it did not ask for an event (GET /2018-06-01/runtime/invocation/next)")
	}
	if err == nil && !in.server.Polled() {
		err = in.server.InitError()
		if err == nil {
			<-in.Done()
			err = in.Err()
		}
	}
	if err != nil {
		in.Kill()
		return nil, err
	}
	in.Ready()
	return in, nil
}

// begin starts the program with its Runtime API.
func (d *Driver) begin(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (*instance, error) {
	name, err := handler(spec)
	if err != nil {
		return nil, err
	}
	id := program.NewID()
	server := runtimeapi.New(runtimeapi.Config{PerInstance: spec.PerInstance})
	door, err := program.OpenDoor(d.launcher, runtimeapi.Port)
	if err != nil {
		return nil, err
	}
	fixed := map[string]string{"AWS_LAMBDA_RUNTIME_API": door.Addr(), "_HANDLER": cmp.Or(spec.Handler, DefaultHandler)}
	if spec.PerInstance > 1 {
		fixed["AWS_LAMBDA_MAX_CONCURRENCY"] = strconv.Itoa(spec.PerInstance)
	}
	p, err := program.Start(ctx, id, program.Config{
		Launcher: d.launcher, Spec: spec, Out: out, Current: server.Current, Ended: server.Fail,
		Serve: func(p *process.Process) { server.Serve(door.Listener(p)) },
		Command: process.Command{
			Path: process.TaskDir + "/" + name, Env: program.Environ(spec, id, nil, fixed), Listen: door.Listen(),
			Assignment: process.Assignment{Bundle: spec.Dir},
		},
	})
	if err != nil {
		door.Close()
		return nil, err
	}
	return &instance{Program: p, server: server}, nil
}

// Call hands the program one event.
func (i *instance) Call(ctx context.Context, call *sandbox.Call) (*sandbox.Reply, error) {
	return i.server.Call(ctx, call)
}

// Forget drops nothing: no version leaves a trace here.
func (d *Driver) Forget(*sandbox.Spec) {}

// Close has nothing to end.
func (d *Driver) Close() error { return nil }
