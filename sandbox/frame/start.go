package frame

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Order is the body of a Load frame: what a worker is to become.
type Order struct {
	Handler     string            `json:"handler"`
	Root        string            `json:"root"` // the bundle, as the worker sees it
	Env         map[string]string `json:"env"`  // added to the worker's own
	PerInstance int               `json:"per_instance"`
	Function    string            `json:"function"`
	Version     string            `json:"version"`
	MemoryMB    int64             `json:"memory_mb"`
	LogGroup    string            `json:"log_group"`
	LogStream   string            `json:"log_stream"`
	Timeout     int64             `json:"timeout_ms"`
	Template    bool              `json:"template,omitempty"` // become a template instead of an instance
}

// Starter starts loaded workers of one interpreter, from a stock or afresh.
type Starter struct {
	Launch  Launch
	Command func(spec *sandbox.Spec) process.Command // spec is nil for an anonymous worker
	Engine  string                                   // AWS_EXECUTION_ENV
	Dir     string                                   // of the runtime's own code inside the cell; "" where it has none
	Stock   *Stock                                   // nil: always afresh
	Log     *slog.Logger
}

// Anonymous starts a worker without a function and waits until its interpreter
// is ready.
func (s *Starter) Anonymous(ctx context.Context) (*Worker, error) {
	w, err := Begin(ctx, s.Launch, s.Command(nil), s.Log)
	if err != nil {
		return nil, err
	}
	if err := w.Hello(ctx); err != nil {
		w.End()
		return nil, err
	}
	return w, nil
}

// Start returns a worker that runs spec. A *mayfly.FunctionError is the
// failure of the user's initialisation.
func (s *Starter) Start(ctx context.Context, spec *sandbox.Spec, out sandbox.Output, anonymous bool) (*Worker, error) {
	asked := time.Now()
	w, ahead, done, err := s.worker(ctx, spec, anonymous)
	defer done()
	if err != nil {
		return nil, err
	}
	if _, err := w.Load(ctx, spec, out, s.Order(w, spec), asked, ahead); err != nil {
		w.End()
		if ctx.Err() != nil && mayfly.CodeOf(err) != mayfly.FunctionFailed {
			return nil, slowInit(ctx, spec)
		}
		return nil, err
	}
	return w, nil
}

// slowInit is why a start ended with its context.
func slowInit(ctx context.Context, spec *sandbox.Spec) error {
	if ctx.Err() == context.DeadlineExceeded {
		return &mayfly.FunctionError{Type: mayfly.ErrorTypeTimeout, Message: "the initialisation of function " + string(spec.Function) + " did not end in time"}
	}
	return ctx.Err()
}

// worker finds a worker for spec whose cell is spec's. done must be called.
func (s *Starter) worker(ctx context.Context, spec *sandbox.Spec, anonymous bool) (w *Worker, ahead bool, done func(), err error) {
	done = func() {}
	if s.Stock != nil && anonymous && spec.Isolation != process.IsolationGVisor {
		if w, ahead, done = s.Stock.Take(); ahead {
			if err = w.Assign(ctx, Assignment(spec)); err == nil {
				return w, true, done, nil
			}
			w.End()
			if ctx.Err() != nil {
				return nil, false, done, err
			}
			s.Log.Warn("worker started ahead could not be assigned", "error", err)
		}
	}
	cmd := s.Command(spec)
	cmd.Assignment = Assignment(spec)
	w, err = Begin(ctx, s.Launch, cmd, s.Log)
	return w, false, done, err
}

// Assignment is what spec needs of a cell.
func Assignment(spec *sandbox.Spec) process.Assignment {
	return process.Assignment{
		Who: spec.Caller(), Bundle: spec.Dir, Secrets: spec.Files, Memory: spec.Memory,
		Egress: spec.Egress, Require: spec.Require, Isolation: spec.Isolation,
	}
}

// Order is what w is told to become.
func (s *Starter) Order(w *Worker, spec *sandbox.Spec) Order {
	return Order{
		Handler: spec.Handler, Root: w.prog.Path(process.TaskDir), PerInstance: max(1, spec.PerInstance),
		Function: string(spec.Function), Version: strconv.Itoa(spec.Version), MemoryMB: int64(spec.Memory / mayfly.MiB),
		LogGroup: spec.LogGroup(), LogStream: w.id, Timeout: spec.Timeout.Milliseconds(),
		Env: s.environment(w, spec),
	}
}

// environment is every runtime's, with what Lambda says of an interpreter's.
func (s *Starter) environment(w *Worker, spec *sandbox.Spec) map[string]string {
	env := spec.Environ(w.id, w.prog.Path(process.TaskDir), nil)
	env["AWS_EXECUTION_ENV"], env["_HANDLER"] = s.Engine, spec.Handler
	if s.Dir != "" {
		env["LAMBDA_RUNTIME_DIR"] = w.prog.Path(s.Dir)
	}
	return env
}

// BaseEnv is the environment of a worker before it has a function: nothing of
// the daemon's.
func BaseEnv(more ...string) []string {
	return append(slices.Clone([]string{
		"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
		"HOME=/tmp",
		"LANG=C.UTF-8",
	}), more...)
}
