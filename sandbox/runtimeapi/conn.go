package runtimeapi

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

const (
	readBuffer = 4 << 10
	// maxHead bounds the lines before a body. aws-lambda-go sends an error's
	// X-Ray cause of up to 1 MiB as a header.
	maxHead = 2 << 20
	prefix  = "/2018-06-01/runtime/"
)

// conn is one HTTP/1.1 connection of the program. Its goroutine reads requests
// and answers them; the answer to a parked poll is written by the goroutine of
// the call that it gets.
type conn struct {
	server *Server
	net    net.Conn
	r      *bufio.Reader
	last   bool // a poll was the last request; set before it is parked

	parked bool           // guarded by Server.mu; waits for sendEvent, so no request may come
	pipe   *io.PipeWriter // guarded by Server.mu; of a reply that streams
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{server: s, net: nc, r: bufio.NewReaderSize(nc, readBuffer)}
}

func (c *conn) close() { c.net.Close() }

// serve answers requests until the program or Fail closes the connection, or
// the program breaks the protocol.
func (c *conn) serve() {
	defer c.server.drop(c)
	defer c.close()
	var req request
	for {
		if err := req.read(c.r); err != nil {
			if ref, ok := err.(*refusal); ok {
				c.refuse(ref)
			}
			return
		}
		if c.isParked() {
			return // a second request before the answer to the first
		}
		if c.route(&req) != nil {
			return
		}
		if req.close && !c.last {
			return
		}
	}
}

func (c *conn) isParked() bool {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.parked
}

// route answers one request. An error ends the connection.
func (c *conn) route(req *request) error {
	path, ok := bytes.CutPrefix(req.path, []byte(prefix))
	if !ok {
		return c.refuseBody(req, noRoute)
	}
	if string(path) == "invocation/next" {
		if req.method != get {
			return c.refuseBody(req, noMethod)
		}
		if err := req.discard(c.r); err != nil {
			return err
		}
		c.last = req.close
		return c.server.poll(c)
	}
	if string(path) == "init/error" {
		if req.method != post {
			return c.refuseBody(req, noMethod)
		}
		return c.initError(req)
	}
	rest, ok := bytes.CutPrefix(path, []byte("invocation/"))
	if !ok {
		return c.refuseBody(req, noRoute)
	}
	id, verb, _ := bytes.Cut(rest, []byte("/"))
	isError := string(verb) == "error"
	switch {
	case !isError && string(verb) != "response":
		return c.refuseBody(req, noRoute)
	case req.method != post:
		return c.refuseBody(req, noMethod)
	}
	call, ref := c.server.claim(id)
	if ref != nil {
		return c.refuseBody(req, ref)
	}
	if isError {
		return c.callError(req, call)
	}
	return c.response(req, call)
}

// body prepares to read a request's body, and tells a client that waits for
// leave to send it to go on.
func (c *conn) body(req *request) (io.Reader, error) {
	if req.expect {
		if err := c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return nil, err
		}
	}
	return req.body(c.r), nil
}

var accepted = []byte("HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n")

func (c *conn) accept() error { return c.write(accepted) }

// write sends an answer. A program that does not read its answers has its
// connection ended rather than hold the daemon's goroutine.
func (c *conn) write(b []byte) error {
	c.net.SetWriteDeadline(time.Now().Add(30 * time.Second))
	_, err := c.net.Write(b)
	return err
}

// refuseBody answers with a refusal and skips the body that came with the
// request. A body whose client still waits for leave is not awaited.
func (c *conn) refuseBody(req *request, ref *refusal) error {
	if req.expect {
		c.refuse(ref)
		return io.EOF
	}
	if err := req.discard(c.r); err != nil {
		return err
	}
	return c.refuse(ref)
}

func (c *conn) refuse(ref *refusal) error { return c.write(ref.answer()) }

// buffers are for the heads of events.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// sendEvent answers a poll, and closes the connection where that was its last
// request. It is called by the one that took c out of the
// polls, and must not be called under Server.mu.
func (c *conn) sendEvent(call *call) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if c.last {
		defer c.close()
	}
	b := appendHead((*buf)[:0], call)
	c.net.SetWriteDeadline(call.deadline)
	if len(b)+len(call.Event) <= 16<<10 {
		b = append(b, call.Event...)
		*buf = b
		_, err := c.net.Write(b)
		return err
	}
	*buf = b
	parts := net.Buffers{b, call.Event}
	_, err := parts.WriteTo(c.net)
	return err
}

func appendHead(b []byte, call *call) []byte {
	b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: "...)
	b = appendValue(b, call.ID)
	b = append(b, "\r\nLambda-Runtime-Deadline-Ms: "...)
	b = strconv.AppendInt(b, call.deadline.UnixMilli(), 10)
	b = append(b, "\r\nLambda-Runtime-Invoked-Function-Arn: "...)
	b = appendValue(b, call.ARN)
	if t := call.Trace.XRay(); t != "" {
		b = append(b, "\r\nLambda-Runtime-Trace-Id: "...)
		b = appendValue(b, t)
	}
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(call.Event)), 10)
	return append(b, "\r\n\r\n"...)
}

// appendValue appends a header's value without what could end it.
func appendValue(b []byte, v string) []byte {
	for i := range len(v) {
		if v[i] >= ' ' && v[i] != 0x7f {
			b = append(b, v[i])
		}
	}
	return b
}
