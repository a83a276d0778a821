package process

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process/egress"
	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// walls makes cells. What the machine allows is found out at first use.
type walls struct {
	cfg    Config
	node   string // names this node's cgroups of any run
	groups string // names those of this one
	wanted chan struct{}

	// For tests.
	v1       bool            // use no v2 cgroups
	resolver *net.Resolver   // of egress
	dial     egress.DialFunc // of egress

	mu      sync.Mutex
	opened  bool         // guarded by mu
	closed  bool         // guarded by mu
	tier    sandbox.Tier // guarded by mu
	nursery *nursery     // guarded by mu; nil in the plain tier
	filters filters      // guarded by mu; set with nursery
	stock   []*cell      // guarded by mu
	images  []*cell      // guarded by mu; for programs of images, once there was one
	imaged  bool         // guarded by mu
	serial  int          // guarded by mu
}

// filters are what programs are restricted by.
type filters struct {
	ordinary, template, gvisor []byte // system call filters
	scoped                     uint64 // Landlock scopes
}

func newFilters() (f filters, err error) {
	if f.ordinary, err = newFilter(false); err != nil {
		return f, err
	}
	if f.gvisor, err = newGVisorFilter(); err != nil {
		return f, err
	}
	f.template, err = newFilter(true)
	f.scoped = landlockScopes()
	return f, err
}

// newWalls sweeps what an earlier daemon with the same node and folder left.
func newWalls(cfg Config) (*walls, error) {
	h := fnv.New32a()
	h.Write([]byte(cfg.Dir))
	w := &walls{cfg: cfg, node: fmt.Sprintf("%s-%08x", cfg.Node, h.Sum32()), wanted: make(chan struct{}, 1)}
	w.groups = fmt.Sprintf("%s.%08x", w.node, rand.Uint32())
	if cfg.Walls == WallsNone {
		return w, nil
	}
	if err := sweepGroups(w.node); err != nil {
		return nil, fmt.Errorf("sweep sandboxes of an earlier run: %w", err)
	}
	return w, nil
}

// buildTime bounds the first cell; some ten milliseconds are usual.
const buildTime = time.Minute

// open finds out what the machine allows, once, by making a first cell. The
// nursery is nil where cells are not possible. One that died is replaced: that
// this fails is an error, for no program is to run with less than the first.
func (w *walls) open() (*nursery, sandbox.Tier, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.opened && (w.nursery == nil || w.nursery.alive()) {
		return w.nursery, w.tier, nil
	}
	again := w.opened
	w.shut()
	w.opened = true
	if w.cfg.Walls == WallsNone {
		w.tier = plainTier("walls are switched off by configuration")
		return nil, w.tier, nil
	}
	why, err := w.build()
	if err != nil && again {
		w.opened = false
		return nil, w.tier, mayfly.Errorf(mayfly.Unavailable, "start sandbox", "sandboxes were possible and are not any more: %w", err)
	}
	if err != nil {
		w.cfg.Log.Warn("functions run without walls", slog.String("why", why), slog.Any("error", err))
		w.tier = plainTier(why)
	}
	return w.nursery, w.tier, nil
}

// level is the tier of this machine.
func (w *walls) level() sandbox.Tier {
	_, tier, _ := w.open()
	return tier
}

// build makes the nursery and a first cell for the stock.
func (w *walls) build() (why string, err error) {
	if w.filters, err = newFilters(); err != nil {
		return "the system call filter is broken", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	groups := findHierarchies(w.groups, !w.v1)
	if err = w.breed(ctx, groups); err != nil && groups.unified != "" {
		// A group may be writable and still not take processes.
		w.shut()
		if w.breed(ctx, findHierarchies(w.groups, false)) == nil {
			err = nil
		}
	}
	if err != nil {
		w.shut()
		return whyNot(err), err
	}
	w.tier = tierOf(w.nursery)
	return "", nil
}

// breed makes the nursery and its first cell.
func (w *walls) breed(ctx context.Context, groups *hierarchies) error {
	groups.weigh(runtime.NumCPU())
	if err := groups.bound(w.cfg.Memory); err != nil {
		return err
	}
	b, err := newBase(filepath.Join(w.cfg.Dir, "root"))
	if err != nil {
		return err
	}
	var ports []int
	for _, d := range w.cfg.Doors {
		ports = append(ports, d.Port)
	}
	if w.nursery, err = newNursery(ctx, b, groups, ports, w.cfg.Log); err != nil {
		groups.remove()
		return err
	}
	first, err := w.nursery.cell(ctx, w.name(), w.nursery.takeUsers())
	if err == nil {
		w.stock = append(w.stock, first)
	}
	return err
}

// name is a fresh name of a cell.
func (w *walls) name() string {
	w.serial++
	return "c" + strconv.Itoa(w.serial)
}

// take returns a cell from stock, or a fresh one.
func (w *walls) take(ctx context.Context, n *nursery) (*cell, error) {
	defer w.want()
	c, name := w.ahead(&w.stock)
	if c != nil {
		return c, nil
	}
	return n.cell(ctx, name, n.takeUsers())
}

// takeFor returns a cell for cmd. That of an image has other users.
func (w *walls) takeFor(ctx context.Context, n *nursery, cmd Command) (*cell, error) {
	if cmd.Image == "" {
		return w.take(ctx, n)
	}
	uid, gid, err := imageUser(cmd.Image, cmd.User)
	if err != nil {
		return nil, err
	}
	if uid == 0 && cmd.Isolation == IsolationGVisor {
		uid = programUser // the kernel keeps a root without capabilities from the namespace that gVisor makes
	}
	defer w.want()
	c, name := w.ahead(&w.images)
	if c == nil {
		return n.cell(ctx, name, n.takeImageUsers(uid, gid))
	}
	c.users.become(uid, gid)
	return c, nil
}

// ahead takes a living cell from one of the stocks, or names a new one.
func (w *walls) ahead(stock *[]*cell) (*cell, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.imaged = w.imaged || stock == &w.images
	for len(*stock) > 0 {
		c := (*stock)[0]
		*stock = (*stock)[1:]
		if c.alive() {
			return c, ""
		}
		go c.destroy()
	}
	return nil, w.name()
}

// want wakes run.
func (w *walls) want() {
	select {
	case w.wanted <- struct{}{}:
	default:
	}
}

// run keeps the stock filled until ctx ends.
func (w *walls) run(ctx context.Context) error {
	w.want()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wanted:
		}
		if err := w.refill(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("cannot prepare sandboxes ahead", slog.Any("error", err))
			time.AfterFunc(time.Second, w.want)
		}
	}
}

func (w *walls) refill(ctx context.Context) error {
	n, _, err := w.open()
	if err != nil {
		return err
	}
	for n != nil && ctx.Err() == nil {
		stock, name := w.lacking(n)
		if stock == nil {
			return nil
		}
		var u users
		if stock == &w.images {
			u = n.takeImageUsers(0, 0) // who the program is, is said at take
		} else {
			u = n.takeUsers()
		}
		c, err := n.cell(ctx, name, u)
		if err != nil {
			return err
		}
		if !w.keep(n, stock, c) {
			c.destroy()
			return nil
		}
	}
	return nil
}

// imagesAhead is how many cells for images are kept: they take as much memory as
// others, and few nodes start many.
const imagesAhead = 1

// lacking is a stock that is not full, and the name of its next cell. Cells for
// images differ by user where the daemon is not root, and are not made ahead.
func (w *walls) lacking(n *nursery) (*[]*cell, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
	case len(w.stock) < w.cfg.Stock:
		return &w.stock, w.name()
	case w.imaged && n.root && len(w.images) < min(imagesAhead, w.cfg.Stock):
		return &w.images, w.name()
	}
	return nil, ""
}

// keep puts a cell into stock, unless its nursery was closed meanwhile.
func (w *walls) keep(n *nursery, stock *[]*cell, c *cell) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.nursery != n {
		return false
	}
	*stock = append(*stock, c)
	return true
}

// shut ends the nursery and the stock. w.mu is held.
func (w *walls) shut() {
	for _, c := range slices.Concat(w.stock, w.images) {
		c.destroy()
	}
	w.stock, w.images = nil, nil
	if w.nursery == nil {
		return
	}
	w.nursery.close()
	w.nursery.groups.remove()
	w.nursery = nil
}

// close ends every cell.
func (w *walls) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.shut()
}

// start starts cmd for p in a cell, or plainly where there are none.
func (w *walls) start(ctx context.Context, p *Process, cmd Command) error {
	n, tier, err := w.open()
	if err != nil {
		return err
	}
	p.tier = tier
	if n == nil {
		return startPlain(p, cmd)
	}
	c, err := w.takeFor(ctx, n, cmd)
	if err != nil {
		return err
	}
	if cmd.Isolation == IsolationGVisor {
		p.tier.Walls = append(slices.Clone(tier.Walls), "gVisor: a kernel in user space answers the program")
	}
	h := &walled{walls: w, cell: c}
	if cmd.Who.Kind != "" {
		err = w.openEgress(ctx, c, cmd.Assignment)
	}
	if err == nil {
		err = h.start(ctx, p, cmd, w.filters)
	}
	if err != nil {
		c.destroy()
	}
	return err
}

// tierOf says what a nursery's cells enforce, and what not.
func tierOf(n *nursery) sandbox.Tier {
	t := sandbox.Tier{Name: sandbox.TierFull, Missing: map[string]string{}, Walls: []string{
		"namespaces (own processes, files, network, IPC, host name)", "private root folder", "closed network",
		"no capabilities", "no setuid programs", "system call filter", "limits on open files and file sizes",
	}}
	lack := func(wall, why string) {
		t.Name = sandbox.TierPartial
		t.Missing[wall] = why
	}
	if n.root {
		t.Walls = append(t.Walls, "a user of its own for each sandbox")
	} else {
		lack("a user of its own for each sandbox", "the daemon is not root: every sandbox runs as the daemon's user, inside its own user namespace")
	}
	for _, c := range []struct{ controller, wall string }{{"memory", "memory limit"}, {"pids", "process limit"}, {"cpu", "processor share"}} {
		if n.groups.has(c.controller) || c.controller == "pids" && limitsProcesses() {
			t.Walls = append(t.Walls, c.wall)
		} else {
			lack(c.wall, "no writable cgroup with the "+c.controller+" controller; run the daemon as root, or in a systemd unit with Delegate=yes")
		}
	}
	if n.groups.unified != "" || n.groups.has("freezer") {
		t.Walls = append(t.Walls, "freezer for idle instances")
	} else {
		lack("freezer for idle instances", "no writable cgroup; idle instances keep their processor until they are stopped")
	}
	if landlockScopes() != 0 {
		t.Walls = append(t.Walls, "Landlock")
	} else {
		t.Missing["Landlock"] = "the kernel lacks it or has an older version (Linux 6.12 is needed); the other walls do not depend on it"
	}
	return t
}

// landlockScopes are the scopes that the kernel knows (Landlock's ABI 6).
func landlockScopes() uint64 {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi < 6 {
		return 0
	}
	return unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
}

// whyNot is what keeps a machine from having walls, for a newcomer.
func whyNot(err error) string {
	var step *stepError
	where, errno := "start keeper", unix.Errno(0)
	if errors.As(err, &step) {
		where, errno = step.step, step.errno
	} else {
		errors.As(err, &errno)
	}
	switch {
	case where == "mount /proc" && errno == unix.EPERM:
		return "the daemon runs in a container that hides parts of /proc, so that sandboxes cannot have their own; start that container with --security-opt systempaths=unconfined"
	case errno == unix.EPERM || errno == unix.EACCES || errno == unix.ENOSPC:
		return "this machine does not let the daemon make namespaces (" + where + "); allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000, kernel.apparmor_restrict_unprivileged_userns=0; in Docker --privileged), or run the daemon as root"
	case errno == unix.ENOSYS:
		return "the kernel is too old, or a container forbids a needed system call (" + where + "); Linux 5.12 is needed"
	}
	return "sandboxes could not be set up: " + err.Error()
}

// programLimits adds the limits of a program besides its cgroup's. None is
// above the daemon's own.
func programLimits(w *shim.Writer, cmd Command) {
	all := map[int]uint64{unix.RLIMIT_NOFILE: maxFiles, unix.RLIMIT_FSIZE: maxFileSize, unix.RLIMIT_CORE: 0, unix.RLIMIT_MEMLOCK: 8 << 20, unix.RLIMIT_MSGQUEUE: 1 << 20}
	// The kernel counts a template's children as its own: they are its user's, in
	// namespaces below its own. They get their limits one by one (Cell.adopt).
	if !cmd.Template && (os.Geteuid() == 0 || limitsProcesses()) {
		all[unix.RLIMIT_NPROC] = uint64(cmd.Assignment.withDefaults().Pids)
	}
	w.Uint(uint64(len(all)))
	for resource, bound := range all {
		var own unix.Rlimit
		if unix.Getrlimit(resource, &own) == nil {
			bound = min(bound, own.Max)
		}
		w.Uint(uint64(resource))
		w.Uint(bound)
	}
}

// limitsProcesses reports whether the kernel counts RLIMIT_NPROC in each user
// namespace by itself, as it does from Linux 5.14 on: then it limits a cell, and
// not all that its user runs.
var limitsProcesses = sync.OnceValue(func() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return n == 2 && (major > 5 || major == 5 && minor >= 14)
})
