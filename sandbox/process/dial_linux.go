package process

import (
	"context"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// dial connects to a port of the cell's loopback. The socket was made in the
// cell's network by its init, ahead of need: where a socket is made decides
// which network it belongs to, not who connects it.
func (c *cell) dial(ctx context.Context, port int) (net.Conn, error) {
	fd, err := c.socket(ctx)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	f := os.NewFile(uintptr(fd), "dial")
	defer f.Close()
	if err := connect(ctx, fd, port); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, Err: err}
	}
	return net.FileConn(f)
}

// socket takes a spare one or asks the init for more.
func (c *cell) socket(ctx context.Context) (int, error) {
	c.mu.Lock()
	if n := len(c.spare); n > 0 {
		fd := c.spare[n-1]
		c.spare = c.spare[:n-1]
		c.mu.Unlock()
		return fd, nil
	}
	c.mu.Unlock()
	var w shim.Writer
	w.Uint(sparesWanted)
	a, err := c.control.ask(ctx, shim.OpSockets, w)
	if err != nil {
		return -1, err
	}
	if len(a.fds) == 0 {
		return -1, errors.New("the sandbox has no descriptors left")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.freed {
		a.close()
		return -1, net.ErrClosed
	}
	c.spare = append(c.spare, a.fds[1:]...)
	return a.fds[0], nil
}

// connect connects a non-blocking socket. On a loopback it is done at once,
// unless the program's queue of connections is full.
func connect(ctx context.Context, fd, port int) error {
	err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
	if err == nil || !errors.Is(err, unix.EINPROGRESS) {
		return os.NewSyscallError("connect", err)
	}
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for wait := 0; ; wait = min(50, wait+1) {
		if n, err := unix.Poll(polled, wait); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		} else if n > 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return os.NewSyscallError("connect", err)
}
