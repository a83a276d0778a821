package node

import (
	"context"
	"embed"
	"io/fs"
	"strconv"
	"sync"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

//go:embed worker
var worker embed.FS

// Where cells see the worker's files, and the module that code imports as
// "mayfly": the loader of ES modules looks for it above the bundle.
const (
	insideDir     = "/opt/mayfly/node"
	insideModules = "/node_modules"
)

// Driver runs JavaScript functions.
type Driver struct {
	cfg Config

	once   sync.Once
	engine *engine // set by once
	found  error   // set by once

	trials frame.Trials

	mu      sync.Mutex
	closed  bool           // guarded by mu
	starter *frame.Starter // guarded by mu
}

var _ sandbox.Driver = (*Driver)(nil)

// New makes a driver. It starts nothing.
func New(cfg Config) *Driver { return &Driver{cfg: cfg.WithDefaults()} }

// Runtime is mayfly.Node.
func (d *Driver) Runtime() mayfly.Runtime { return mayfly.Node }

// Check looks for Node.
func (d *Driver) Check(ctx context.Context) error {
	d.once.Do(func() { d.engine, d.found = find(context.WithoutCancel(ctx), d.cfg.Node) })
	return d.found
}

// ready makes the driver ready to start workers, once.
func (d *Driver) ready(ctx context.Context) (*frame.Starter, error) {
	if err := d.Check(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, mayfly.Errorf(mayfly.Unavailable, "start Node", "the daemon is stopping")
	}
	if d.starter != nil {
		return d.starter, nil
	}
	files, err := fs.Sub(worker, "worker")
	if err != nil {
		return nil, err
	}
	dir, err := frame.WriteOut(files, d.cfg.Dir, "node", nil)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "start Node", "the worker's files could not be written: %w", err)
	}
	d.starter = d.newStarter(dir)
	if d.cfg.Ahead > 0 {
		d.starter.Stock = frame.NewStock(frame.StockConfig{Make: d.starter.Anonymous, Memory: d.cfg.Ahead, Each: 48 * mayfly.MiB, Log: d.cfg.Log})
		d.starter.Stock.Open()
	}
	return d.starter, nil
}

func (d *Driver) newStarter(files string) *frame.Starter {
	return &frame.Starter{
		Launch: func(ctx context.Context, cmd process.Command) (frame.Program, error) {
			return d.cfg.Launcher.Start(ctx, cmd)
		},
		Dir:    insideDir,
		Engine: "AWS_Lambda_nodejs" + strconv.Itoa(d.engine.version[0]) + ".x",
		Log:    d.cfg.Log,
		Command: func(spec *sandbox.Spec) process.Command {
			cmd := process.Command{
				Path: d.engine.path,
				Args: append(d.engine.flags(), insideDir+"/start.js"),
				Env:  frame.BaseEnv(),
				Dir:  "/",
				Binds: append(d.engine.binds(),
					process.Bind{Source: files, Target: insideDir},
					process.Bind{Source: files + "/modules", Target: insideModules}),
			}
			if spec == nil {
				cmd.Args = append(cmd.Args, "ahead")
			}
			return cmd
		},
	}
}

// Prepare starts the function once, to see whether it can.
func (d *Driver) Prepare(ctx context.Context, spec *sandbox.Spec) error {
	return d.trials.Once(ctx, spec, func(ctx context.Context) error {
		w, err := d.start(ctx, spec, frame.Silent{})
		if err != nil {
			return err
		}
		w.End()
		return nil
	})
}

// Start returns an instance.
func (d *Driver) Start(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (sandbox.Instance, error) {
	w, err := d.start(ctx, spec, out)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (d *Driver) start(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (*frame.Worker, error) {
	s, err := d.ready(ctx)
	if err != nil {
		return nil, err
	}
	return s.Start(ctx, spec, out, true)
}

// Forget drops what is known of a version.
func (d *Driver) Forget(spec *sandbox.Spec) { d.trials.Forget(spec.Digest) }

// Close ends what was started ahead. It may be called twice.
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	s := d.starter
	d.mu.Unlock()
	if s != nil && s.Stock != nil {
		s.Stock.Close()
	}
	return nil
}
