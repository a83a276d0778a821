package process

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process/egress"
	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// Addresses of a cell's network device and of the daemon's side of it. All
// cells have the same: their networks do not meet.
var (
	cellAddr    = netip.MustParseAddr("10.199.0.2")
	gatewayAddr = netip.MustParseAddr("10.199.0.1")
	cellMask    = netip.MustParseAddr("255.255.255.0")
)

// openEgress lets a cell reach what its function's egress lines name. Without
// lines it only answers that names are refused.
func (w *walls) openEgress(ctx context.Context, c *cell, a Assignment) error {
	policy, err := egress.NewPolicy(a.Egress)
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "start sandbox", "%w", err)
	}
	gate := egress.NewGate(policy, func(target, line string) {
		if w.cfg.Egress != nil {
			w.cfg.Egress.EgressRefused(a.Who, target, line)
		}
	}, w.resolver)
	if err := c.forward(ctx, policy.Loopback()); err != nil {
		return err
	}
	if policy.Remote() {
		device, err := c.link(ctx)
		if err != nil {
			if cause := checkTunnel(); cause != nil {
				return cause
			}
			return mayfly.Errorf(mayfly.Unavailable, "start sandbox", "egress: the tunnel device could not be used: %w", err)
		}
		stack, err := egress.Open(egress.Config{Device: device, Gate: gate, Dial: w.metered(a.Who)})
		if err != nil {
			return err
		}
		if err := c.hold(func() { c.egress = stack }); err != nil {
			stack.Close()
			return err
		}
	}
	return c.hold(func() {
		c.working.Go(func() { gate.ServeNames(c.names) })
	})
}

// forward makes services of this machine's loopback appear on the cell's.
func (c *cell) forward(ctx context.Context, ports []uint16) error {
	if len(ports) == 0 {
		return nil
	}
	var w shim.Writer
	w.Uint(uint64(len(ports)))
	for _, p := range ports {
		w.Uint(uint64(p))
	}
	a, err := c.control.ask(ctx, shim.OpListen, w)
	if err != nil {
		return fmt.Errorf("open a service of this machine: %w", err)
	}
	listeners, err := listenersOf(a.fds)
	if err != nil {
		return err
	}
	err = c.hold(func() {
		c.forwards = listeners
		for i, l := range listeners {
			c.working.Go(func() { egress.Forward(l, loopbackAddr(int(ports[i]))) })
		}
	})
	if err != nil {
		closeListeners(listeners)
	}
	return err
}

// link gives the cell a network device, whose other end it returns.
func (c *cell) link(ctx context.Context) (*os.File, error) {
	var w shim.Writer
	w.Uint(egress.MTU)
	for _, a := range []netip.Addr{cellAddr, cellMask, gatewayAddr} {
		w.Text(string(a.AsSlice()))
	}
	var fds []int
	if c.nursery.root {
		fd, err := openTunnel(c.pid)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	a, err := c.control.ask(ctx, shim.OpLink, w, fds...)
	if err != nil {
		return nil, err
	}
	if len(a.fds) != 1 {
		a.close()
		return nil, errors.New("the init sent no device")
	}
	return os.NewFile(uintptr(a.fds[0]), "tunnel"), nil
}

// openTunnel opens the tunnel device in the network of a process.
func openTunnel(pid int) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread, being in another network, ends with this
		// goroutine.
		runtime.LockOSThread()
		var ns *os.File
		if ns, err = os.Open("/proc/" + strconv.Itoa(pid) + "/ns/net"); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}()
	<-done
	return fd, err
}
