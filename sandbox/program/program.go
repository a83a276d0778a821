package program

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Config says what to start.
type Config struct {
	Launcher *process.Launcher
	Spec     *sandbox.Spec
	Out      sandbox.Output

	// Command is what runs. Start fills its output and its assignment, but for
	// a Bundle or a User that is set.
	Command process.Command

	// Current tells which call a line of output belongs to; nil where that is
	// not known.
	Current func() *sandbox.Call

	// Serve runs beside the program, where it is not nil. It must return soon
	// after Ended was called.
	Serve func(*process.Process)

	// Ended is told why the program ended, once, before Done is closed.
	Ended func(err error)
}

// Program is a process in a cell: a sandbox.Instance but for Call. It is safe
// for concurrent use.
type Program struct {
	id    string
	proc  *process.Process
	lines *frame.Lines
	tail  tail

	began    time.Time
	phases   []mayfly.Phase // set before the driver returns the instance
	stopping atomic.Bool
	serving  sync.WaitGroup // Config.Serve
	done     chan struct{}
	err      error // set before done is closed
}

// NewID is an id for an instance, unique on this node.
func NewID() string { return strings.ReplaceAll(mayfly.NewID(), "-", "") }

// Start runs the program; ctx bounds the start alone. The caller waits for its
// readiness and then calls Ready.
func Start(ctx context.Context, id string, c Config) (*Program, error) {
	p := &Program{id: id, lines: &frame.Lines{}, done: make(chan struct{}), began: time.Now()}
	p.lines.Bind(c.Out, c.Spec, id)
	who := func() (string, mayfly.Trace) {
		if call := c.Current(); call != nil {
			return call.ID, call.Trace
		}
		return "", mayfly.Trace{}
	}
	cmd := c.Command
	cmd.Stdout = p.lines.Writer(mayfly.Stdout, who)
	cmd.Stderr = tee{&p.tail, p.lines.Writer(mayfly.Stderr, who)}
	cmd.Who, cmd.Secrets, cmd.Memory = c.Spec.Caller(), c.Spec.Files, c.Spec.Memory
	cmd.Egress, cmd.Require, cmd.Isolation = c.Spec.Egress, c.Spec.Require, c.Spec.Isolation
	proc, err := c.Launcher.Start(ctx, cmd)
	if err != nil {
		return nil, startError(err)
	}
	p.proc = proc
	if c.Serve != nil {
		p.serving.Go(func() { c.Serve(proc) })
	}
	go p.follow(c.Ended)
	return p, nil
}

// startError makes a program that cannot be executed the function's failure.
func startError(err error) error {
	if mayfly.CodeOf(err) != mayfly.Invalid {
		return err
	}
	return &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler, Message: mayfly.MessageOf(err)}
}

// follow waits for the program's end and frees what it held.
func (p *Program) follow(ended func(error)) {
	<-p.proc.Done()
	p.proc.Close()
	p.lines.End()
	p.err = p.cause()
	if ended != nil {
		ended(p.err)
	}
	p.serving.Wait()
	close(p.done)
}

// cause is why the program ended, in the words that Lambda uses.
func (p *Program) cause() error {
	e := p.proc.Ended()
	switch {
	case p.stopping.Load():
		return sandbox.ErrStopped
	case e.OutOfMemory:
		return sandbox.ErrOutOfMemory
	}
	reason := "Runtime exited without providing a reason"
	if e.Signal != "" {
		reason = "Runtime exited with error: signal: " + e.Signal
	} else if e.Code != 0 {
		reason = fmt.Sprintf("Runtime exited with error: exit status %d", e.Code)
	}
	return &mayfly.FunctionError{Type: mayfly.ErrorTypeExit, Message: reason, Trace: p.tail.lines()}
}

// Ready records what the start took, once the program is ready for calls.
func (p *Program) Ready() {
	cell := p.proc.Started()
	p.phases = []mayfly.Phase{
		{Name: mayfly.PhaseSandbox, Duration: cell},
		{Name: mayfly.PhaseInit, Duration: max(0, time.Since(p.began)-cell)},
	}
}

// Process is what runs.
func (p *Program) Process() *process.Process { return p.proc }

// ID is the instance's.
func (p *Program) ID() string { return p.id }

// Done is closed when the program has ended and its cell is free.
func (p *Program) Done() <-chan struct{} { return p.done }

// Err says why.
func (p *Program) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop ends the program: SIGTERM, and SIGKILL when ctx ends.
func (p *Program) Stop(ctx context.Context) error {
	p.stopping.Store(true)
	if ctx.Err() == nil {
		p.proc.Thaw() // a frozen program would not see the signal; one that ended needs neither
		p.proc.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	p.proc.Kill()
	<-p.done
	return nil
}

// Kill ends the program at once and waits until its cell is free.
func (p *Program) Kill() {
	p.stopping.Store(true)
	p.proc.Kill()
	<-p.done
}

// Freeze pauses the program; Thaw lets it go on.
func (p *Program) Freeze() error { return p.proc.Freeze() }
func (p *Program) Thaw() error   { return p.proc.Thaw() }

// Info says what it took to start.
func (p *Program) Info() sandbox.Info {
	return sandbox.Info{Phases: p.phases, Tier: p.proc.Tier(), PID: p.proc.PID()}
}

// Usage is the cell's.
func (p *Program) Usage() sandbox.Usage { return p.proc.Usage() }

// Say adds a line of the platform to the instance's log.
func (p *Program) Say(level, format string, args ...any) { p.lines.Say(level, format, args...) }

// Slow is the error of a program that was not ready in time. wanted says what
// was waited for.
func (p *Program) Slow(ctx context.Context, limit time.Duration, wanted string) error {
	if ctx.Err() == context.Canceled {
		return ctx.Err()
	}
	return &mayfly.FunctionError{Type: mayfly.ErrorTypeTimeout, Trace: p.tail.lines(),
		Message: fmt.Sprintf("the program was not ready within %s: %s", limit.Round(time.Millisecond), wanted)}
}

// Limit bounds the start of an instance by its function's timeout.
func Limit(ctx context.Context, spec *sandbox.Spec) (context.Context, context.CancelFunc, time.Duration) {
	limit := spec.Timeout
	if limit <= 0 {
		limit = mayfly.DefaultTimeout.D()
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, cancel, limit
}

// tailSize is how much of the last error output a failed start shows.
const tailSize = 4 << 10

// tail keeps the end of what was written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(p) >= tailSize {
		t.buf = append(t.buf[:0], p[len(p)-tailSize:]...)
		return len(p), nil
	}
	if over := len(t.buf) + len(p) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, p...)
	return len(p), nil
}

// lines are the last lines, at most twenty.
func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.ToValidUTF8(string(bytes.TrimSpace(t.buf)), "\uFFFD")
	if text == "" {
		return nil
	}
	all := strings.Split(text, "\n")
	return all[max(0, len(all)-20):]
}

// tee writes to two writers of which neither fails.
type tee struct {
	a, b interface{ Write([]byte) (int, error) }
}

func (t tee) Write(p []byte) (int, error) {
	t.a.Write(p)
	return t.b.Write(p)
}

// Executable reports what is wrong with a file as a program of this machine,
// nil where nothing is. name is how people call it.
func Executable(path, name string) error {
	bad := func(format string, args ...any) error {
		return &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler, Message: fmt.Sprintf(format, args...)}
	}
	st, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return bad("the bundle has no file %q; name the executable in handler", name)
	case err != nil:
		return bad("the executable %q cannot be read: %v", name, err)
	case st.IsDir():
		return bad("%q is a folder; name an executable in handler", name)
	case st.Mode()&0o111 == 0:
		return bad("%q is not executable; run: chmod +x %s", name, name)
	}
	if why := foreign(path); why != "" {
		return bad("%q %s", name, why)
	}
	return nil
}
