package runtimeapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Error types of Lambda's own.
const (
	errorTypeTooLarge  = "Function.ResponseSizeTooLarge"
	errorTypeUnhandled = "Runtime.Unknown"
	errorTypePrelude   = "Runtime.InvalidResponsePrelude"
)

const (
	maxError   = 256 << 10 // of a reported error; what is beyond is cut
	maxPrelude = 64 << 10
)

// refusal is an answer that says no, with the body that Lambda gives.
type refusal struct {
	status  int
	kind    string
	message string
}

func (r *refusal) Error() string { return r.message }

func (r *refusal) answer() []byte {
	body := fmt.Sprintf("{\"errorMessage\":%q,\"errorType\":%q}\n", r.message, r.kind)
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		r.status, http.StatusText(r.status), len(body), body)
}

var (
	malformed      = &refusal{http.StatusBadRequest, "InvalidRequest", "malformed request"}
	lineTooLong    = &refusal{http.StatusRequestHeaderFieldsTooLarge, "InvalidRequest", "header too long"}
	noRoute        = &refusal{http.StatusNotFound, "NotFound", "the Runtime API has no such path"}
	noMethod       = &refusal{http.StatusMethodNotAllowed, "MethodNotAllowed", "method not allowed"}
	unknownID      = &refusal{http.StatusBadRequest, "InvalidRequestID", "Invalid request ID"}
	answeredBefore = &refusal{http.StatusForbidden, "InvalidStateTransition", "the invocation was answered before"}
	initOver       = &refusal{http.StatusForbidden, "InvalidStateTransition", "initialisation is over"}
)

func tooLarge(limit int) *refusal {
	return &refusal{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
		"Exceeded maximum allowed payload size (" + strconv.Itoa(limit) + " bytes)."}
}

func (c *conn) initError(req *request) error {
	body, err := c.body(req)
	if err != nil {
		return err
	}
	fe, err := readError(req, body)
	if err != nil {
		return err
	}
	if !c.server.initFailed(fe) {
		return c.refuse(initOver)
	}
	return c.accept()
}

func (c *conn) callError(req *request, call *call) error {
	fe, err := c.reported(req)
	if err != nil {
		c.server.unclaim(call)
		return err
	}
	c.server.finish(call, outcome{err: fe})
	return c.accept()
}

func (c *conn) reported(req *request) (*mayfly.FunctionError, error) {
	body, err := c.body(req)
	if err != nil {
		return nil, err
	}
	return readError(req, body)
}

// readError reads a posted error to its end; of a long one the beginning.
func readError(req *request, body io.Reader) (*mayfly.FunctionError, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxError))
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return nil, err
	}
	return parseError(string(req.errType), b), nil
}

// parseError understands {errorType, errorMessage, stackTrace}, whose stack is
// of texts or of {path, line, label}. What is not that becomes the message.
func parseError(kind string, body []byte) *mayfly.FunctionError {
	var e struct {
		Type    string            `json:"errorType"`
		Message string            `json:"errorMessage"`
		Trace   []json.RawMessage `json:"stackTrace"`
	}
	if json.Unmarshal(body, &e) != nil {
		e.Message = string(bytes.TrimSpace(body))
	}
	fe := &mayfly.FunctionError{Type: e.Type, Message: e.Message}
	if fe.Type == "" {
		fe.Type = kind
	}
	if fe.Type == "" {
		fe.Type = errorTypeUnhandled
	}
	for _, frame := range e.Trace {
		fe.Trace = append(fe.Trace, frameText(frame))
	}
	return fe
}

func frameText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var f struct {
		Path  string `json:"path"`
		Line  int    `json:"line"`
		Label string `json:"label"`
	}
	if json.Unmarshal(raw, &f) == nil && f.Path != "" {
		return f.Path + ":" + strconv.Itoa(f.Line) + " " + f.Label
	}
	return string(raw)
}

// response takes the answer to a claimed call: whole, or as a stream where the
// program says so and the caller can take one.
func (c *conn) response(req *request, call *call) error {
	body, err := c.body(req)
	if err != nil {
		c.server.unclaim(call)
		return err
	}
	if (req.streaming || req.prelude) && call.HTTP {
		return c.stream(req, call, body)
	}
	limit := c.server.config.MaxReply
	if req.length > int64(limit) {
		return c.refuseSize(req, call, body)
	}
	payload, err := readAll(body, req.length, limit)
	switch {
	case err == errTooLarge:
		return c.refuseSize(req, call, body)
	case err != nil:
		c.server.unclaim(call)
		return err
	}
	if fe := trailerError(req); fe != nil {
		c.server.finish(call, outcome{err: fe})
		return c.accept()
	}
	c.server.finish(call, whole(req, payload))
	return c.accept()
}

// whole is the outcome of a reply that came in one piece. A handler's result is
// JSON; what is not, as a shell script's, becomes a JSON string. A streamed HTTP
// response, to a caller that cannot take one, becomes an HTTPResponse.
func whole(req *request, payload []byte) outcome {
	if req.prelude {
		meta, body, err := cutPrelude(payload)
		if err != nil {
			return outcome{err: err}
		}
		return outcome{reply: &sandbox.Reply{Payload: flatten(meta, body)}}
	}
	if !json.Valid(payload) {
		payload, _ = json.Marshal(string(payload))
	}
	return outcome{reply: &sandbox.Reply{Payload: payload}}
}

func flatten(meta *sandbox.Meta, body []byte) []byte {
	out := mayfly.HTTPResponse{StatusCode: meta.Status, Cookies: meta.Cookies, MultiValueHeaders: meta.Header,
		Body: base64.StdEncoding.EncodeToString(body), IsBase64Encoded: true}
	payload, _ := json.Marshal(out)
	return payload
}

func (c *conn) refuseSize(req *request, call *call, body io.Reader) error {
	limit := c.server.config.MaxReply
	c.server.finish(call, outcome{err: &mayfly.FunctionError{Type: errorTypeTooLarge,
		Message: "Response payload size exceeded maximum allowed payload size (" + strconv.Itoa(limit) + " bytes)."}})
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	return c.refuse(tooLarge(limit))
}

var errTooLarge = errors.New("too large")

// readAll reads a body of at most limit bytes. A length that the program claims
// is not believed beyond 64 KiB before the bytes come.
func readAll(body io.Reader, length int64, limit int) ([]byte, error) {
	b := make([]byte, 0, min(max(length, 512)+1, 64<<10))
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if len(b) > limit {
			return nil, errTooLarge
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// trailerError is the error that a program reports after it began to answer.
func trailerError(req *request) *mayfly.FunctionError {
	if len(req.errType) == 0 {
		return nil
	}
	body, _ := base64.StdEncoding.DecodeString(string(req.errBody))
	return parseError(string(req.errType), body)
}
