package process

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// openEgress lets a cell reach what its function's egress lines name. Cells without
// lines have a loopback alone.
func (w *walls) openEgress(ctx context.Context, c *cell, a Assignment) error {
	if len(a.Egress) == 0 {
		return nil
	}
	policy, err := egress.NewPolicy(a.Egress)
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "start sandbox", "%w", err)
	}
	if err := c.forward(ctx, policy.Loopback()); err != nil {
		return err
	}
	if !policy.Remote() {
		return nil
	}
	device, err := c.link(ctx)
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "start sandbox", "egress needs a tunnel device: load the kernel's tun module and let the daemon open /dev/net/tun: %w", err)
	}
	refused := func(target, line string) {
		if w.cfg.Egress != nil {
			w.cfg.Egress.EgressRefused(a.Who, target, line)
		}
	}
	c.egress, err = egress.Open(egress.Config{Device: device, Gateway: gatewayAddr, Policy: policy, Refused: refused, Resolver: w.resolver, Dial: w.dial})
	if err != nil {
		device.Close()
	}
	return err
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
	if c.forwards, err = listenersOf(a.fds); err != nil {
		return err
	}
	for i, l := range c.forwards {
		c.working.Go(func() { egress.Forward(l, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[i])))) })
	}
	return nil
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
