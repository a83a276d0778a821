package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// channel is the daemon's end of a shim's socket. A shim answers requests in
// order, one at a time.
type channel struct {
	conn *net.UnixConn

	asking  chan struct{} // holds a token while no request is under way
	replies chan answer   // capacity 1: never full when a reply comes

	mu   sync.Mutex
	late int // guarded by mu; replies still to come that nobody waits for

	gone chan struct{} // closed when the shim is gone
	exit *exitEvent    // what it said of its program; read after gone
}

// answer is a shim's reply. Its descriptors belong to who asked.
type answer struct {
	shim.Reader
	fds []int
}

// close frees the descriptors that were not taken.
func (a *answer) close() {
	for _, fd := range a.fds {
		unix.Close(fd)
	}
	a.fds = nil
}

// exitEvent is how a cell's program ended.
type exitEvent struct {
	status    unix.WaitStatus
	cpuMicros uint64
	peakKiB   uint64
}

// errGone means that the other side of a channel is not there any more.
var errGone = errors.New("the sandbox's first process is gone")

// newChannel makes a channel and the descriptor for its other end, which the
// caller closes once a shim has it.
func newChannel() (*channel, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("make socket pair: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "shim")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		unix.Close(fds[1])
		return nil, -1, fmt.Errorf("use socket pair: %w", err)
	}
	c := &channel{conn: conn.(*net.UnixConn), asking: make(chan struct{}, 1), replies: make(chan answer, 1), gone: make(chan struct{})}
	c.asking <- struct{}{}
	go c.read()
	return c, fds[1], nil
}

// read receives until the shim is gone.
func (c *channel) read() {
	defer close(c.gone)
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(253*4))
	for {
		n, nOOB, _, _, err := c.conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			c.conn.Close()
			return
		}
		msg := shim.Reader(append([]byte(nil), buf[:n]...))
		if msg[0] == shim.EventExit {
			msg.Byte()
			c.exit = &exitEvent{unix.WaitStatus(msg.Uint()), msg.Uint(), msg.Uint()}
			continue
		}
		c.deliver(answer{msg, rights(oob[:nOOB])})
	}
}

// rights are the descriptors that came with a message, closed on exec.
func rights(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		got, _ := unix.ParseUnixRights(&m)
		fds = append(fds, got...)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds
}

// ask sends a request and waits for the reply. When ctx ends first the reply is
// dropped once it comes.
func (c *channel) ask(ctx context.Context, op byte, body shim.Writer, fds ...int) (answer, error) {
	select {
	case <-c.asking:
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
	defer func() { c.asking <- struct{}{} }()
	if err := c.send(append(shim.Writer{op}, body...), fds); err != nil {
		return answer{}, err
	}
	return c.await(ctx)
}

// await waits for the reply.
func (c *channel) await(ctx context.Context) (answer, error) {
	select {
	case a := <-c.replies:
		return a.check()
	case <-c.gone:
		return c.last()
	case <-ctx.Done():
		c.abandon()
		return answer{}, context.Cause(ctx)
	}
}

// deliver hands a reply to who waits for it.
func (c *channel) deliver(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late > 0 {
		c.late--
		a.close()
		return
	}
	c.replies <- a
}

// abandon gives the reply under way up.
func (c *channel) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case a := <-c.replies:
		a.close()
	default:
		c.late++
	}
}

// last is a reply that came before the shim went.
func (c *channel) last() (answer, error) {
	select {
	case a := <-c.replies:
		return a.check()
	default:
		return answer{}, errGone
	}
}

func (c *channel) send(msg shim.Writer, fds []int) error {
	if len(msg) > shim.MaxMessage {
		file, err := memoryFile(msg)
		if err != nil {
			return err
		}
		defer unix.Close(file)
		size := uint64(len(msg))
		msg, fds = shim.Writer{shim.OpLarge}, append([]int{file}, fds...)
		msg.Uint(size)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := c.conn.WriteMsgUnix(msg, oob, nil); err != nil {
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			return errGone
		}
		return fmt.Errorf("ask sandbox: %w", err)
	}
	return nil
}

// memoryFile holds a message that is too long for the socket.
func memoryFile(content []byte) (int, error) {
	fd, err := unix.MemfdCreate("message", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make memory file: %w", err)
	}
	for len(content) > 0 {
		n, err := unix.Write(fd, content)
		if err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("write memory file: %w", err)
		}
		content = content[n:]
	}
	return fd, nil
}

// check turns a refusal into an error.
func (a answer) check() (answer, error) {
	if a.Byte() == shim.ReplyOK {
		return a, nil
	}
	where, errno := a.Text(), syscall.Errno(a.Uint())
	a.close()
	return answer{}, &stepError{where, errno}
}

// stepError says which step of a shim failed. It matches os.ErrNotExist and
// the like for the last step alone, the start of the program itself.
type stepError struct {
	step  string
	errno syscall.Errno
}

func (e *stepError) Error() string { return e.step + ": " + e.errno.Error() }

func (e *stepError) Is(target error) bool {
	return (e.step == shim.StepRun || e.step == shim.StepEnter) && e.errno.Is(target)
}

// close hangs up: the shim ends.
func (c *channel) close() { c.conn.Close() }
