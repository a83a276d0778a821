package runtimeapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// separator ends the JSON prelude of an HTTP integration response.
var separator = make([]byte, 8)

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// stream passes a body on while it comes. The reader's pace is the program's: no
// more than one buffer is held.
func (c *conn) stream(req *request, call *call, body io.Reader) error {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	meta, rest, fe, err := readPrelude(req, body, *buf)
	if err != nil {
		c.server.unclaim(call)
		return err
	}
	if fe != nil {
		c.server.finish(call, outcome{err: fe})
		return io.EOF
	}
	w, ok := c.server.stream(c, call, meta)
	if !ok {
		c.server.unclaim(call)
		return io.EOF
	}
	defer c.server.streamed(c, call)
	_, err = w.Write(rest)
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{body}, *buf)
	}
	if errors.Is(err, io.ErrClosedPipe) {
		err = c.unread(body)
	}
	if err != nil {
		w.CloseWithError(c.server.cause(err))
		return err
	}
	if fe := trailerError(req); fe != nil {
		w.CloseWithError(fe)
	}
	w.Close()
	return c.accept()
}

// What a program may go on sending after its reader left, before its connection
// is cut. Most programs take a cut connection for a reason to end.
const (
	unreadBytes = 16 << 20
	unreadTime  = time.Second
)

// unread skips the rest of a body that nobody reads any more.
func (c *conn) unread(body io.Reader) error {
	c.net.SetReadDeadline(time.Now().Add(unreadTime))
	defer c.net.SetReadDeadline(time.Time{})
	n, err := io.CopyN(io.Discard, body, unreadBytes)
	switch {
	case err == io.EOF:
		return nil
	case n == unreadBytes:
		return io.ErrClosedPipe
	}
	return err
}

// readPrelude reads what a stream says of itself before its body: the JSON
// prelude where its content type promises one, else its content type alone. It
// returns the part of the body that was read with it. fe is the program's
// fault, err the connection's.
func readPrelude(req *request, body io.Reader, buf []byte) (meta *sandbox.Meta, rest []byte, fe *mayfly.FunctionError, err error) {
	if !req.prelude {
		kind := string(req.kind)
		if kind == "" {
			kind = "application/octet-stream"
		}
		return &sandbox.Meta{Status: http.StatusOK, Header: http.Header{"Content-Type": {kind}}}, nil, nil, nil
	}
	var head []byte
	for {
		n, err := body.Read(buf)
		head = append(head, buf[:n]...)
		if bytes.Contains(head, separator) || err == io.EOF || len(head) > maxPrelude {
			meta, rest, cut := cutPrelude(head)
			if cut != nil {
				return nil, nil, cut.(*mayfly.FunctionError), nil
			}
			return meta, rest, nil, nil
		}
		if err != nil {
			return nil, nil, nil, err
		}
	}
}

// cutPrelude parts a response into its head and its body. Its error is a
// *mayfly.FunctionError.
func cutPrelude(b []byte) (*sandbox.Meta, []byte, error) {
	head, body, ok := bytes.Cut(b, separator)
	if !ok {
		return nil, nil, &mayfly.FunctionError{Type: errorTypePrelude,
			Message: "the response has no prelude: an HTTP integration response begins with JSON and eight zero bytes"}
	}
	var p struct {
		Status  int             `json:"statusCode"`
		Headers json.RawMessage `json:"headers"`
		Cookies []string        `json:"cookies"`
	}
	header, err := http.Header{}, error(nil)
	if len(bytes.TrimSpace(head)) > 0 {
		err = json.Unmarshal(head, &p)
	}
	if err == nil {
		header, err = parseHeaders(p.Headers)
	}
	if err != nil {
		return nil, nil, &mayfly.FunctionError{Type: errorTypePrelude, Message: "the response's prelude is not valid: " + err.Error()}
	}
	if p.Status == 0 {
		p.Status = http.StatusOK
	}
	return &sandbox.Meta{Status: p.Status, Header: header, Cookies: p.Cookies}, body, nil
}

// parseHeaders reads an object whose values are texts or lists of texts.
func parseHeaders(raw json.RawMessage) (http.Header, error) {
	header := http.Header{}
	if len(raw) == 0 {
		return header, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	for name, raw := range all {
		var many []string
		if json.Unmarshal(raw, &many) == nil {
			header[http.CanonicalHeaderKey(name)] = many
			continue
		}
		var one string
		if err := json.Unmarshal(raw, &one); err != nil {
			one = string(raw)
		}
		header.Set(name, one)
	}
	return header, nil
}
