package gateway

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
)

// RequestIDHeader names a call in its reply, its logs and its record.
const RequestIDHeader = "X-Mayfly-Request-Id"

// function serves one route by calling its function.
func (g *Gateway) function(app mayfly.AppName, route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &invoke.Request{
			ID: mayfly.NewID(), App: app, Function: route.Function, Trigger: mayfly.TriggerHTTP,
			Route: route.Pattern, Trace: traceOf(w, r), HTTP: true,
			Caller: mayfly.Caller{Kind: mayfly.CallerAnonymous},
		}
		w.Header()[RequestIDHeader] = []string{req.ID}
		if route.Auth == "token" {
			who, err := g.authenticate(r)
			if err != nil {
				g.problem(w, err)
				return
			}
			req.Caller = who
		}
		if route.Serves && g.proxied(w, r, req) {
			return
		}
		g.event(w, r, req)
	})
}

// event calls a Lambda-shaped handler.
func (g *Gateway) event(w http.ResponseWriter, r *http.Request, req *invoke.Request) {
	body, err := g.readBody(w, r, g.cfg.MaxBody)
	if err != nil {
		g.problem(w, err)
		return
	}
	// API Gateway adds this header, and X-Ray's SDKs read it.
	r.Header["X-Amzn-Trace-Id"] = []string{req.Trace.XRay()}
	req.Event = appendEvent(make([]byte, 0, 1024+len(body)+len(body)/2), r, req.App, req.Route, req.ID, body)
	var out shaped
	req.Inspect = out.inspect
	res, err := g.cfg.Invoker.Invoke(r.Context(), req)
	if res != nil {
		g.describe(w.Header(), res.Invocation)
	}
	if err != nil {
		if r.Context().Err() != nil {
			return // nobody is there to read it
		}
		g.problem(w, err)
		return
	}
	if res.Body != nil {
		g.writeStream(w, r, res)
		return
	}
	out.write(w, r)
}

// describe tells in dev how a call's time was spent, for curl and browsers.
func (g *Gateway) describe(h http.Header, inv *mayfly.Invocation) {
	if !g.cfg.Dev || inv == nil {
		return
	}
	h["X-Mayfly-Version"] = []string{strconv.Itoa(inv.Version)}
	if inv.Cold {
		h.Set("X-Mayfly-Cold", "true")
	}
	if len(inv.Phases) == 0 {
		return
	}
	b := make([]byte, 0, 128)
	for i, p := range inv.Phases {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(b, p.Name...), ";dur="...)
		b = strconv.AppendFloat(b, float64(p.Duration)/float64(time.Millisecond), 'f', 3, 64)
	}
	h["Server-Timing"] = []string{string(b)}
}

// readBody reads a request's body up to limit. A client that stalls is cut off.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, limit mayfly.Bytes) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil, nil
	}
	in := &patient{r: r.Body, rc: http.NewResponseController(w), stall: g.cfg.Stall}
	if r.ContentLength > int64(limit) {
		refuse(r, in)
		return nil, tooLarge(limit)
	}
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(in, int64(limit)+1))
	switch {
	case err != nil:
		return nil, mayfly.Errorf(mayfly.Invalid, "", "the request's body broke off: %w", err)
	case buf.Len() > int(limit):
		refuse(r, in)
		return nil, tooLarge(limit)
	}
	return buf.Bytes(), nil
}

// refusedBody is how much of a body that is too large is read and dropped.
// Clients that send all before they look for the answer would only see the
// connection break.
const refusedBody = 64 << 20

func refuse(r *http.Request, in io.Reader) {
	if r.Header.Get("Expect") == "" { // such a client waits to be told
		_, _ = io.CopyN(io.Discard, in, refusedBody)
	}
}

func tooLarge(limit mayfly.Bytes) error {
	return mayfly.Errorf(mayfly.TooLarge, "", "the body is over the limit of %s; upload large data to a bucket and send its key, or use runtime http, which streams", limit)
}

// patient gives each read its own deadline: slow is fine, stalled is not. After
// a stall the deadline stays in the past, so that the server drops the
// connection instead of waiting for the rest.
type patient struct {
	r     io.Reader
	rc    *http.ResponseController
	stall time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(p.stall))
	n, err := p.r.Read(b)
	if err == io.EOF {
		_ = p.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
