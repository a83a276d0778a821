package frame

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// readBuffer is small because there is one for each instance, idle ones too.
const readBuffer = 8 << 10

// recentCalls is how many finished calls a Conn remembers, for lines that code
// prints after its reply.
const recentCalls = 32

// ErrClosed is why calls fail on a connection whose worker is gone.
var ErrClosed = errors.New("the worker closed its connection")

// A Conn is the daemon's end of a worker's socketpair. Its methods may be
// called concurrently; Serve runs once.
type Conn struct {
	nc  *net.UnixConn
	out *writer
	log func(LogFrame)

	children children

	leaving atomic.Bool // the worker said that it ends

	hello  chan struct{} // closed by the worker's Hello
	closed chan struct{} // closed when Serve returns

	mu     sync.Mutex
	err    error              // guarded by mu; set before closed is
	last   uint32             // guarded by mu; the newest id
	calls  map[uint32]*waiter // guarded by mu
	recent [recentCalls]past  // guarded by mu
	next   int                // guarded by mu; where in recent
	ready  bool               // guarded by mu; Hello was seen
}

// LogFrame is a line that a worker printed. Call and Trace are those of the
// call that printed it, empty where none did. Text is the receiver's.
type LogFrame struct {
	Call   string
	Trace  mayfly.Trace
	Stream mayfly.LogStream
	Level  string
	Text   []byte
}

type past struct {
	id    uint32
	call  string
	trace mayfly.Trace
}

// A waiter is a request without an answer yet, or a stream that has not ended.
type waiter struct {
	call   string
	trace  mayfly.Trace
	answer chan Frame // capacity 1; gets exactly one frame
	stream *stream    // guarded by Conn.mu; set at Head
}

// waiters are used again where nobody else can know of them any more.
var waiters = sync.Pool{New: func() any { return &waiter{answer: make(chan Frame, 1)} }}

// Pair makes a socketpair: the daemon's Conn, and the worker's end, which the
// caller closes once the worker has it. log may be called until Serve returns.
func Pair(log func(LogFrame)) (*Conn, *os.File, error) {
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, nil, err
	}
	c, err := newConn(ours, log)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c, theirs, nil
}

// socketpair's ends are inherited by no other program that starts meanwhile.
func socketpair() (*os.File, *os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	return os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "daemon"), nil
}

// newConn takes over f.
func newConn(f *os.File, log func(LogFrame)) (*Conn, error) {
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		nc.Close()
		return nil, fmt.Errorf("a %T is not a Unix socket", nc)
	}
	w, err := newWriter(uc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &Conn{
		nc: uc, out: w, log: log,
		hello: make(chan struct{}), closed: make(chan struct{}), calls: map[uint32]*waiter{},
	}, nil
}

// Serve reads the worker's frames until its end closes or it breaks the
// protocol; it then closes the connection and fails what still waits.
func (c *Conn) Serve() {
	err := c.serve()
	c.nc.Close()
	c.out.wg.Wait()
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	calls := c.calls
	c.calls = nil
	close(c.closed)
	c.mu.Unlock()
	for _, w := range calls {
		if w.stream != nil {
			w.stream.end(c.err)
		}
	}
}

func (c *Conn) serve() error {
	r := bufio.NewReaderSize(c.nc, readBuffer)
	var f Frame
	for {
		if err := read(r, &f); err != nil {
			if err == io.EOF || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
				return ErrClosed
			}
			return fmt.Errorf("the worker broke the protocol: %w", err)
		}
		if err := c.receive(&f); err != nil {
			return fmt.Errorf("the worker broke the protocol: %w", err)
		}
	}
}

// receive hands one frame to whom it is for. A frame for nobody is dropped.
func (c *Conn) receive(f *Frame) error {
	switch f.Kind {
	case Log:
		c.line(f)
		return nil
	case Hello:
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.ready {
			c.ready = true
			close(c.hello)
		}
		return nil
	case Chunk:
		c.mu.Lock()
		w := c.calls[f.ID]
		c.mu.Unlock()
		if w == nil || w.stream == nil {
			return nil
		}
		return w.stream.put(f.Body)
	case End:
		if w := c.take(f.ID, true); w != nil {
			w.stream.end(endError(f.Body))
		}
		return nil
	case Head:
		return c.head(f)
	case Ended:
		c.children.ended(f)
		return nil
	case Error:
		if f.Flags&Last != 0 {
			c.leaving.Store(true)
		}
	}
	if w := c.take(f.ID, false); w != nil {
		w.answer <- *f
	}
	return nil
}

// head begins a streamed reply.
func (c *Conn) head(f *Frame) error {
	if f.Flags&Whole != 0 {
		if w := c.take(f.ID, false); w != nil {
			w.answer <- *f
		}
		return nil
	}
	c.mu.Lock()
	w := c.calls[f.ID]
	if w == nil || w.stream != nil {
		c.mu.Unlock()
		return nil
	}
	w.stream = newStream(c, f.ID)
	c.mu.Unlock()
	if err := w.stream.put(f.Body); err != nil {
		return err
	}
	w.answer <- *f
	return nil
}

// take removes and returns the waiter of id, nil where there is none in that
// state.
func (c *Conn) take(id uint32, streaming bool) *waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.calls[id]
	if w == nil || (w.stream != nil) != streaming {
		return nil
	}
	c.drop(id, w)
	return w
}

// drop ends the bookkeeping of a call. c.mu is held.
func (c *Conn) drop(id uint32, w *waiter) {
	delete(c.calls, id)
	if w.call == "" {
		return
	}
	c.recent[c.next] = past{id, w.call, w.trace}
	c.next = (c.next + 1) % recentCalls
}

// forget gives up on id: late frames for it are dropped.
func (c *Conn) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.calls[id]; w != nil {
		c.drop(id, w)
	}
}

var (
	streams = [4]mayfly.LogStream{mayfly.Stdout, mayfly.Stderr, mayfly.Platform, mayfly.Stdout}
	levels  = [8]string{1: "debug", 2: "info", 3: "warn", 4: "error"}
)

func (c *Conn) line(f *Frame) {
	l := LogFrame{Stream: streams[f.Flags&3], Level: levels[f.Flags>>2&7], Text: f.Body}
	if f.ID != 0 {
		c.mu.Lock()
		if w := c.calls[f.ID]; w != nil {
			l.Call, l.Trace = w.call, w.trace
		} else {
			l.Call, l.Trace = c.past(f.ID)
		}
		c.mu.Unlock()
	}
	c.log(l)
}

// past finds a finished call. c.mu is held.
func (c *Conn) past(id uint32) (string, mayfly.Trace) {
	for i := range c.recent {
		if c.recent[i].id == id {
			return c.recent[i].call, c.recent[i].trace
		}
	}
	return "", mayfly.Trace{}
}

// Only is the call under way, where there is exactly one: what a program
// prints past its worker then belongs to it.
func (c *Conn) Only() (call string, trace mayfly.Trace) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) != 1 {
		return "", mayfly.Trace{}
	}
	for _, w := range c.calls {
		return w.call, w.trace
	}
	return "", mayfly.Trace{}
}

// hangUp sends no more frames. The worker reads the end; what it still sends is
// received.
func (c *Conn) hangUp() { _ = c.nc.CloseWrite() } // a closed connection has ended already

// Close ends the connection; Serve then returns. It may be called twice.
func (c *Conn) Close() {
	c.mu.Lock()
	if c.err == nil {
		c.err = sandbox.ErrStopped
	}
	c.mu.Unlock()
	c.nc.Close()
}

// Closed is closed once Serve has returned.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// Err is why the connection ended, nil while it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// lineless keeps a value within its line of a head, and a head within its size.
var lineless = strings.NewReplacer("\n", " ", "\r", " ")
