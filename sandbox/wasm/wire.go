package wasm

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
)

// socket is a worker's descriptor 3, read and written by blocking system calls:
// a worker has nothing else to do, and this way no poller stands between the
// daemon and it.
type socket int

func (s socket) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(s), p)
		if err == syscall.EINTR || err == syscall.EAGAIN {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("read", err)
		}
		if n == 0 && len(p) > 0 {
			return 0, io.EOF
		}
		return n, nil
	}
}

func (s socket) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := syscall.Write(int(s), p[sent:])
		if err == syscall.EINTR || err == syscall.EAGAIN {
			continue
		}
		if err != nil {
			return sent, os.NewSyscallError("write", err)
		}
		sent += n
	}
	return sent, nil
}

const (
	frameHeader = 12
	maxFrame    = int(mayfly.MaxEvent) + 1<<20 // of the daemon, which is trusted
)

// wire is the worker's end of the frames. One goroutine uses it.
type wire struct {
	r       *bufio.Reader
	w       io.Writer
	waiting []frame.Frame // calls that came while one ran
	out     []byte        // reused
	in      []byte        // reused for the body of the frame that next returned
}

func newWire(rw io.ReadWriter) *wire {
	return &wire{r: bufio.NewReaderSize(rw, 16<<10), w: rw}
}

// next returns the next frame that begins something: a load or a call. It
// is valid until the next call of next.
func (w *wire) next() (frame.Frame, error) {
	if len(w.waiting) > 0 {
		f := w.waiting[0]
		w.waiting = w.waiting[1:]
		return f, nil
	}
	for {
		f, body, err := w.read(w.in)
		if cap(body) <= 64<<10 {
			w.in = body[:0]
		}
		if err != nil || f.Kind != frame.Window && f.Kind != frame.Cancel {
			return f, err
		}
	}
}

// during returns the next frame about the call under way, a Window or a Cancel,
// and keeps what begins something for later.
func (w *wire) during() (frame.Frame, error) {
	for {
		f, _, err := w.read(nil)
		switch {
		case err != nil:
			return f, err
		case f.Kind == frame.Window:
			return f, nil
		case f.Kind == frame.Cancel:
			w.drop(f.ID)
			return f, nil
		}
		w.waiting = append(w.waiting, f)
	}
}

// drop forgets a waiting call that nobody waits for any more.
func (w *wire) drop(id uint32) {
	kept := w.waiting[:0]
	for _, f := range w.waiting {
		if f.Kind != frame.Call || f.ID != id {
			kept = append(kept, f)
		}
	}
	w.waiting = kept
}

// read reads one frame into buf where it fits. It returns the storage it used.
func (w *wire) read(buf []byte) (frame.Frame, []byte, error) {
	h, err := w.r.Peek(frameHeader)
	if err != nil {
		return frame.Frame{}, buf, err
	}
	size, head := int(binary.LittleEndian.Uint32(h)), int(binary.LittleEndian.Uint16(h[10:]))
	f := frame.Frame{ID: binary.LittleEndian.Uint32(h[4:]), Kind: frame.Kind(h[8]), Flags: h[9]}
	if size > maxFrame || head > size {
		return f, buf, fmt.Errorf("a frame of %d bytes with a head of %d", size, head)
	}
	if _, err := w.r.Discard(frameHeader); err != nil {
		return f, buf, err
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(w.r, buf); err != nil {
		return f, buf, err
	}
	f.Head, f.Body = buf[:head:head], buf[head:]
	return f, buf, nil
}

func (w *wire) send(f *frame.Frame) error {
	w.out = frame.Append(w.out[:0], f)
	_, err := w.w.Write(w.out)
	if cap(w.out) > 1<<20 {
		w.out = nil
	}
	return err
}

// fail sends an error as the answer to a load (Failed), a call (Error) or a
// stream (End).
func (w *wire) fail(kind frame.Kind, id uint32, err error) error {
	var fe *mayfly.FunctionError
	if !errors.As(err, &fe) {
		fe = &mayfly.FunctionError{Type: errorTypeModule, Message: err.Error()}
	}
	body, err := json.Marshal(fe)
	if err != nil {
		return err
	}
	return w.send(&frame.Frame{ID: id, Kind: kind, Body: body})
}
