package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// plainTier is the tier of a machine without walls.
func plainTier(why string) sandbox.Tier {
	missing := map[string]string{}
	for _, wall := range []string{"namespaces", "private root", "closed network", "seccomp", "memory limit"} {
		missing[wall] = why
	}
	return sandbox.Tier{Name: sandbox.TierPlain, Walls: []string{"own process group", "descriptor limit"}, Missing: missing}
}

// plain holds a program as an ordinary process in its own process group. Paths
// of a cell are replaced by those of this machine.
type plain struct {
	dir string // scratch folder: tmp, secrets
	cmd *exec.Cmd

	mu     sync.Mutex
	paths  pathMap // guarded by mu
	reaped bool    // guarded by mu; the process id may belong to another
	last   sandbox.Usage
}

// startPlain starts cmd for p and reports its end to p.finish.
func startPlain(p *Process, cmd Command) error {
	if cmd.Image != "" {
		return mayfly.Errorf(mayfly.Unavailable, "start image", "container images need sandboxes with a root folder of their own, which this machine does not allow; `mayfly doctor` says why")
	}
	h := &plain{dir: p.dir}
	for _, d := range []string{"tmp", "secrets"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o700); err != nil {
			return fmt.Errorf("make scratch folder: %w", err)
		}
	}
	if err := h.give(cmd.Assignment); err != nil {
		return err
	}
	h.mu.Lock()
	for _, b := range cmd.Binds {
		h.paths = h.paths.with(b.Target, b.Source)
	}
	paths := h.paths
	h.mu.Unlock()
	if err := p.listenPlain(cmd.Listen); err != nil {
		return err
	}
	h.cmd = plainCommand(cmd, paths, p.dir, p.doorEnv())
	output, err := h.attach(cmd)
	if err != nil {
		return err
	}
	if err := h.cmd.Start(); err != nil {
		output.abort()
		return err
	}
	limitPlain(h.cmd.Process.Pid)
	output.begin()
	p.held = h
	go h.wait(p, output)
	return nil
}

func plainCommand(cmd Command, paths pathMap, scratch string, doors []string) *exec.Cmd {
	c := &exec.Cmd{Path: paths.file(cmd.Path), Args: []string{paths.file(cmd.Path)}, ExtraFiles: cmd.Files}
	for _, a := range cmd.Args {
		c.Args = append(c.Args, paths.text(a))
	}
	c.Dir = paths.file(cmp.Or(cmd.Dir, TaskDir))
	if c.Dir == TaskDir {
		c.Dir = scratch
	}
	c.Env = []string{"TMPDIR=" + filepath.Join(scratch, "tmp")}
	for _, e := range append(slices.Clone(cmd.Env), doors...) {
		c.Env = append(c.Env, paths.text(e))
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// listenPlain opens the doors and the wanted listeners on free ports.
func (p *Process) listenPlain(wanted []int) error {
	open := func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	for range p.launcher.cfg.Doors {
		l, err := open()
		if err != nil {
			return fmt.Errorf("open door: %w", err)
		}
		p.doors = append(p.doors, l)
		p.doorAddrs = append(p.doorAddrs, l.Addr().String())
	}
	for range wanted {
		l, err := open()
		if err != nil {
			return fmt.Errorf("listen for the program: %w", err)
		}
		p.files = append(p.files, l)
		p.addrs = append(p.addrs, l.Addr().String())
	}
	return nil
}

// give makes the assignment's files reachable.
func (h *plain) give(a Assignment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Bundle != "" {
		h.paths = h.paths.with(TaskDir, a.Bundle)
	}
	h.paths = h.paths.with(SecretsDir, filepath.Join(h.dir, "secrets"))
	return h.show(a.Secrets)
}

// show writes secrets to files, each as a whole.
func (h *plain) show(secrets map[string][]byte) error {
	beside := filepath.Join(h.dir, "secrets", ".new")
	for name, value := range secrets {
		if err := checkSecret(name); err != nil {
			return err
		}
		err := os.WriteFile(beside, value, 0o400)
		if err == nil {
			err = os.Rename(beside, filepath.Join(h.dir, "secrets", name))
		}
		if err != nil {
			os.Remove(beside)
			return fmt.Errorf("write secret: %w", err)
		}
	}
	return nil
}

func (h *plain) reveal(_ context.Context, secrets map[string][]byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reaped {
		return nil
	}
	return h.show(secrets)
}

// wait reaps the program, ends what it left in its group, and reports.
func (h *plain) wait(p *Process, output *output) {
	state, _ := h.cmd.Process.Wait()
	syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
	h.mu.Lock()
	h.reaped = true
	if state != nil {
		h.last.CPU = state.UserTime() + state.SystemTime()
		h.last.MemoryPeak = max(h.last.MemoryPeak, peakOf(state))
	}
	h.last.Memory = 0
	h.mu.Unlock()
	output.drain(time.Second)
	p.finish(endedBy(state))
}

func endedBy(state *os.ProcessState) Ended {
	if state == nil {
		return Ended{Code: -1}
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return Ended{Code: -1, Signal: ws.Signal().String()}
	}
	return Ended{Code: state.ExitCode()}
}

func (h *plain) pid() int { return h.cmd.Process.Pid }

// toGroup signals the program's process group while its id is surely its own.
func (h *plain) toGroup(sig syscall.Signal) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reaped {
		return os.ErrProcessDone
	}
	return syscall.Kill(-h.cmd.Process.Pid, sig)
}

func (h *plain) signal(sig os.Signal) error { return h.cmd.Process.Signal(sig) }
func (h *plain) kill()                      { h.toGroup(syscall.SIGKILL) }
func (h *plain) freeze() error              { return h.toGroup(syscall.SIGSTOP) }
func (h *plain) thaw() error                { return h.toGroup(syscall.SIGCONT) }

func (h *plain) usage() sandbox.Usage {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.reaped {
		h.last = usageOf(h.cmd.Process.Pid, h.last)
	}
	return h.last
}

func (h *plain) dial(ctx context.Context, port int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
}

func (h *plain) assign(_ context.Context, a Assignment) error { return h.give(a) }

func (h *plain) path(inside string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.paths.file(inside)
}

func (h *plain) free() {}

// pathMap replaces folders of a cell by folders of this machine, the longest
// first. It does not change once made.
type pathMap [][2]string

func (m pathMap) with(inside, outside string) pathMap {
	m = append(slices.Clone(m), [2]string{inside, outside})
	slices.SortStableFunc(m, func(a, b [2]string) int { return len(b[0]) - len(a[0]) })
	return m
}

func (m pathMap) file(inside string) string {
	for _, e := range m {
		if rest, ok := strings.CutPrefix(inside, e[0]); ok && (rest == "" || rest[0] == '/') {
			return e[1] + rest
		}
	}
	return inside
}

// text replaces every mention, as in PYTHONPATH's list.
func (m pathMap) text(s string) string {
	for _, e := range m {
		s = strings.ReplaceAll(s, e[0], e[1])
	}
	return s
}

// attach connects the program's output to the writers of cmd.
func (h *plain) attach(cmd Command) (*output, error) {
	out, child, err := newOutput(cmd.Stdout, cmd.Stderr)
	if err != nil {
		return nil, err
	}
	// An *os.File reaches the child as it is: exec copies nothing itself.
	for i, w := range []*io.Writer{&h.cmd.Stdout, &h.cmd.Stderr} {
		if child[i] != nil {
			*w = child[i]
		}
	}
	return out, nil
}

// output copies what a program prints.
type output struct {
	ours, theirs []*os.File
	into         []io.Writer
	copying      sync.WaitGroup
}

// newOutput makes a pipe for each writer. The child's ends are nil where there
// is no writer.
func newOutput(stdout, stderr io.Writer) (*output, [2]*os.File, error) {
	o := &output{}
	var child [2]*os.File
	for i, w := range []io.Writer{stdout, stderr} {
		if w == nil {
			continue
		}
		r, wr, err := os.Pipe()
		if err != nil {
			o.abort()
			return nil, child, fmt.Errorf("make output pipe: %w", err)
		}
		o.ours, o.theirs, o.into = append(o.ours, r), append(o.theirs, wr), append(o.into, w)
		child[i] = wr
	}
	return o, child, nil
}

// begin starts to copy, once the child has its ends.
func (o *output) begin() {
	for i, r := range o.ours {
		o.theirs[i].Close()
		o.copying.Go(func() {
			_, err := io.Copy(o.into[i], r)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				io.Copy(io.Discard, r) // a writer that fails must not block the program
			}
			r.Close()
		})
	}
}

// drain waits for the rest, but no longer than grace: a descriptor may have
// escaped to a process that lives on.
func (o *output) drain(grace time.Duration) {
	for _, r := range o.ours {
		r.SetReadDeadline(time.Now().Add(grace))
	}
	o.copying.Wait()
}

func (o *output) abort() {
	for _, f := range append(o.ours, o.theirs...) {
		f.Close()
	}
}
