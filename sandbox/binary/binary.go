package binary

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/program"
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

// handler is the executable's path in the bundle: the handler, or bootstrap
// where the handler names no file, such as "function.handler". A custom runtime
// of Lambda's then finds by _HANDLER what it should run.
func handler(spec *sandbox.Spec) (string, error) {
	name := strings.TrimPrefix(filepath.Clean(cmp.Or(spec.Handler, DefaultHandler)), process.TaskDir+"/")
	if !filepath.IsLocal(name) {
		return "", &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler,
			Message: "handler " + strconv.Quote(spec.Handler) + " is not a path within the bundle"}
	}
	if !isFile(spec, name) && isFile(spec, DefaultHandler) {
		return DefaultHandler, nil
	}
	return name, nil
}

func isFile(spec *sandbox.Spec, name string) bool {
	info, err := os.Stat(filepath.Join(spec.Dir, name))
	return err == nil && info.Mode().IsRegular()
}

// Start runs the executable and waits until it asks for its first event.
func (d *Driver) Start(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (sandbox.Instance, error) {
	if err := d.Prepare(ctx, spec); err != nil {
		return nil, err
	}
	name, err := handler(spec)
	if err != nil {
		return nil, err
	}
	p, err := program.NewPoller(d.launcher, spec)
	if err != nil {
		return nil, err
	}
	ctx, cancel, limit := program.Limit(ctx, spec)
	defer cancel()
	id := program.NewID()
	err = p.Start(ctx, id, program.Config{
		Launcher: d.launcher, Spec: spec, Out: out,
		Command: process.Command{
			Path:       process.TaskDir + "/" + name,
			Env:        program.Environ(spec, id, nil, p.Environ(spec, cmp.Or(spec.Handler, DefaultHandler))),
			Assignment: process.Assignment{Bundle: spec.Dir},
		},
	})
	if err != nil {
		return nil, err
	}
	if err := p.Await(ctx, limit); err != nil {
		return nil, err
	}
	d.log.Debug("program asks for events", "function", spec.Function, "version", spec.Version, "instance", id)
	return p, nil
}

// Forget drops nothing: no version leaves a trace here.
func (d *Driver) Forget(*sandbox.Spec) {}

// Close has nothing to end.
func (d *Driver) Close() error { return nil }
