package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process/egress"
	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// cell is a set of namespaces with a private root, a cgroup and an init.
type cell struct {
	nursery *nursery
	users   users
	group   *group
	control *channel // to the init
	pid     int      // of the init, on this machine
	pidfd   int      // of the init
	doors   []net.Listener
	imaged  bool  // the root is an image's
	parent  *cell // the template's, of a hollow cell; nil otherwise

	names     net.PacketConn // where the cell asks for names
	egress    *egress.Stack  // nil where the cell has no way out
	forwards  []net.Listener // for named services of this machine
	working   sync.WaitGroup // names and forwards
	destroyed sync.Once

	mu    sync.Mutex
	spare []int // guarded by mu; unconnected sockets of the cell's network
	freed bool  // guarded by mu
	young int   // guarded by mu; hollow cells within this one
	room  int   // guarded by mu; for how many the group's limits are
}

// sparesWanted is how many sockets a cell is asked for at once.
const sparesWanted = 4

func (c *cell) make(ctx context.Context, name string) error {
	var err error
	if c.group, err = c.nursery.groups.newGroup(name); err != nil {
		return err
	}
	if err := c.fork(ctx, c.nursery.cells, cellNamespaces, true); err != nil {
		return err
	}
	if err := c.group.attach(c.pid, false); err != nil {
		return err
	}
	return c.setup(ctx)
}

// fork has parent fork the cell's init, in its v2 cgroup where grouped.
func (c *cell) fork(ctx context.Context, parent *channel, flags uint64, grouped bool) error {
	control, theirs, err := newChannel()
	if err != nil {
		return err
	}
	c.control = control
	defer unix.Close(theirs)
	var w shim.Writer
	w.Uint(flags)
	w.Text(c.users.uids)
	w.Text(c.users.uids)
	fds := []int{theirs}
	if grouped {
		if dir := c.group.open(); dir >= 0 {
			defer unix.Close(dir)
			fds = append(fds, dir)
		}
	}
	a, err := parent.ask(ctx, shim.OpCell, w, fds...)
	if err != nil {
		return err
	}
	if len(a.fds) != 1 {
		a.close()
		return errors.New("the nursery sent no process")
	}
	c.pid, c.pidfd = int(a.Uint()), a.fds[0]
	return nil
}

// setup has the init make its mounts and doors.
func (c *cell) setup(ctx context.Context) error {
	var w shim.Writer
	w.Uint(uint64(c.users.init))
	w.Uint(uint64(c.users.init))
	w.Uint(uint64(c.users.prog))
	w.Uint(uint64(c.users.gid))
	w.Text("mayfly")
	putPorts(&w, c.nursery.doors)
	a, err := c.control.ask(ctx, shim.OpSetup, w)
	if err != nil {
		return err
	}
	last := len(a.fds) - 1
	if last != len(c.nursery.doors) {
		a.close()
		return errors.New("the init opened too few doors")
	}
	if c.doors, err = listenersOf(a.fds[:last]); err != nil {
		unix.Close(a.fds[last])
		return err
	}
	f := os.NewFile(uintptr(a.fds[last]), "names")
	defer f.Close()
	c.names, err = net.FilePacketConn(f)
	return err
}

func putPorts(w *shim.Writer, ports []int) {
	w.Uint(uint64(len(ports)))
	for _, p := range ports {
		w.Uint(uint64(p))
	}
}

// listenersOf takes all descriptors over, also where it fails.
func listenersOf(fds []int) (all []net.Listener, err error) {
	for _, fd := range fds {
		l, e := listenerOf(fd)
		if e != nil {
			err = e
			continue
		}
		all = append(all, l)
	}
	if err != nil {
		closeListeners(all)
		return nil, fmt.Errorf("listen in sandbox: %w", err)
	}
	return all, nil
}

func closeListeners(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}

// hold runs f, which gives the cell something that its end closes, unless it
// has ended.
func (c *cell) hold(f func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.freed {
		return errGone
	}
	f()
	return nil
}

// equipment is what a function brings into a cell: a part of a message, and
// the descriptors of mounts that belong to it.
type equipment struct {
	shim.Writer
	fds []int
}

func (e *equipment) close() {
	for _, fd := range e.fds {
		unix.Close(fd)
	}
}

// equip gives a running program its function's files and limits.
func (c *cell) equip(ctx context.Context, a Assignment, masked []string) error {
	e, err := c.equipment(ctx, a, nil, masked)
	if err != nil {
		return err
	}
	defer e.close()
	_, err = c.control.ask(ctx, shim.OpEquip, e.Writer, e.fds...)
	return err
}

// equipment sets a function's limits and gathers its files. The caller closes
// it.
func (c *cell) equipment(ctx context.Context, a Assignment, binds []Bind, masked []string) (*equipment, error) {
	if err := c.group.limit(a.Memory, a.Pids); err != nil {
		return nil, err
	}
	if a.Bundle != "" {
		binds = append([]Bind{{Source: a.Bundle, Target: TaskDir}}, binds...)
	}
	e := &equipment{}
	e.Uint(uint64(a.Tmp))
	var err error
	if e.fds, err = c.bind(ctx, &e.Writer, binds); err != nil {
		e.close()
		return nil, err
	}
	e.Texts(masked)
	if err := putSecrets(&e.Writer, a.Secrets); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func putSecrets(w *shim.Writer, secrets map[string][]byte) error {
	w.Uint(uint64(len(secrets)))
	for name, value := range secrets {
		if err := checkSecret(name); err != nil {
			return err
		}
		w.Text(name)
		w.Text(string(value))
	}
	return nil
}

// bind makes a mount for each bind and adds them to the message.
func (c *cell) bind(ctx context.Context, w *shim.Writer, binds []Bind) (fds []int, err error) {
	w.Uint(uint64(len(binds)))
	for _, b := range binds {
		info, err := os.Stat(b.Source)
		if err != nil {
			return fds, mayfly.Errorf(mayfly.Invalid, "start sandbox", "%s cannot be shown: %w", b.Target, err)
		}
		if err := c.readable(b, info); err != nil {
			return fds, err
		}
		if !c.imaged { // in an image the init can make all mount points itself
			if err := c.nursery.base.point(b.Target, info.IsDir()); err != nil {
				return fds, err
			}
		}
		attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		if !b.Writable {
			attr |= unix.MOUNT_ATTR_RDONLY
		}
		fd, err := c.nursery.tree(ctx, b.Source, attr, -1)
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
		w.Text(b.Target)
		w.Flag(info.IsDir())
	}
	return fds, nil
}

// readable refuses what the cell's user would not be able to open, which would
// look like a fault of the function.
func (c *cell) readable(b Bind, info fs.FileInfo) error {
	want := fs.FileMode(0o004)
	if info.IsDir() {
		want = 0o005
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !c.nursery.root || info.Mode().Perm()&want == want || ok && st.Uid == c.users.program {
		return nil
	}
	return mayfly.Errorf(mayfly.Invalid, "start sandbox", "%s may be read by its owner alone (%s), and functions run as other users; run `chmod -R a+rX` on it", b.Source, info.Mode().Perm())
}

// kill ends everything in the cell. A v1 freezer would keep it alive.
func (c *cell) kill() {
	if c.group.unified() == "" && c.group.dir("freezer") != "" {
		c.group.freeze(false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.freed && c.pidfd >= 0 {
		unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0)
	}
}

// alive reports whether the init is there.
func (c *cell) alive() bool {
	select {
	case <-c.control.gone:
		return false
	default:
		return true
	}
}

// wait returns when every process of the cell is gone.
func (c *cell) wait() {
	<-c.control.gone
	if c.pidfd < 0 {
		return
	}
	polled := []unix.PollFd{{Fd: int32(c.pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(polled, -1); err != unix.EINTR {
			return
		}
	}
}

// destroy ends the cell and frees all it has. It may be called again.
func (c *cell) destroy() { c.destroyed.Do(c.end) }

func (c *cell) end() {
	if c.control != nil {
		c.kill()
		c.control.close()
		c.wait()
	}
	c.mu.Lock()
	c.freed = true
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
	}
	for _, fd := range c.spare {
		unix.Close(fd)
	}
	c.mu.Unlock()
	closeListeners(c.doors)
	closeListeners(c.forwards)
	if c.names != nil {
		c.names.Close()
	}
	c.working.Wait()
	if c.egress != nil {
		c.egress.Close()
	}
	if c.group != nil {
		if err := c.group.remove(); err != nil {
			c.nursery.log.Warn("remove sandbox", slog.Any("error", err))
		}
	}
	c.nursery.freeUsers(c.users)
	if c.parent != nil {
		c.parent.leave()
	}
}
