package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// nursery is where cells come from: the keeper and the nursery process (see
// package shim) and what they need on this machine.
type nursery struct {
	base    *base
	groups  *hierarchies
	doors   []int
	log     *slog.Logger
	root    bool // the daemon is root: every cell has users of its own
	keeper  *channel
	cells   *channel
	working sync.WaitGroup

	mu   sync.Mutex
	used map[uint32]bool // guarded by mu; first user ids of live cells
}

// Root takes the users of cells from ids that systemd and useradd leave alone
// (systemd.io/UIDS-GIDS).
const (
	firstUser      = 0x70000000
	firstImageUser = 0x60000000
	userRange      = 0x0fff0000
)

// newNursery starts keeper and nursery. Close ends them and every cell.
func newNursery(ctx context.Context, b *base, h *hierarchies, doors []int, log *slog.Logger) (*nursery, error) {
	n := &nursery{base: b, groups: h, doors: doors, log: log, root: os.Geteuid() == 0, used: map[uint32]bool{}}
	if err := n.startKeeper(); err != nil {
		return nil, err
	}
	if err := n.startCells(ctx); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *nursery) startKeeper() error {
	control, theirs, err := newChannel()
	if err != nil {
		return err
	}
	socket := os.NewFile(uintptr(theirs), "keeper")
	defer socket.Close()
	// Opened for reference only: the inits open it in their networks.
	tunnel, err := os.OpenFile("/dev/net/tun", unix.O_PATH, 0)
	if err != nil {
		tunnel, err = os.Open(os.DevNull)
	}
	if err != nil {
		control.close()
		return err
	}
	defer tunnel.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"mayfly-keeper"}
	cmd.Env = []string{shim.Env + "=1", "GOGC=off", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{socket, tunnel}
	cmd.SysProcAttr = keeperAttr(n.root)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		control.close()
		return err
	}
	if err := cmd.Start(); err != nil {
		control.close()
		return fmt.Errorf("start keeper of sandboxes: %w", err)
	}
	n.keeper = control
	n.working.Go(func() {
		n.logLines(stderr)
		cmd.Wait()
		control.close()
		<-control.gone
	})
	return nil
}

// logLines logs what keeper, nursery and inits print, which is nothing unless
// one of them has a fault.
func (n *nursery) logLines(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		n.log.Warn("sandbox init", slog.String("line", s.Text()))
	}
}

func (n *nursery) startCells(ctx context.Context) error {
	mounts, err := n.base.mounts()
	if err != nil {
		return err
	}
	cells, theirs, err := newChannel()
	if err != nil {
		return err
	}
	defer unix.Close(theirs)
	var w shim.Writer
	w.Text(n.groups.freezer())
	w.Text(n.groups.unified)
	w.Texts(n.groups.folders())
	w.Text(n.base.dir)
	w.Uint(uint64(len(mounts)))
	for _, m := range mounts {
		w.Text(m.source)
		w.Text(m.target)
		w.Uint(m.attr)
		w.Flag(m.recursive)
	}
	a, err := n.keeper.ask(ctx, shim.OpNursery, w, theirs)
	if err != nil {
		cells.close()
		return err
	}
	a.close()
	n.cells = cells
	if _, err := cells.await(ctx); err != nil {
		return fmt.Errorf("build the root of sandboxes: %w", err)
	}
	return nil
}

// tree is a detached mount of path, whose owners are mapped by a user namespace
// where users is one. The caller owns the descriptor. Root makes it here, others
// have it made by the keeper.
func (n *nursery) tree(ctx context.Context, path string, attr uint64, users int) (int, error) {
	if n.root {
		return ownTree(path, attr, users)
	}
	var w shim.Writer
	w.Text(path)
	w.Uint(attr)
	w.Flag(true)
	a, err := n.keeper.ask(ctx, shim.OpTree, w)
	if err != nil {
		return -1, fmt.Errorf("show in sandbox: %w", err)
	}
	if len(a.fds) != 1 {
		a.close()
		return -1, errors.New("show in sandbox: no mount came")
	}
	return a.fds[0], nil
}

func ownTree(path string, attr uint64, users int) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, fmt.Errorf("show %s in sandbox: %w", path, err)
	}
	set := unix.MountAttr{Attr_set: attr, Propagation: unix.MS_PRIVATE}
	if users >= 0 {
		set.Attr_set |= unix.MOUNT_ATTR_IDMAP
		set.Userns_fd = uint64(users)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &set); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("show %s in sandbox: %w", path, err)
	}
	return fd, nil
}

// users are the ids of one cell.
type users struct {
	first      uint32 // on this machine; 0 where the cell has the daemon's
	program    uint32 // on this machine
	uids       string // uid_map and gid_map
	init, prog int    // as the cell sees them
	gid        int    // the program's group, as the cell sees it
}

// takeUsers finds ids that no other cell has: one for the init, one for the
// program. Where the daemon is not root all cells have its own.
func (n *nursery) takeUsers() users {
	if !n.root {
		return users{uids: strconv.Itoa(programUser) + " 0 1\n", init: programUser, prog: programUser, gid: programUser}
	}
	first := n.takeIDs(firstUser, 2)
	return users{
		first: first, program: first + 1, init: initUser, prog: programUser, gid: programUser,
		uids: fmt.Sprintf("%d %d 1\n%d %d 1\n", initUser, first, programUser, first+1),
	}
}

// takeImageUsers finds ids for all users of an image, whose program is user.
func (n *nursery) takeImageUsers(uid, gid int) users {
	if !n.root {
		return users{uids: strconv.Itoa(uid) + " 0 1\n", init: uid, prog: uid, gid: uid}
	}
	const all = 1 << 16
	first := n.takeIDs(firstImageUser, all)
	u := users{first: first, init: initUser, uids: fmt.Sprintf("0 %d %d\n", first, all)}
	u.become(uid, gid)
	return u
}

// become says which of an image's users the program is.
func (u *users) become(uid, gid int) {
	u.program, u.prog, u.gid = u.first+uint32(uid), uid, gid
}

func (n *nursery) takeIDs(from, count uint32) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		first := from + rand.Uint32N(userRange/count)*count
		if !n.used[first] {
			n.used[first] = true
			return first
		}
	}
}

func (n *nursery) freeUsers(u users) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, u.first)
}

const cellNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// cell makes a cell: namespaces, cgroup, init, doors.
func (n *nursery) cell(ctx context.Context, name string, u users) (*cell, error) {
	c := &cell{nursery: n, users: u, pidfd: -1}
	if err := c.make(ctx, name); err != nil {
		c.destroy()
		return nil, err
	}
	return c, nil
}

// alive reports whether cells can still be made here.
func (n *nursery) alive() bool {
	select {
	case <-n.keeper.gone:
		return false
	case <-n.cells.gone:
		return false
	default:
		return true
	}
}

// close ends keeper, nursery and every cell, and waits for the keeper.
func (n *nursery) close() {
	if n.cells != nil {
		n.cells.close()
	}
	n.keeper.close()
	n.working.Wait()
	if n.cells != nil {
		<-n.cells.gone
	}
}

// keeperAttr puts the keeper and all below it into a process group of their own:
// Ctrl-C reaches every process of a terminal's group, and calls under way are to
// be answered. The keeper of a daemon that is not root gets a user namespace, in
// which it may mount.
func keeperAttr(root bool) *syscall.SysProcAttr {
	if root {
		return &syscall.SysProcAttr{Setpgid: true}
	}
	return &syscall.SysProcAttr{
		Setpgid:     true,
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}

// listenerOf makes a listener of a descriptor, which it takes over.
func listenerOf(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	return net.FileListener(f)
}
