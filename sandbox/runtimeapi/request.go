package runtimeapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strconv"
)

type method byte

const (
	other method = iota
	get
	post
)

// request is the head of one request, reused for the next on its connection.
// The slices keep their storage and are valid until the next read.
type request struct {
	method    method
	path      []byte
	length    int64 // -1: chunked
	close     bool  // the client closes, or wants it closed, after this one
	expect    bool  // the client waits for 100 Continue
	streaming bool  // Lambda-Runtime-Function-Response-Mode: streaming
	prelude   bool  // Content-Type: application/vnd.awslambda.http-integration-response
	kind      []byte
	errType   []byte // Lambda-Runtime-Function-Error-Type, as a header or in the trailer
	errBody   []byte // Lambda-Runtime-Function-Error-Body of the trailer, base64
}

// read reads a request's head. It returns a *refusal for what can be answered.
func (q *request) read(r *bufio.Reader) error {
	*q = request{path: q.path[:0], kind: q.kind[:0], errType: q.errType[:0], errBody: q.errBody[:0]}
	budget := maxHead
	line, whole, err := readLine(r, &budget)
	if err != nil {
		return err
	}
	if !whole {
		return lineTooLong
	}
	if err := q.start(line); err != nil {
		return err
	}
	return q.headers(r, &budget)
}

// start reads "METHOD target HTTP/1.x".
func (q *request) start(line []byte) error {
	name, rest, _ := bytes.Cut(line, []byte(" "))
	target, proto, ok := bytes.Cut(rest, []byte(" "))
	if !ok || !bytes.HasPrefix(proto, []byte("HTTP/1.")) || len(proto) != len("HTTP/1.1") {
		return malformed
	}
	q.close = proto[len(proto)-1] == '0'
	switch string(name) {
	case "GET":
		q.method = get
	case "POST":
		q.method = post
	}
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	q.path = append(q.path, target...)
	return nil
}

// headers reads lines up to the empty one. Content-Length beside
// Transfer-Encoding, or twice with different values, is refused.
func (q *request) headers(r *bufio.Reader, budget *int) error {
	length, chunked := int64(-1), false
	for {
		line, whole, err := readLine(r, budget)
		if err != nil {
			return err
		}
		if len(line) == 0 && whole {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return malformed
		}
		if !whole {
			continue // none of ours is that long
		}
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "content-length"):
			n, err := strconv.ParseUint(string(value), 10, 62)
			if err != nil || length >= 0 && length != int64(n) {
				return malformed
			}
			length = int64(n)
		case is(name, "transfer-encoding"):
			if !bytes.EqualFold(value, []byte("chunked")) {
				return malformed
			}
			chunked = true
		default:
			q.header(name, value)
		}
	}
	if chunked && length >= 0 {
		return malformed
	}
	q.length = max(length, 0)
	if chunked {
		q.length = -1
	}
	return nil
}

func (q *request) header(name, value []byte) {
	switch {
	case is(name, "connection"):
		q.close = bytes.EqualFold(value, []byte("close")) || q.close && !bytes.EqualFold(value, []byte("keep-alive"))
	case is(name, "expect"):
		q.expect = bytes.EqualFold(value, []byte("100-continue"))
	case is(name, "lambda-runtime-function-response-mode"):
		q.streaming = bytes.EqualFold(value, []byte("streaming"))
	case is(name, "content-type"):
		q.kind = append(q.kind[:0], value...)
		q.prelude = bytes.EqualFold(value, []byte("application/vnd.awslambda.http-integration-response"))
	default:
		q.trailer(name, value)
	}
}

func (q *request) trailer(name, value []byte) {
	switch {
	case is(name, "lambda-runtime-function-error-type"):
		q.errType = append(q.errType[:0], value...)
	case is(name, "lambda-runtime-function-error-body"):
		q.errBody = append(q.errBody[:0], value...)
	}
}

// is compares a header's name, in any case, with one in lower case.
func is(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// readLine returns a line without its end, valid until the next read. Of a line
// longer than r's buffer it returns the beginning and false, and skips the rest.
// budget is what may still be read of this head.
func readLine(r *bufio.Reader, budget *int) ([]byte, bool, error) {
	line, err := r.ReadSlice('\n')
	*budget -= len(line)
	if err == nil {
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		return line, true, nil
	}
	if err != bufio.ErrBufferFull {
		return nil, false, err
	}
	begin := bytes.Clone(line[:min(len(line), 128)])
	for err == bufio.ErrBufferFull {
		if *budget <= 0 {
			return nil, false, lineTooLong
		}
		line, err = r.ReadSlice('\n')
		*budget -= len(line)
	}
	return begin, false, err
}

// body reads the request's body, and its trailer where it is chunked.
func (q *request) body(r *bufio.Reader) io.Reader {
	if q.length >= 0 {
		return &lengthReader{r: r, left: q.length}
	}
	return &chunkReader{request: q, r: r, chunks: httputil.NewChunkedReader(r)}
}

// discard skips the body.
func (q *request) discard(r *bufio.Reader) error {
	if q.length == 0 {
		return nil
	}
	_, err := io.Copy(io.Discard, q.body(r))
	return err
}

// lengthReader is io.LimitReader, except that an early end is an error.
type lengthReader struct {
	r    io.Reader
	left int64
}

func (l *lengthReader) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err == io.EOF && l.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunkReader reads a chunked body and then its trailer into the request.
type chunkReader struct {
	request *request
	r       *bufio.Reader
	chunks  io.Reader
	err     error // io.EOF after the trailer
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.chunks.Read(p)
	if err == io.EOF {
		err = c.trailer()
	}
	c.err = err
	return n, err
}

func (c *chunkReader) trailer() error {
	budget := maxHead
	var long []byte
	for {
		line, whole, err := readLine(c.r, &budget)
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if len(line) == 0 && whole {
			return io.EOF
		}
		long = line
		name, value, ok := bytes.Cut(long, []byte(":"))
		if !ok {
			return malformed
		}
		if whole {
			c.request.trailer(name, bytes.TrimSpace(value))
		}
	}
}
