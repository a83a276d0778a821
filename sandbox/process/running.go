package process

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Process is a program in a cell. It is safe for concurrent use.
type Process struct {
	id        string
	launcher  *Launcher
	dir       string // scratch folder, made on demand
	started   time.Duration
	tier      sandbox.Tier
	held      holder
	files     []net.Listener // of Command.Listen
	addrs     []string
	doors     []net.Listener // one for each of Config.Doors
	doorAddrs []string
	serving   sync.WaitGroup // doors

	done  chan struct{}
	ended Ended // set before done is closed

	mu       sync.Mutex
	assigned bool // guarded by mu
	closed   bool // guarded by mu

	shown shown // the secrets that the program has as files
}

// holder is what holds a program: an ordinary process or a cell.
type holder interface {
	pid() int
	signal(sig os.Signal) error
	kill()
	freeze() error
	thaw() error
	usage() sandbox.Usage
	dial(ctx context.Context, port int) (net.Conn, error)
	assign(ctx context.Context, a Assignment) error
	reveal(ctx context.Context, secrets map[string][]byte) error // other contents of files; nil after done
	path(inside string) string
	free() // after done; idempotent
}

// Done is closed when the first process ended and its cell is empty.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended says how the program ended. It waits for Done.
func (p *Process) Ended() Ended {
	<-p.done
	return p.ended
}

// PID is the program's process id on this machine.
func (p *Process) PID() int { return p.held.pid() }

// Signal sends sig to the program.
func (p *Process) Signal(sig os.Signal) error { return p.held.signal(sig) }

// Kill ends the program and all its children at once, frozen or not.
func (p *Process) Kill() { p.held.kill() }

// Freeze stops the cell from running; Thaw lets it go on. Both are idempotent.
func (p *Process) Freeze() error { return p.held.freeze() }
func (p *Process) Thaw() error   { return p.held.thaw() }

// Usage reads what the cell used so far.
func (p *Process) Usage() sandbox.Usage { return p.held.usage() }

// Tier is what holds this process.
func (p *Process) Tier() sandbox.Tier { return p.tier }

// Started is how long the cell and the start of its program took.
func (p *Process) Started() time.Duration { return p.started }

// Dial connects to a TCP port of the cell's loopback.
func (p *Process) Dial(ctx context.Context, port int) (net.Conn, error) {
	return p.held.dial(ctx, port)
}

// Listener is that of Command.Listen[i]; Addr(i) is what the program dials to
// reach it. The Process closes it.
func (p *Process) Listener(i int) net.Listener { return p.files[i] }
func (p *Process) Addr(i int) string           { return p.addrs[i] }

// Path is what the program must open for a path inside the cell. It differs
// from inside only in the plain tier, where programs see the whole machine.
func (p *Process) Path(inside string) string { return p.held.path(inside) }

// Assign gives a running program that was started without Who its function:
// the bundle, the limits, the secrets, the doors' identity, the egress. It may
// be called once; code conflict otherwise.
func (p *Process) Assign(ctx context.Context, a Assignment) error {
	p.mu.Lock()
	taken := p.assigned
	p.assigned = true
	p.mu.Unlock()
	if taken {
		return mayfly.Errorf(mayfly.Conflict, "assign sandbox", "sandbox %s already runs a function", p.id)
	}
	if a.Isolation == IsolationGVisor {
		return mayfly.Errorf(mayfly.Conflict, "assign sandbox", "a program that runs already cannot be moved into gVisor")
	}
	if err := p.launcher.check(a); err != nil {
		return err
	}
	if err := p.held.assign(ctx, a); err != nil {
		return err
	}
	p.openDoors(a.Who)
	return p.show(ctx, a)
}

// openDoors starts to serve the cell's doors to who, unless p was closed.
func (p *Process) openDoors(who mayfly.Caller) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	who.PID = p.held.pid()
	for i, l := range p.doors {
		p.serving.Go(func() { p.launcher.cfg.Doors[i].Serve(l, who) })
	}
}

// doorEnv is the environment that tells a program where the doors are.
func (p *Process) doorEnv() []string {
	var env []string
	for i, d := range p.launcher.cfg.Doors {
		for _, e := range d.Env {
			env = append(env, strings.ReplaceAll(e, "{addr}", p.doorAddrs[i]))
		}
	}
	return env
}

// start starts cmd in a cell of the launcher's tier.
func (p *Process) start(ctx context.Context, cmd Command) error {
	if err := p.launcher.walls.start(ctx, p, cmd); err != nil {
		return err
	}
	if cmd.Who.Kind != "" {
		p.assigned = true
		p.openDoors(cmd.Who)
	}
	return nil
}

// finish records the end and closes Done.
func (p *Process) finish(e Ended) {
	p.ended = e
	close(p.done)
}

// Close kills the program, waits until its cell is empty and frees the cell.
func (p *Process) Close() {
	p.held.kill()
	<-p.done
	p.abandon()
}

// abandon frees what p holds; nothing of it runs any more.
func (p *Process) abandon() {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	if again {
		return
	}
	for _, l := range append(p.doors, p.files...) {
		l.Close()
	}
	p.serving.Wait()
	if p.held != nil {
		p.held.free()
	}
	os.RemoveAll(p.dir)
	p.launcher.forget(p)
}
