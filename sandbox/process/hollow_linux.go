package process

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// hollow is what a Cell has on Linux.
type hollow struct {
	cell       *cell
	namespaces []*os.File
	filter     []byte
	adopted    bool
	pids       uint64 // how many processes it may have
}

// entered are the namespaces in the order in which a child enters them.
var entered = []string{"user", "pid", "mnt", "net", "ipc", "uts"}

// make has the template's init fork a cell within the template's.
func (c *Cell) make(ctx context.Context, a Assignment) error {
	t, ok := c.template.held.(*walled)
	if !ok {
		return mayfly.Errorf(mayfly.Unavailable, "hollow sandbox", "the template runs without walls, so its children do too")
	}
	w := c.launcher.walls
	n := t.cell.nursery
	w.mu.Lock()
	name := w.name()
	c.filter, c.pids = w.filters.ordinary, uint64(a.withDefaults().Pids)
	w.mu.Unlock()
	u := strconv.Itoa(programUser)
	c.cell = &cell{nursery: n, pidfd: -1, users: users{uids: u + " " + u + " 1\n", init: programUser, prog: programUser, gid: programUser}}
	err := c.build(ctx, t.cell, name, a)
	if err != nil {
		c.Close()
	}
	return err
}

func (c *Cell) build(ctx context.Context, template *cell, name string, a Assignment) error {
	in := c.cell
	in.parent = template
	err := template.join(a)
	if err != nil {
		return err
	}
	if in.group, err = in.nursery.groups.newGroup(name); err != nil {
		return err
	}
	// The template's init may not start processes in cgroups of its choice.
	if err := in.fork(ctx, template.control, cellNamespaces, false); err != nil {
		return err
	}
	in.pid = pidOf(in.pidfd) // the reply told what the template's cell calls it
	if err := in.group.attach(in.pid, true); err != nil {
		return err
	}
	if err := in.setup(ctx); err != nil {
		return err
	}
	a.Bundle = "" // shown already, as the template's
	if err := in.equip(ctx, a, maskedFiles); err != nil {
		return err
	}
	if err := c.launcher.walls.openEgress(ctx, in, a); err != nil {
		return err
	}
	for _, ns := range entered {
		f, err := os.Open("/proc/" + strconv.Itoa(in.pid) + "/ns/" + ns)
		if err != nil {
			return fmt.Errorf("open namespace: %w", err)
		}
		c.namespaces = append(c.namespaces, f)
	}
	return nil
}

// leastRoom is for how many children a template's group has room at least.
const leastRoom = 16

// join makes room in a template's group for one more child. Children are in it
// until they are attached to their own, which in a burst takes a while: without
// room they would run at the speed of one and be killed for its memory. With
// cgroups of version 1 the pages of their first moments count there for as long
// as they live.
func (c *cell) join(a Assignment) error {
	const mostPids = 1 << 20 // the kernel refuses more than 4 million
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young++
	if c.young <= c.room {
		return nil
	}
	c.room = max(leastRoom, 2*c.young)
	return c.group.limit(a.Memory*mayfly.Bytes(1+c.room), min(a.Pids*(1+c.room), mostPids))
}

// leave takes a child off the count. The limits stay: another burst may come,
// and to lower them has the kernel search for memory.
func (c *cell) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young--
}

// adopt checks that pid is in the cell and hands it to the init.
func (c *Cell) adopt(ctx context.Context, p *Process, pid int) error {
	h := &walled{walls: c.launcher.walls, cell: c.cell, host: pid}
	var err error
	if h.program, err = unix.PidfdOpen(pid, 0); err != nil {
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	inside, err := c.within(pid)
	if err == nil {
		var w shim.Writer
		w.Uint(uint64(inside))
		_, err = c.cell.control.ask(ctx, shim.OpAdopt, w)
	}
	if err == nil && limitsProcesses() {
		bound := unix.Rlimit{Cur: c.pids, Max: c.pids}
		err = unix.Prlimit(pid, unix.RLIMIT_NPROC, &bound, nil)
	}
	if err != nil {
		unix.Close(h.program)
		return err
	}
	c.adopted = true
	c.closeNamespaces()
	h.takeDoors(p)
	p.held = h
	out := &output{}
	go func() {
		if err := c.cell.group.attach(pid, true); err != nil && c.cell.alive() {
			p.launcher.cfg.Log.Warn("a forked sandbox runs in its template's cgroup", slog.Any("error", err))
		}
		h.watch(p, out)
	}()
	return nil
}

// within is the process id that pid has in the cell. A template that names a
// process elsewhere is refused.
func (c *Cell) within(pid int) (int, error) {
	var ours, theirs unix.Stat_t
	dir := "/proc/" + strconv.Itoa(pid)
	err := unix.Fstat(int(c.namespaces[1].Fd()), &ours)
	if err == nil {
		err = unix.Stat(dir+"/ns/pid", &theirs)
	}
	if err != nil {
		return 0, fmt.Errorf("find process %d: %w", pid, err)
	}
	if ours.Ino != theirs.Ino || ours.Dev != theirs.Dev {
		return 0, mayfly.Errorf(mayfly.Denied, "adopt forked process", "process %d is not in the sandbox that was made for it", pid)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return 0, fmt.Errorf("find process %d: %w", pid, err)
	}
	_, rest, _ := bytes.Cut(status, []byte("NSpid:"))
	line, _, _ := strings.Cut(string(rest), "\n")
	ids := strings.Fields(line)
	if len(ids) == 0 {
		return 0, fmt.Errorf("find process %d: no NSpid", pid)
	}
	return strconv.Atoi(ids[len(ids)-1])
}

func (c *Cell) closeNamespaces() {
	for _, f := range c.namespaces {
		f.Close()
	}
}

// Close ends the cell unless a process was adopted. It may be called again.
func (c *Cell) Close() {
	if c.adopted {
		return
	}
	c.closeNamespaces()
	c.cell.destroy()
}
