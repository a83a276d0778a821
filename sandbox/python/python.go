package python

import (
	"context"
	"sync"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Driver runs Python functions.
type Driver struct {
	cfg Config

	once    sync.Once
	machine *interpreter // set by once
	found   error        // set by once

	trials    frame.Trials
	templates *templates

	mu       sync.Mutex
	closed   bool                      // guarded by mu
	starters map[string]*frame.Starter // guarded by mu; by interpreter
	stock    *frame.Stock              // guarded by mu; of the machine's interpreter
}

var _ sandbox.Driver = (*Driver)(nil)

// New makes a driver. It starts nothing.
func New(cfg Config) *Driver {
	d := &Driver{cfg: cfg.WithDefaults(), starters: map[string]*frame.Starter{}}
	d.templates = newTemplates(d)
	return d
}

// Runtime is mayfly.Python.
func (d *Driver) Runtime() mayfly.Runtime { return mayfly.Python }

// Check looks for an interpreter.
func (d *Driver) Check(ctx context.Context) error {
	_, err := d.interpreter(ctx)
	return err
}

func (d *Driver) interpreter(ctx context.Context) (*interpreter, error) {
	d.once.Do(func() { d.machine, d.found = find(context.WithoutCancel(ctx), d.cfg.Interpreter) })
	return d.machine, d.found
}

// starter returns what starts workers for a bundle.
func (d *Driver) starter(ctx context.Context, spec *sandbox.Spec) (*frame.Starter, error) {
	machine, err := d.interpreter(ctx)
	if err != nil {
		return nil, err
	}
	p, err := choose(ctx, machine, spec.Dir)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, mayfly.Errorf(mayfly.Unavailable, "start Python", "the daemon is stopping")
	}
	if s := d.starters[p.Path]; s != nil {
		return s, nil
	}
	files, err := writeOut(ctx, d.cfg.Dir, p)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "start Python", "the worker's files could not be written: %w", err)
	}
	s := d.newStarter(p, files)
	if p == machine && d.cfg.Ahead > 0 {
		s.Stock = frame.NewStock(frame.StockConfig{Make: s.Anonymous, Memory: d.cfg.Ahead, Each: 16 * mayfly.MiB, Log: d.cfg.Log})
		d.stock = s.Stock
	}
	d.starters[p.Path] = s
	return s, nil
}

func (d *Driver) newStarter(p *interpreter, files string) *frame.Starter {
	return &frame.Starter{
		Launch: func(ctx context.Context, cmd process.Command) (frame.Program, error) {
			return d.cfg.Launcher.Start(ctx, cmd)
		},
		Dir:    insideDir,
		Engine: "AWS_Lambda_python" + p.name(),
		Log:    d.cfg.Log,
		Command: func(spec *sandbox.Spec) process.Command {
			cmd := process.Command{
				Path:  p.Path,
				Args:  []string{"-E", "-s", "-B", "-X", "utf8", insideDir + "/start.py"},
				Env:   frame.BaseEnv(),
				Dir:   "/",
				Binds: append(p.binds(), process.Bind{Source: files, Target: insideDir}),
			}
			if spec == nil {
				cmd.Args = append(cmd.Args, "ahead")
			}
			return cmd
		},
	}
}

// Prepare starts the function once, to see whether it can. Where it becomes a
// template, the template is kept.
func (d *Driver) Prepare(ctx context.Context, spec *sandbox.Spec) error {
	return d.trials.Once(ctx, spec, func(ctx context.Context) error {
		if d.templates.may(spec) {
			if err := d.templates.build(ctx, spec); mayfly.CodeOf(err) == "" || mayfly.CodeOf(err) == mayfly.FunctionFailed {
				return err
			}
		}
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
	if w, err := d.templates.fork(ctx, spec, out); w != nil || err != nil {
		return w, err
	}
	s, err := d.starter(ctx, spec)
	if err != nil {
		return nil, err
	}
	if s.Stock != nil {
		defer s.Stock.Open() // where every version has its template, nothing need be started ahead
	}
	w, err := s.Start(ctx, spec, out, true)
	if err == nil {
		d.templates.later(spec)
	}
	return w, err
}

// Forget drops what is known of a version.
func (d *Driver) Forget(spec *sandbox.Spec) {
	d.trials.Forget(spec.Digest)
	d.templates.forget(spec)
}

// Close ends what was started ahead. It may be called twice.
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	stock := d.stock
	d.mu.Unlock()
	d.templates.close()
	if stock != nil {
		stock.Close()
	}
	return nil
}
