package frame

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// A stream is the body of a streamed reply: what the worker has sent and the
// consumer has not read, never more than WindowSize bytes.
type stream struct {
	conn *Conn
	id   uint32

	mu     sync.Mutex
	ready  sync.Cond
	queue  [][]byte    // guarded by mu
	held   int         // guarded by mu; bytes in queue
	owed   int         // guarded by mu; bytes read and not yet granted again
	err    error       // guarded by mu; io.EOF at a proper end
	unhook func() bool // guarded by mu; ends the watch of the call's context
}

func newStream(c *Conn, id uint32) *stream {
	s := &stream{conn: c, id: id}
	s.ready.L = &s.mu
	return s
}

// put adds what the worker sent. Its error ends the connection: a worker that
// sends past its window would fill the daemon's memory.
func (s *stream) put(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil
	}
	if s.held+s.owed+len(b) > WindowSize {
		return errors.New("a reply was sent past its window")
	}
	s.queue = append(s.queue, b)
	s.held += len(b)
	s.ready.Signal()
	return nil
}

// end lets the consumer read what is left and then get err. Only the first end
// counts.
func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(err)
}

// finish is end with s.mu held. It reports whether this was the first.
func (s *stream) finish(err error) bool {
	if s.err != nil {
		return false
	}
	s.err = err
	if s.unhook != nil {
		s.unhook()
	}
	s.ready.Broadcast()
	return true
}

// watch ends the stream with ctx.
func (s *stream) watch(ctx context.Context) {
	unhook := context.AfterFunc(ctx, func() { s.abandon(ctx.Err()) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unhook = unhook
	if s.err != nil {
		unhook()
	}
}

func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	for len(s.queue) == 0 && s.err == nil {
		s.ready.Wait()
	}
	if len(s.queue) == 0 {
		defer s.mu.Unlock()
		return 0, s.err
	}
	n := copy(p, s.queue[0])
	if s.queue[0] = s.queue[0][n:]; len(s.queue[0]) == 0 {
		s.queue = s.queue[1:]
	}
	s.held -= n
	s.owed += n
	grant := 0
	if s.owed >= WindowSize/2 && s.err == nil {
		grant, s.owed = s.owed, 0
	}
	s.mu.Unlock()
	if grant > 0 {
		body := binary.LittleEndian.AppendUint32(nil, uint32(grant))
		_ = s.conn.out.send(&Frame{ID: s.id, Kind: Window, Body: body}) // a closed connection ends the stream by itself
	}
	return n, nil
}

// Close tells the worker that nobody reads any more. It may be called twice.
func (s *stream) Close() error {
	s.abandon(errors.New("the reply was closed"))
	return nil
}

func (s *stream) abandon(err error) {
	s.mu.Lock()
	first := s.finish(err)
	if first {
		s.queue, s.held = nil, 0
	}
	s.mu.Unlock()
	if first {
		s.conn.forget(s.id)
		s.conn.cancel(s.id)
	}
}

// whole is a body that came with its head.
type whole struct{ rest []byte }

var _ sandbox.Whole = (*whole)(nil)

func (w *whole) Read(p []byte) (int, error) {
	if len(w.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *whole) Rest() []byte {
	rest := w.rest
	w.rest = nil
	return rest
}

func (*whole) Close() error { return nil }

// parseMeta reads the head of a streamed HTTP response:
//
//	{"status": 200, "headers": [["name", "value"], …], "cookies": ["a=b"]}
//
// No status is 200.
func parseMeta(head []byte) (*sandbox.Meta, error) {
	var m struct {
		Status  int         `json:"status"`
		Headers [][2]string `json:"headers"`
		Cookies []string    `json:"cookies"`
	}
	if len(head) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(head, &m); err != nil {
		return nil, &mayfly.FunctionError{Type: mayfly.ErrorTypeMarshal, Message: "the head of the streamed reply is not what it has to be: " + err.Error()}
	}
	if m.Status == 0 {
		m.Status = http.StatusOK
	}
	if m.Status < 200 || m.Status > 599 {
		return nil, &mayfly.FunctionError{Type: mayfly.ErrorTypeMarshal, Message: "the status of a reply is between 200 and 599"}
	}
	meta := &sandbox.Meta{Status: m.Status, Header: make(http.Header, len(m.Headers)), Cookies: m.Cookies}
	for _, h := range m.Headers {
		meta.Header.Add(h[0], h[1])
	}
	return meta, nil
}
