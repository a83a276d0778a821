package frame

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// keep is the largest buffer that a writer holds on to between writes.
const keep = 64 << 10

// A writer sends frames on a socket from any goroutine. The caller's own system
// call sends them as long as the socket takes them at once; what it does not
// take is left to a goroutine that lives until all is sent, so that a worker
// that stopped reading blocks no caller. Frames that meet a write under way
// wait in one buffer and leave together.
type writer struct {
	nc  *net.UnixConn
	raw syscall.RawConn

	mu      sync.Mutex
	pending []byte // guarded by mu
	spare   []byte // guarded by mu
	busy    bool   // guarded by mu; somebody sends and will look at pending again
	err     error  // guarded by mu
	wg      sync.WaitGroup

	once once // of the sender that is busy
}

// once is one system call and what came of it.
type once struct {
	write func(fd uintptr) bool // makes it; kept, so that it is not made for each frame
	out   []byte
	n     int
	err   error
}

func newWriter(nc *net.UnixConn) (*writer, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &writer{nc: nc, raw: raw}
	w.once.write = w.once.try
	return w, nil
}

// send queues f and sends what it can without blocking.
func (w *writer) send(f *Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.pending = Append(w.pending, f)
	if w.busy {
		return nil
	}
	w.busy = true
	for len(w.pending) > 0 && w.err == nil {
		out := w.take()
		w.mu.Unlock()
		n, err := w.try(out)
		w.mu.Lock()
		if err == nil && n < len(out) {
			w.wg.Add(1)
			go w.drain(out, n)
			return nil
		}
		w.put(out)
		w.err = err
	}
	w.busy = false
	return w.err
}

// take hands out what is pending. w.mu is held.
func (w *writer) take() []byte {
	out := w.pending
	w.pending, w.spare = w.spare[:0], nil
	return out
}

// put gives a buffer back. w.mu is held.
func (w *writer) put(b []byte) {
	if cap(b) <= keep {
		w.spare = b[:0]
	}
}

// try writes once without waiting. It returns how much the socket took.
func (w *writer) try(b []byte) (int, error) {
	o := &w.once
	o.out = b
	closed := w.raw.Write(o.write)
	n, err := o.n, o.err
	o.out, o.n, o.err = nil, 0, nil
	switch err {
	case nil:
		return n, closed
	case syscall.EAGAIN:
		return 0, closed
	}
	return 0, os.NewSyscallError("write", err)
}

func (o *once) try(fd uintptr) bool {
	for {
		o.n, o.err = syscall.Write(int(fd), o.out) // which does not wait: the net package has it so
		if o.err != syscall.EINTR {
			return true
		}
	}
}

// drain sends the rest of out, and then all that came meanwhile.
func (w *writer) drain(out []byte, from int) {
	defer w.wg.Done()
	for {
		_, err := w.nc.Write(out[from:])
		w.mu.Lock()
		w.put(out)
		w.err = err
		if err != nil || len(w.pending) == 0 {
			w.busy = false
			w.mu.Unlock()
			return
		}
		out, from = w.take(), 0
		w.mu.Unlock()
	}
}

// fds sends f together with descriptors, which travel with the first byte of
// a message: nothing else may be under way.
func (w *writer) fds(f *Frame, files []*os.File) error {
	rights := make([]int, len(files))
	for i, file := range files {
		rights[i] = int(file.Fd())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.busy || len(w.pending) > 0 {
		return errors.New("a write is under way")
	}
	_, _, err := w.nc.WriteMsgUnix(Append(nil, f), syscall.UnixRights(rights...), nil)
	return err
}
