package frame

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// grace is how long a worker that closed its socket has to end by itself, so
// that its exit status can be told, and how long the last frames of one that
// ended may take.
const grace = 3 * time.Second

// Program is the process of a worker: a process.Process.
type Program interface {
	Done() <-chan struct{}
	Ended() process.Ended
	PID() int
	Signal(os.Signal) error
	Kill()
	Close()
	Freeze() error
	Thaw() error
	Usage() sandbox.Usage
	Tier() sandbox.Tier
	Started() time.Duration
	Assign(ctx context.Context, a process.Assignment) error
	Path(inside string) string
}

// Launch starts a worker's program.
type Launch func(ctx context.Context, cmd process.Command) (Program, error)

// A Worker is a program that speaks frames. It is anonymous until Load, and a
// sandbox.Instance from then on.
type Worker struct {
	id    string
	prog  Program
	conn  *Conn
	lines *Lines
	pipes *pipes // of a forked worker; nil where prog has its own
	log   *slog.Logger

	exited <-chan process.Ended // of a forked worker: what its template says of its end

	phases []mayfly.Phase // set by Load

	stopping atomic.Bool
	done     chan struct{}
	err      error // set before done is closed
}

var (
	_ sandbox.Instance = (*Worker)(nil)
	_ sandbox.Freezer  = (*Worker)(nil)
)

var instances atomic.Uint64

// newID is unique on this node: a counter, and the random start of this daemon.
func newID() string { return origin + "-" + strconv.FormatUint(instances.Add(1), 36) }

var origin = mayfly.NewID()[:8]

// Begin starts cmd with a socketpair as its descriptor 3 and its output as log
// lines. ctx bounds the start alone. It does not wait for the worker's Hello.
func Begin(ctx context.Context, launch Launch, cmd process.Command, log *slog.Logger) (*Worker, error) {
	lines := &Lines{}
	conn, theirs, err := Pair(lines.Print)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd.Files = append([]*os.File{theirs}, cmd.Files...)
	cmd.Stdout = lines.Writer(mayfly.Stdout, conn.Only)
	cmd.Stderr = lines.Writer(mayfly.Stderr, conn.Only)
	prog, err := launch(ctx, cmd)
	if err != nil {
		conn.nc.Close()
		return nil, err
	}
	return run(&Worker{prog: prog, conn: conn, lines: lines, log: log}), nil
}

// run serves a Worker of its parts and follows it to its end.
func run(w *Worker) *Worker {
	w.id, w.done = newID(), make(chan struct{})
	go w.conn.Serve()
	go w.follow()
	return w
}

// follow waits for the end of the worker, frees what it held and says why it
// ended.
func (w *Worker) follow() {
	told, known := w.await()
	broken := w.conn.Err()
	w.prog.Close()
	w.conn.Close()
	<-w.conn.Closed()
	<-w.prog.Done()
	w.pipes.wait()
	w.lines.End()
	end := w.prog.Ended()
	if told != nil {
		told.OutOfMemory = end.OutOfMemory && told.Signal != ""
		end = *told
	}
	w.err = w.cause(end, broken, known)
	close(w.done)
}

// await waits until the process, its socket, or its template says that the
// worker ended. told is what the template said; known says that the process
// ended by itself.
func (w *Worker) await() (told *process.Ended, known bool) {
	select {
	case <-w.prog.Done():
		wait(w.conn.Closed(), grace)
		return nil, true
	case e := <-w.exited:
		wait(w.conn.Closed(), grace)
		return &e, true
	case <-w.conn.Closed():
	}
	if !errors.Is(w.conn.Err(), ErrClosed) { // stopped by us, or broken
		return nil, ended(w.prog.Done())
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-w.prog.Done():
		return nil, true
	case e := <-w.exited:
		return &e, true
	case <-late.C:
		return nil, false
	}
}

func (w *Worker) cause(e process.Ended, broken error, known bool) error {
	switch {
	case w.stopping.Load():
		return sandbox.ErrStopped
	case e.OutOfMemory:
		return sandbox.ErrOutOfMemory
	case !known && !errors.Is(broken, ErrClosed):
		w.log.Warn("worker ended", "instance", w.id, "reason", broken)
		return exit("the function's code wrote to the socket of its worker")
	case !known:
		return exit("the function's code closed the socket of its worker")
	case e.Signal != "":
		return exit("Runtime exited with error: signal: " + e.Signal)
	case e.Code != 0:
		return exit(fmt.Sprintf("Runtime exited with error: exit status %d", e.Code))
	}
	return exit("Runtime exited without providing a reason")
}

func exit(message string) error {
	return &mayfly.FunctionError{Type: mayfly.ErrorTypeExit, Message: message}
}

// wait waits for c, but no longer than d.
func wait(c <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
	case <-t.C:
	}
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Hello waits until the worker's interpreter has started.
func (w *Worker) Hello(ctx context.Context) error {
	return w.explain(ctx, w.conn.Hello(ctx))
}

// Alive reports whether the worker may still be loaded.
func (w *Worker) Alive() bool { return !ended(w.done) && !ended(w.conn.Closed()) }

// Memory is what the worker holds now.
func (w *Worker) Memory() mayfly.Bytes { return w.prog.Usage().Memory }

// Assign gives an anonymous worker's cell to a function.
func (w *Worker) Assign(ctx context.Context, a process.Assignment) error {
	return w.prog.Assign(ctx, a)
}

// Load initialises the function in the worker. ahead says that the worker was
// started before it was asked for, so that its own start cost the call nothing.
// It returns what the worker says of the function.
func (w *Worker) Load(ctx context.Context, spec *sandbox.Spec, out sandbox.Output, load any, asked time.Time, ahead bool) (json.RawMessage, error) {
	w.lines.Bind(out, spec, w.id)
	if err := w.Hello(ctx); err != nil {
		return nil, err
	}
	ready := time.Now()
	said, err := w.conn.Load(ctx, load)
	if err != nil {
		return nil, w.explain(ctx, err)
	}
	cell, runtime := ready.Sub(asked), time.Duration(0)
	if !ahead {
		cell = min(w.prog.Started(), cell)
		runtime = ready.Sub(asked) - cell
	}
	w.phases = []mayfly.Phase{
		{Name: mayfly.PhaseSandbox, Duration: cell},
		{Name: mayfly.PhaseRuntime, Duration: runtime},
		{Name: mayfly.PhaseInit, Duration: time.Since(ready)},
	}
	return said, nil
}

// ID is the instance's.
func (w *Worker) ID() string { return w.id }

// Call runs the handler once.
func (w *Worker) Call(ctx context.Context, call *sandbox.Call) (*sandbox.Reply, error) {
	reply, err := w.conn.Call(ctx, call)
	w.lines.Flush()
	if err == nil {
		return reply, nil
	}
	if w.conn.leaving.Load() {
		w.leave(ctx)
	}
	return nil, w.explain(ctx, err)
}

// leave waits for the end of a worker that said it would end, so that nobody
// gives it another call.
func (w *Worker) leave(ctx context.Context) {
	select {
	case <-w.done:
		return
	case <-ctx.Done():
		return
	case <-time.After(grace):
	}
	w.prog.Kill()
}

// explain turns the error of a lost connection into why the worker ended.
func (w *Worker) explain(ctx context.Context, err error) error {
	var failed *mayfly.FunctionError
	if err == nil || errors.As(err, &failed) || ctx.Err() != nil {
		return err
	}
	if !ended(w.conn.Closed()) && errors.Is(err, syscall.EPIPE) {
		wait(w.conn.Closed(), grace)
	}
	if !ended(w.conn.Closed()) {
		return err
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when the worker has ended and its cell is free.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Err says why.
func (w *Worker) Err() error {
	if !ended(w.done) {
		return nil
	}
	return w.err
}

// Stop ends the worker: SIGTERM and the end of its frames, and SIGKILL when ctx
// ends. An interpreter that is about to read when the signal comes would not
// see to it before it has read something.
func (w *Worker) Stop(ctx context.Context) error {
	w.stopping.Store(true)
	if ctx.Err() == nil {
		_ = w.prog.Thaw() // a frozen process would not see the signal; one that is not frozen refuses nothing
		_ = w.prog.Signal(syscall.SIGTERM)
		w.conn.hangUp()
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	w.prog.Kill()
	<-w.done
	return nil
}

// End stops the worker by force.
func (w *Worker) End() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.Stop(ctx) // by force it cannot fail
}

// Freeze pauses the worker.
func (w *Worker) Freeze() error { return w.prog.Freeze() }

// Thaw lets it go on.
func (w *Worker) Thaw() error { return w.prog.Thaw() }

// Info says what it took to start.
func (w *Worker) Info() sandbox.Info {
	return sandbox.Info{Phases: w.phases, Tier: w.prog.Tier(), PID: w.prog.PID()}
}

// Usage is the cell's.
func (w *Worker) Usage() sandbox.Usage { return w.prog.Usage() }

// Say adds a line of the platform to the instance's log.
func (w *Worker) Say(level, format string, args ...any) { w.lines.Say(level, format, args...) }
