package httpserver

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/program"
)

// Port is $PORT where cells have a loopback of their own.
const Port = 8080

// Config configures a Driver.
type Config struct {
	Launcher *process.Launcher
	Log      *slog.Logger // default: none
}

// Driver runs the http runtime. It keeps nothing between calls.
type Driver struct {
	launcher *process.Launcher
	log      *slog.Logger
}

var _ sandbox.Driver = (*Driver)(nil)

// New returns a Driver.
func New(c Config) *Driver {
	return &Driver{launcher: c.Launcher, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler))}
}

// Runtime is mayfly.HTTP.
func (d *Driver) Runtime() mayfly.Runtime { return mayfly.HTTP }

// Check succeeds: what a program needs is checked with its version.
func (d *Driver) Check(context.Context) error { return nil }

// Prepare checks that the command line's program is there.
func (d *Driver) Prepare(_ context.Context, spec *sandbox.Spec) error {
	_, _, err := command(spec)
	return err
}

// command is the program of a version, as its cell sees it, and its arguments.
func command(spec *sandbox.Spec) (path string, args []string, err error) {
	if spec.Handler == "" {
		return "", nil, &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler,
			Message: "runtime http needs a command line in handler, such as handler: ./server, or handler: python3 app.py"}
	}
	line, err := program.ParseLine(spec.Handler)
	if err != nil {
		return "", nil, &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler, Message: mayfly.MessageOf(err)}
	}
	path, err = line.Find("", spec.Dir, process.TaskDir, cmp.Or(spec.Env["PATH"], program.Path))
	return path, line.Words[1:], err
}

// Start runs the program and waits until it accepts connections.
func (d *Driver) Start(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (sandbox.Instance, error) {
	path, args, err := command(spec)
	if err != nil {
		return nil, err
	}
	port, err := d.launcher.Port(Port)
	if err != nil {
		return nil, err
	}
	ctx, cancel, limit := program.Limit(ctx, spec)
	defer cancel()
	id := program.NewID()
	web := program.NewWeb(spec, port)
	p, err := program.Start(ctx, id, program.Config{
		Launcher: d.launcher, Spec: spec, Out: out, Current: web.Current,
		Command: process.Command{
			Path: path, Args: args, Env: program.Environ(spec, id, nil, map[string]string{"PORT": strconv.Itoa(port)}),
			Assignment: process.Assignment{Bundle: spec.Dir},
		},
	})
	if err != nil {
		return nil, err
	}
	web.Attach(p)
	if err := web.Await(ctx); err != nil {
		if ctx.Err() != nil && p.Err() == nil {
			err = p.Slow(ctx, limit, fmt.Sprintf("it did not listen on port %d (the variable PORT)", port))
		}
		p.Kill()
		return nil, err
	}
	p.Ready()
	d.log.Debug("program serves", "function", spec.Function, "version", spec.Version, "instance", id, "port", port)
	return web, nil
}

// Forget drops nothing: no version leaves a trace here.
func (d *Driver) Forget(*sandbox.Spec) {}

// Close has nothing to end.
func (d *Driver) Close() error { return nil }
