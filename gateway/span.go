package gateway

import (
	"bufio"
	"cmp"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Spans takes the span of each request. It neither blocks nor fails.
type Spans interface{ Span(mayfly.Span) }

// traced makes a request's span, from its head to the end of its reply, whose
// children are the calls that it causes. The caller's trace goes on where it has
// one.
func (g *Gateway) traced(app mayfly.AppName, fn mayfly.FunctionName, route string, next http.Handler) http.Handler {
	if g.cfg.Spans == nil {
		return next
	}
	path := pathOf(route)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trace, remote := mayfly.ParseTrace(r.Header.Get("Traceparent"), r.Header.Get("X-Amzn-Trace-Id"))
		if remote {
			trace = trace.Child()
		} else {
			trace = mayfly.NewTrace()
		}
		r.Header["Traceparent"] = []string{trace.Header()}
		reply := &answered{ResponseWriter: w, trace: trace}
		start := time.Now()
		defer func() { // also where the reply breaks off, which is a panic
			g.cfg.Spans.Span(requestSpan(r, start, cmp.Or(app, mayfly.AppName(r.PathValue("app"))), cmp.Or(fn, mayfly.FunctionName(r.PathValue("function"))), path, reply))
		}()
		next.ServeHTTP(reply, r)
	})
}

func requestSpan(r *http.Request, start time.Time, app mayfly.AppName, fn mayfly.FunctionName, path string, reply *answered) mayfly.Span {
	status := cmp.Or(reply.status, http.StatusOK)
	s := mayfly.Span{
		Trace: reply.trace, Name: r.Method + " " + path, Kind: mayfly.SpanServer, Start: start, End: time.Now(),
		App: app, Function: fn, Invocation: reply.Header().Get(RequestIDHeader),
		Attributes: map[string]string{
			"http.request.method": r.Method, "http.route": path, "url.path": r.URL.Path,
			"http.response.status_code": strconv.Itoa(status), "client.address": clientIP(r), "mayfly.part": "gateway",
		},
	}
	if status >= 500 {
		s.Error = strconv.Itoa(status) + " " + http.StatusText(status)
	}
	return s
}

// answered notes the status of a reply, for the span of its request.
type answered struct {
	http.ResponseWriter
	trace  mayfly.Trace
	status int
}

func (w *answered) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Hijack is how a reverse proxy switches protocols, without a WriteHeader.
func (w *answered) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.status = http.StatusSwitchingProtocols
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController reach Flush and deadlines.
func (w *answered) Unwrap() http.ResponseWriter { return w.ResponseWriter }
