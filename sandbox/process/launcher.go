package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Launcher starts Processes. It is safe for concurrent use.
type Launcher struct {
	cfg   Config
	walls *walls

	mu     sync.Mutex
	closed bool                  // guarded by mu
	live   map[*Process]struct{} // guarded by mu
	serial int                   // guarded by mu
	newest map[secret][]byte     // guarded by mu; values that came while programs may have run
}

// New returns a Launcher and sweeps what an earlier daemon with the same Node
// left on this machine. It starts nothing.
func New(cfg Config) (*Launcher, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, mayfly.Errorf(mayfly.Invalid, "sandboxes", "a scratch folder is needed: Config.Dir is empty")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find scratch folder: %w", err)
	}
	cfg.Dir = dir
	if cfg.Bundles != "" {
		if cfg.Bundles, err = filepath.Abs(cfg.Bundles); err != nil {
			return nil, fmt.Errorf("find bundles: %w", err)
		}
	}
	l := &Launcher{cfg: cfg, live: map[*Process]struct{}{}, newest: map[secret][]byte{}}
	if l.walls, err = newWalls(cfg); err != nil {
		return nil, err
	}
	if err := l.sweep(); err != nil {
		return nil, err
	}
	return l, nil
}

func (c Config) withDefaults() Config {
	if c.Stock == 0 {
		c.Stock = 4
	}
	if c.Walls == "" {
		c.Walls = WallsAuto
	}
	if c.Node == "" {
		c.Node = "node"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// sweep empties the scratch folder.
func (l *Launcher) sweep() error {
	cells := filepath.Join(l.cfg.Dir, "cells")
	if err := os.RemoveAll(cells); err != nil {
		return fmt.Errorf("sweep sandboxes: %w", err)
	}
	return os.MkdirAll(cells, 0o755)
}

// Tier is what this machine allows. The first call tries it out, which takes
// some ten milliseconds.
func (l *Launcher) Tier() sandbox.Tier { return l.walls.level() }

// Run keeps the stock of cells until ctx ends.
func (l *Launcher) Run(ctx context.Context) error { return l.walls.run(ctx) }

// Port returns the port that a program should serve on when it may choose:
// want, where every cell has a loopback of its own, else a free one.
func (l *Launcher) Port(want int) (int, error) {
	if l.private() {
		return want, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// private reports whether cells have a network and a root of their own.
func (l *Launcher) private() bool { return l.Tier().Name != sandbox.TierPlain }

// Start runs a program in a cell. The program outlives ctx, which bounds the
// start alone. Errors: Unavailable where the machine cannot start it or is
// below Assignment.Require, Invalid where the command is wrong.
func (l *Launcher) Start(ctx context.Context, cmd Command) (*Process, error) {
	began := time.Now()
	if err := l.check(cmd.Assignment); err != nil {
		return nil, err
	}
	p, err := l.register()
	if err != nil {
		return nil, err
	}
	if err := p.start(ctx, cmd); err != nil {
		p.abandon()
		return nil, startError("start "+cmd.Path, err)
	}
	p.started = time.Since(began)
	if err := p.show(ctx, cmd.Assignment); err != nil {
		p.Close()
		return nil, startError("start "+cmd.Path, err)
	}
	return p, nil
}

func startError(op string, err error) error {
	var typed *mayfly.Error
	if errors.As(err, &typed) {
		return err
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return mayfly.Errorf(mayfly.Invalid, op, "it does not exist or may not be executed: %w", err)
	}
	return mayfly.Errorf(mayfly.Unavailable, op, "this machine could not do it: %w", err)
}

// check refuses an assignment below the wanted isolation, or with a bundle
// that is none.
func (l *Launcher) check(a Assignment) error {
	if err := l.require(a.Require); err != nil {
		return err
	}
	if a.Isolation == IsolationGVisor {
		if err := l.GVisor(); err != nil {
			return err
		}
	}
	if a.Bundle == "" || l.cfg.Bundles == "" {
		return nil
	}
	dir, err := filepath.Abs(a.Bundle)
	if err != nil {
		return fmt.Errorf("find bundle: %w", err)
	}
	if rest, err := filepath.Rel(l.cfg.Bundles, dir); err != nil || rest == "." || !filepath.IsLocal(rest) {
		return mayfly.Errorf(mayfly.Invalid, "start sandbox", "the bundle %s is not in %s", a.Bundle, l.cfg.Bundles)
	}
	return nil
}

// GVisor reports whether programs can run in gVisor here; code Unavailable, with
// what is missing, where they cannot.
func (l *Launcher) GVisor() error {
	if !l.private() {
		return mayfly.Errorf(mayfly.Unavailable, "use gVisor", "it runs in sandboxes, which this machine does not allow; `mayfly doctor` says why")
	}
	_, err := findRunsc()
	return err
}

// Egress says why functions with egress cannot run here, nil where they can.
// Without walls the network is open.
func (l *Launcher) Egress() error {
	if !l.private() {
		return nil
	}
	return checkTunnel()
}

// checkTunnel opens what egress needs.
func checkTunnel() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "start sandbox", "egress needs a tunnel device: load the kernel's tun module and let the daemon open /dev/net/tun (udev lets everybody): %w", err)
	}
	f.Close()
	return nil
}

// findRunsc is gVisor's program on this machine.
func findRunsc() (string, error) {
	path, err := exec.LookPath("runsc")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", mayfly.Errorf(mayfly.Unavailable, "use gVisor", "runsc is not on the daemon's PATH; gvisor.dev/docs/user_guide/install says how to get it")
	}
	return path, nil
}

func (l *Launcher) require(want string) error {
	if want != sandbox.TierFull {
		return nil
	}
	tier := l.Tier()
	if tier.Name == sandbox.TierFull {
		return nil
	}
	return mayfly.Errorf(mayfly.Unavailable, "start sandbox",
		"require_isolation is full, but this machine allows only %s isolation; `mayfly doctor` says what is missing", tier.Name)
}

func (l *Launcher) register() (*Process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, mayfly.Errorf(mayfly.Unavailable, "start sandbox", "the daemon is stopping")
	}
	l.serial++
	id := strconv.Itoa(l.serial)
	p := &Process{
		id:       id,
		launcher: l,
		dir:      filepath.Join(l.cfg.Dir, "cells", id),
		done:     make(chan struct{}),
	}
	l.live[p] = struct{}{}
	return p, nil
}

func (l *Launcher) forget(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, p)
}

// Close ends every process and frees every cell.
func (l *Launcher) Close() error {
	l.mu.Lock()
	l.closed = true
	var all []*Process
	for p := range l.live {
		all = append(all, p)
	}
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(p.Close)
	}
	wg.Wait()
	l.walls.close()
	return nil
}
