package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
)

// response is mayfly.HTTPResponse as handlers really write it: numbers as
// header values, a status in quotes.
type response struct {
	StatusCode        json.RawMessage              `json:"statusCode"`
	Headers           map[string]json.RawMessage   `json:"headers"`
	MultiValueHeaders map[string][]json.RawMessage `json:"multiValueHeaders"`
	Cookies           []string                     `json:"cookies"`
	Body              json.RawMessage              `json:"body"`
	IsBase64Encoded   bool                         `json:"isBase64Encoded"`
}

// shaped is a handler's result as an HTTP reply: an object with statusCode is
// taken as a response, anything else is a JSON body with status 200 (payload
// 2.0's inference).
type shaped struct {
	header http.Header
	status int
	body   []byte
}

// inspect is an invoke.Request.Inspect.
func (s *shaped) inspect(payload []byte, r *mayfly.Invocation) (err error) {
	s.header = http.Header{}
	s.status, s.body, err = shape(s.header, payload)
	r.Status = s.status
	return err
}

func (s *shaped) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, values := range s.header {
		h[name] = values
	}
	if r.Method != http.MethodHead || h.Get("Content-Length") == "" {
		h["Content-Length"] = []string{strconv.Itoa(len(s.body))}
	}
	if !bodyAllowed(s.status) {
		h.Del("Content-Length")
		s.body = nil
	}
	w.WriteHeader(s.status)
	_, _ = w.Write(s.body)
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// shape fills h and returns the status and the body.
func shape(h http.Header, payload []byte) (int, []byte, error) {
	payload = bytes.TrimSpace(payload)
	if len(payload) == 0 || payload[0] != '{' || !bytes.Contains(payload, []byte(`"statusCode"`)) {
		return inferred(h, payload)
	}
	status, body, ok := plain(h, payload)
	if !ok {
		var out response
		if err := json.Unmarshal(payload, &out); err != nil {
			return 0, nil, malformed("%v", err)
		}
		if out.StatusCode == nil {
			return inferred(h, payload)
		}
		var err error
		if status, body, err = general(h, &out); err != nil {
			return status, nil, err
		}
	}
	if h.Get("Content-Type") == "" && len(body) > 0 {
		h.Set("Content-Type", "application/json")
	}
	return status, body, nil
}

// general fills h of a response of any form.
func general(h http.Header, out *response) (int, []byte, error) {
	status, err := strconv.Atoi(text(out.StatusCode))
	if err != nil || status < 200 || status > 999 {
		return 0, nil, malformed("statusCode is %s; it must be a number from 200 to 599", out.StatusCode)
	}
	fillHeader(h, out)
	body, err := bodyOf(out)
	return status, body, err
}

func inferred(h http.Header, payload []byte) (int, []byte, error) {
	h.Set("Content-Type", "application/json")
	if len(payload) > 0 && payload[0] == '"' {
		return http.StatusOK, []byte(text(payload)), nil
	}
	return http.StatusOK, payload, nil
}

func fillHeader(h http.Header, out *response) {
	for name, v := range out.Headers {
		switch {
		case string(v) == "null":
		case strings.EqualFold(name, "Set-Cookie"):
			h.Add(name, text(v)) // adapters give each cookie a name of other case
		default:
			h.Set(name, text(v))
		}
	}
	for name, vs := range out.MultiValueHeaders {
		h.Del(name)
		for _, v := range vs {
			h.Add(name, text(v))
		}
	}
	for _, c := range out.Cookies {
		h.Add("Set-Cookie", c)
	}
	dropHop(h)
}

// dropHop drops the headers that belong to a connection.
func dropHop(h http.Header) {
	delete(h, "Transfer-Encoding")
	delete(h, "Connection")
}

func bodyOf(out *response) ([]byte, error) {
	if len(out.Body) == 0 || string(out.Body) == "null" {
		return nil, nil
	}
	if out.Body[0] != '"' {
		return nil, malformed("body must be a string; serialise it, with JSON.stringify or json.dumps")
	}
	body := text(out.Body)
	if !out.IsBase64Encoded {
		return []byte(body), nil
	}
	raw, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return nil, malformed("isBase64Encoded is set, but the body is not base64: %v", err)
	}
	return raw, nil
}

func malformed(format string, args ...any) error {
	e := mayfly.Errorf(mayfly.Invalid, "", format, args...)
	return &mayfly.FunctionError{Type: "Runtime.MalformedResponse", Message: "the handler's response cannot be sent: " + e.Message}
}

// text is a JSON string's value, and any other JSON as it is written.
func text(raw json.RawMessage) string {
	if len(raw) > 0 && raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	}
	return string(raw)
}

// writeStream sends a streamed reply as its parts arrive.
func (g *Gateway) writeStream(w http.ResponseWriter, r *http.Request, res *invoke.Result) {
	defer res.Body.Close()
	h, status := w.Header(), http.StatusOK
	if m := res.Meta; m != nil {
		for name, values := range m.Header {
			h[http.CanonicalHeaderKey(name)] = values
		}
		for _, c := range m.Cookies {
			h.Add("Set-Cookie", c)
		}
		if m.Status != 0 {
			status = m.Status
		}
	}
	dropHop(h)
	res.Invocation.Status = status
	b, whole := res.Whole()
	if h.Get("Content-Type") == "" && bodyAllowed(status) && !(whole && len(b) == 0) && status/100 != 3 {
		h.Set("Content-Type", "application/octet-stream")
	}
	if whole {
		writeWhole(w, r, status, b)
		return
	}
	w.WriteHeader(status)
	if err := g.copy(w, res.Body); err != nil {
		// The head is out: the only honest sign left is a broken reply.
		panic(http.ErrAbortHandler)
	}
}

// writeWhole sends a reply without parts. One to HEAD may say how long a body
// would have been.
func writeWhole(w http.ResponseWriter, r *http.Request, status int, b []byte) {
	if bodyAllowed(status) && (r.Method != http.MethodHead || w.Header().Get("Content-Length") == "") {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// copy sends each part at once. A client that stops reading is cut off.
func (g *Gateway) copy(w http.ResponseWriter, body io.Reader) error {
	rc := http.NewResponseController(w)
	buf := copyBuffers.Get()
	defer copyBuffers.Put(buf)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(g.cfg.Stall))
			if _, werr := w.Write(buf[:n]); werr != nil {
				return nil // the client went away
			}
			_ = rc.Flush()
		}
		if err == io.EOF {
			return rc.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			return err
		}
	}
}
