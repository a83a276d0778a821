package program

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// ErrorTypeHTTP is the type of a failure that a program told by a status alone.
const ErrorTypeHTTP = "HTTP.Status"

// Web is a program that serves HTTP on a port of its cell. It is a
// sandbox.Instance and a sandbox.Server, safe for concurrent use.
type Web struct {
	*Program
	port   int
	client *http.Client
	spec   *sandbox.Spec

	mu    sync.Mutex
	calls map[*sandbox.Call]struct{} // guarded by mu; under way
	last  *sandbox.Call              // guarded by mu
}

var (
	_ sandbox.Instance = (*Web)(nil)
	_ sandbox.Server   = (*Web)(nil)
	_ sandbox.Freezer  = (*Web)(nil)
)

// NewWeb is what a driver gives Config.Current to; Attach makes it an instance.
func NewWeb(spec *sandbox.Spec, port int) *Web {
	w := &Web{port: port, spec: spec, calls: map[*sandbox.Call]struct{}{}}
	w.client = &http.Client{
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return w.DialContext(ctx) },
			MaxIdleConnsPerHost: max(spec.PerInstance, 1),
			IdleConnTimeout:     time.Second, // shorter than any server's, so that a call never meets a connection about to close
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w
}

// Attach gives the started program.
func (w *Web) Attach(p *Program) { w.Program = p }

// Current is the call that output belongs to, where only one is under way.
func (w *Web) Current() *sandbox.Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) == 1 {
		for c := range w.calls {
			return c
		}
	}
	if len(w.calls) == 0 && w.spec.PerInstance <= 1 {
		return w.last
	}
	return nil
}

// Await waits until the program accepts connections.
func (w *Web) Await(ctx context.Context) error {
	pause := time.Millisecond
	for {
		nc, err := w.DialContext(ctx)
		if err == nil {
			return nc.Close()
		}
		select {
		case <-time.After(pause):
			pause = min(pause*5/4+time.Microsecond, 25*time.Millisecond)
		case <-w.Done():
			return w.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// DialContext connects to the program.
func (w *Web) DialContext(ctx context.Context) (net.Conn, error) {
	return w.proc.Dial(ctx, w.port)
}

// Stop ends the program and its idle connections.
func (w *Web) Stop(ctx context.Context) error {
	err := w.Program.Stop(ctx)
	w.client.CloseIdleConnections()
	return err
}

// Call sends one event as a request.
func (w *Web) Call(ctx context.Context, call *sandbox.Call) (*sandbox.Reply, error) {
	req, err := w.request(ctx, call)
	if err != nil {
		return nil, err
	}
	ended := w.Watch(call)
	resp, err := w.client.Do(req)
	if err != nil {
		ended()
		return nil, w.explain(ctx, err)
	}
	if call.HTTP {
		return streamed(resp, ended), nil
	}
	defer ended()
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(mayfly.MaxEvent)+1))
	if err != nil {
		return nil, w.explain(ctx, err)
	}
	return result(resp, body)
}

// Watch says that a call is under way until ended is called, so that output
// meanwhile is known as the call's. Whoever sends requests over DialContext calls
// it; Call does by itself.
func (w *Web) Watch(call *sandbox.Call) (ended func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[call] = struct{}{}
	w.last = call
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.calls, call)
	}
}

// explain is what a broken connection means: the caller left, the program
// ended, or it does not speak HTTP.
func (w *Web) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-w.Done():
		return w.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return &mayfly.FunctionError{Type: ErrorTypeHTTP, Message: "the program did not answer the request: " + err.Error()}
}

// request is the HTTP request of a call.
func (w *Web) request(ctx context.Context, call *sandbox.Call) (*http.Request, error) {
	var req *http.Request
	var err error
	if call.HTTP {
		req, err = fromEvent(ctx, call.Event)
	} else {
		req, err = w.eventRequest(ctx, call)
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "call", "the event cannot be sent as a request: %w", err)
	}
	h := req.Header
	h.Set("X-Request-Id", call.ID)
	h.Set("X-Mayfly-Trigger", string(call.Trigger))
	h.Set("X-Mayfly-Attempt", strconv.Itoa(max(call.Attempt, 1)))
	if !call.Deadline.IsZero() {
		h.Set("X-Mayfly-Deadline-Ms", strconv.FormatInt(call.Deadline.UnixMilli(), 10))
	}
	if call.Trace.ID != "" {
		h.Set("Traceparent", call.Trace.Header())
	}
	return req, nil
}

// fromEvent makes a request of an HTTPRequest event.
func fromEvent(ctx context.Context, event []byte) (*http.Request, error) {
	var in mayfly.HTTPRequest
	if err := json.Unmarshal(event, &in); err != nil {
		return nil, err
	}
	body := []byte(in.Body)
	if in.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(in.Body); err != nil {
			return nil, fmt.Errorf("the body is not base64: %w", err)
		}
	}
	method := cmp.Or(in.RequestContext.HTTP.Method, http.MethodGet)
	req, err := http.NewRequestWithContext(ctx, method, "http://function/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	target, err := url.ParseRequestURI("/" + strings.TrimPrefix(cmp.Or(in.RawPath, "/"), "/"))
	if err != nil {
		return nil, err
	}
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = target.Path, target.RawPath, in.RawQueryString
	for name, value := range in.Headers {
		switch http.CanonicalHeaderKey(name) {
		case "Host":
			req.Host = value
		case "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Trailer":
		default:
			req.Header.Set(name, value)
		}
	}
	if len(in.Cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(in.Cookies, "; "))
	}
	return req, nil
}

// eventRequest makes a POST of any other event.
func (w *Web) eventRequest(ctx context.Context, call *sandbox.Call) (*http.Request, error) {
	header := http.Header{"Content-Type": {"application/json"}}
	body := call.Event
	switch call.Trigger {
	case mayfly.TriggerDirect, "":
	case mayfly.TriggerTopic:
		body = cloudEvent(header, call.Event)
	default:
		header.Set("Ce-Specversion", "1.0")
		header.Set("Ce-Id", call.ID)
		header.Set("Ce-Source", "/mayfly/"+string(w.spec.App)+"/"+string(call.Trigger))
		header.Set("Ce-Type", "mayfly."+string(call.Trigger))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://function/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	return req, nil
}

// cloudEvent turns a structured event into binary mode: its attributes become
// headers, its data the body that is returned. What is not a single event stays
// as it is.
func cloudEvent(h http.Header, event []byte) []byte {
	if e := bytes.TrimSpace(event); len(e) > 0 && e[0] == '[' {
		h.Set("Content-Type", "application/cloudevents-batch+json")
		return event
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(event, &all) != nil || all["specversion"] == nil {
		return event
	}
	body := binaryData(all)
	for name, raw := range all {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw) // a number or a boolean
		}
		switch name {
		case "data", "data_base64":
		case "datacontenttype":
			h.Set("Content-Type", text)
		default:
			h.Set("Ce-"+name, headerText(text))
		}
	}
	return body
}

// binaryData is the data of a structured event as it is in binary mode.
func binaryData(all map[string]json.RawMessage) []byte {
	var kind, text string
	_ = json.Unmarshal(all["datacontenttype"], &kind) // absent: JSON
	if json.Unmarshal(all["data_base64"], &text) == nil {
		if data, err := base64.StdEncoding.DecodeString(text); err == nil {
			return data
		}
	}
	if kind != "" && !strings.Contains(kind, "json") && json.Unmarshal(all["data"], &text) == nil {
		return []byte(text)
	}
	return all["data"]
}

// headerText encodes a value as the HTTP binding of CloudEvents 1.0 says
// (section 3.1.3.2): what is not printable ASCII, and %, " and space, by its
// UTF-8 bytes in hexadecimal.
func headerText(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' || c == '"' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// streamed is the reply to an HTTP call. ended is called at each Close.
func streamed(resp *http.Response, ended func()) *sandbox.Reply {
	header := resp.Header
	cookies := header["Set-Cookie"]
	header.Del("Set-Cookie")
	for _, hop := range []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Trailer"} {
		header.Del(hop)
	}
	return &sandbox.Reply{
		Body: &body{resp.Body, ended},
		Meta: &sandbox.Meta{Status: resp.StatusCode, Header: header, Cookies: cookies},
	}
}

type body struct {
	io.ReadCloser
	ended func()
}

func (b *body) Close() error {
	defer b.ended()
	return b.ReadCloser.Close()
}

// result is the reply to an event.
func result(resp *http.Response, body []byte) (*sandbox.Reply, error) {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, failure(resp, body)
	}
	if len(body) > int(mayfly.MaxEvent) {
		return nil, &mayfly.FunctionError{Type: "Function.ResponseSizeTooLarge",
			Message: fmt.Sprintf("the response is larger than %s", mayfly.MaxEvent)}
	}
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		body = []byte("null")
	case !json.Valid(body):
		body, _ = json.Marshal(string(body))
	}
	return &sandbox.Reply{Payload: body}, nil
}

// failure reads an error from an answer: Lambda's form, a problem's, or text.
func failure(resp *http.Response, body []byte) error {
	var said struct {
		Type    string   `json:"errorType"`
		Message string   `json:"errorMessage"`
		Trace   []string `json:"stackTrace"`
		Detail  string   `json:"detail"`
		Error   any      `json:"error"`
	}
	_ = json.Unmarshal(body, &said) // text is as good
	text, _ := said.Error.(string)
	text = cmp.Or(said.Message, said.Detail, text, strings.ToValidUTF8(string(body[:min(len(body), 1024)]), "\uFFFD"))
	return &mayfly.FunctionError{
		Type:    cmp.Or(said.Type, ErrorTypeHTTP),
		Message: strings.TrimSpace(fmt.Sprintf("the program answered %d: %s", resp.StatusCode, text)),
		Trace:   said.Trace,
	}
}
