package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// walled holds a program in a cell.
type walled struct {
	walls   *walls
	cell    *cell
	program int // pidfd
	host    int // the program's process id on this machine

	mu       sync.Mutex
	frozen   bool          // guarded by mu
	gone     bool          // guarded by mu
	unfrozen bool          // it runs gVisor, which does not bear to be frozen
	last     sandbox.Usage // guarded by mu; after gone
}

// start equips the cell and starts the program in it.
func (h *walled) start(ctx context.Context, p *Process, cmd Command, f filters) error {
	assignment := cmd.Assignment.withDefaults()
	masked := maskedFiles
	if cmd.Template {
		masked = nil // the kernel lets its hollow cells have a /proc only if nothing of its own is hidden
	}
	if cmd.Image != "" {
		if err := h.cell.image(ctx, cmd.Image, assignment.Tmp); err != nil {
			return err
		}
	}
	h.takeDoors(p)
	if cmd.Isolation == IsolationGVisor {
		var err error
		if cmd, err = h.gvisor(p, cmd); err != nil {
			return err
		}
		h.unfrozen = true
		masked = nil // gVisor makes a /proc of its own
	}
	e, err := h.cell.equipment(ctx, assignment, cmd.Binds, masked)
	if err != nil {
		return err
	}
	defer e.close()
	out, child, err := newOutput(cmd.Stdout, cmd.Stderr)
	if err != nil {
		return err
	}
	if err := h.exec(ctx, p, cmd, e, child, f); err != nil {
		out.abort()
		return err
	}
	out.begin()
	p.held = h
	go h.watch(p, out)
	return nil
}

// takeDoors makes the cell's doors the process's.
func (h *walled) takeDoors(p *Process) {
	p.doors = h.cell.doors
	for _, d := range p.launcher.cfg.Doors {
		p.doorAddrs = append(p.doorAddrs, loopbackAddr(d.Port))
	}
}

func loopbackAddr(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// exec has the init equip the cell and run the program.
func (h *walled) exec(ctx context.Context, p *Process, cmd Command, e *equipment, child [2]*os.File, f filters) error {
	dir := cmp.Or(cmd.Dir, "/")
	if cmd.Dir == "" && cmd.Bundle != "" {
		dir = TaskDir
	}
	w, fds := e.Writer, slices.Clone(e.fds)
	w.Text(cmd.Path)
	w.Text(dir)
	w.Texts(append([]string{cmd.Path}, cmd.Args...))
	w.Texts(append(p.doorEnv(), cmd.Env...))
	for _, pipe := range child {
		w.Flag(pipe != nil)
		if pipe != nil {
			h.own(pipe)
			fds = append(fds, int(pipe.Fd()))
		}
	}
	for _, file := range cmd.Files {
		fds = append(fds, int(file.Fd()))
	}
	programLimits(&w, cmd)
	switch {
	case cmd.Isolation == IsolationGVisor:
		w.Text(string(f.gvisor))
	case cmd.Template:
		w.Text(string(f.template))
	default:
		w.Text(string(f.ordinary))
	}
	w.Uint(f.scoped)
	putPorts(&w, cmd.Listen)
	a, err := h.cell.control.ask(ctx, shim.OpExec, w, fds...)
	if err != nil {
		return err
	}
	if len(a.fds) == 0 {
		return errors.New("the init sent no process")
	}
	h.program = a.fds[0]
	h.host = pidOf(h.program)
	if p.files, err = listenersOf(a.fds[1:]); err != nil {
		return err
	}
	for _, port := range cmd.Listen {
		p.addrs = append(p.addrs, loopbackAddr(port))
	}
	return nil
}

// own gives a pipe to the cell's user, so that programs can open it again as
// /dev/stdout.
func (h *walled) own(f *os.File) {
	if id := int(h.cell.users.program); id != 0 {
		f.Chown(id, id)
	}
}

// pidOf is the process id of a pidfd in the daemon's namespace, 0 where it
// has ended.
func pidOf(pidfd int) int {
	b, _ := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	return max(0, int(keyOf(string(b), "Pid:")))
}

// watch waits for the end of the cell, frees it, and reports.
func (h *walled) watch(p *Process, out *output) {
	h.cell.wait()
	usage := h.cell.group.usage()
	ended := h.ended()
	h.mu.Lock()
	h.gone = true
	if e := h.cell.control.exit; e != nil { // where cgroups did not count
		usage.CPU = cmp.Or(usage.CPU, time.Duration(e.cpuMicros)*time.Microsecond)
		usage.MemoryPeak = cmp.Or(usage.MemoryPeak, mayfly.Bytes(e.peakKiB)*mayfly.KiB)
	}
	usage.Memory = 0
	h.last = usage
	unix.Close(h.program)
	h.mu.Unlock()
	h.cell.destroy()
	out.drain(time.Second)
	p.finish(ended)
}

// ended is how the program ended, after the cell did.
func (h *walled) ended() Ended {
	e := Ended{Code: -1, Signal: syscall.SIGKILL.String()}
	if x := h.cell.control.exit; x != nil {
		e = Ended{Code: x.status.ExitStatus()}
		if x.status.Signaled() {
			e = Ended{Code: -1, Signal: x.status.Signal().String()}
		}
	}
	e.OutOfMemory = e.Code != 0 && h.cell.group.killedForMemory()
	return e
}

func (h *walled) pid() int { return h.host }

func (h *walled) signal(sig os.Signal) error {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signal %v: %w", sig, errors.ErrUnsupported)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return os.ErrProcessDone
	}
	if err := unix.PidfdSendSignal(h.program, s, nil, 0); err != nil {
		return os.NewSyscallError("signal", err)
	}
	return nil
}

func (h *walled) kill() { h.cell.kill() }

func (h *walled) freeze() error { return h.setFrozen(true) }
func (h *walled) thaw() error   { return h.setFrozen(false) }

func (h *walled) setFrozen(on bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return os.ErrProcessDone
	}
	if h.frozen == on {
		return nil
	}
	if h.unfrozen {
		return mayfly.Errorf(mayfly.Unavailable, "freeze sandbox", "gVisor does not bear to be frozen")
	}
	if err := h.cell.group.freeze(on); err != nil {
		return err
	}
	h.frozen = on
	return nil
}

func (h *walled) usage() sandbox.Usage {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return h.last
	}
	u := h.cell.group.recentUsage()
	if u.CPU == 0 || u.Memory == 0 { // no cgroup counts it: the program alone
		own := usageOf(h.host, sandbox.Usage{})
		u.CPU, u.Memory, u.MemoryPeak = cmp.Or(u.CPU, own.CPU), cmp.Or(u.Memory, own.Memory), cmp.Or(u.MemoryPeak, own.MemoryPeak)
	}
	return u
}

func (h *walled) dial(ctx context.Context, port int) (net.Conn, error) {
	return h.cell.dial(ctx, port)
}

func (h *walled) assign(ctx context.Context, a Assignment) error {
	if err := h.cell.equip(ctx, a.withDefaults(), nil); err != nil {
		return err
	}
	return h.walls.openEgress(ctx, h.cell, a)
}

// reveal thaws a frozen cell for as long as its init writes.
func (h *walled) reveal(ctx context.Context, secrets map[string][]byte) error {
	var w shim.Writer
	if err := putSecrets(&w, secrets); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return nil
	}
	if h.frozen {
		if err := h.cell.group.freeze(false); err != nil {
			return err
		}
		defer h.cell.group.freeze(true)
	}
	_, err := h.cell.control.ask(ctx, shim.OpSecrets, w)
	if !h.cell.alive() {
		return nil
	}
	return err
}

func (h *walled) path(inside string) string { return inside }

func (h *walled) free() { h.cell.destroy() }
