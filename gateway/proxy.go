package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly/invoke"
)

// proxied sends the request to a function that serves HTTP itself. It reports
// false, with nothing written, where the instance takes events instead.
func (g *Gateway) proxied(w http.ResponseWriter, r *http.Request, req *invoke.Request) bool {
	session, err := g.cfg.Invoker.Session(r.Context(), req)
	if err != nil {
		g.problem(w, err)
		return true
	}
	if session == nil {
		return false
	}
	g.describe(w.Header(), session.Invocation())
	watch := &watched{ResponseWriter: w, own: maps.Clone(w.Header())}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	watch.timer = time.AfterFunc(session.Timeout, func() { cancel(context.DeadlineExceeded) })
	watch.timeout = session.Timeout
	defer watch.timer.Stop()

	var failed error
	proxy := httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { rewrite(p, req, session) },
		Transport:     session.Transport,
		FlushInterval: -1, // events and chunks leave as they come
		ErrorLog:      silent,
		BufferPool:    copyBuffers,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			failed = err
			if r.Context().Err() == nil || errors.Is(err, context.DeadlineExceeded) {
				g.problem(w, session.Explain(err))
			}
		},
	}
	defer func() {
		// ReverseProxy panics with ErrAbortHandler when a reply breaks off.
		broke := recover()
		if broke != nil && failed == nil {
			failed = errors.New("the reply broke off")
			if cause := context.Cause(ctx); cause != nil {
				failed = cause
			}
		}
		session.End(int(watch.status.Load()), watch.sent.Load(), failed)
		if broke != nil {
			panic(broke)
		}
	}()
	proxy.ServeHTTP(watch, r.WithContext(ctx))
	return true
}

// silent takes what ReverseProxy logs; the record of the call says it better.
var silent = log.New(io.Discard, "", 0)

func rewrite(p *httputil.ProxyRequest, req *invoke.Request, s *invoke.Session) {
	p.SetXForwarded()
	p.Out.URL.Scheme, p.Out.URL.Host = "http", "function"
	p.Out.Host = p.In.Host
	h := p.Out.Header
	h.Set("Traceparent", s.Invocation().Trace.Header())
	h.Set(RequestIDHeader, req.ID)
}

// watched counts a reply and resets the timer with each part: the timeout
// bounds the wait for the head and between parts, not the length of a stream.
type watched struct {
	http.ResponseWriter
	own     http.Header // the gateway's, which ReverseProxy drops after a reply of 1xx
	status  atomic.Int64
	sent    atomic.Int64
	timer   *time.Timer
	timeout time.Duration
}

func (w *watched) WriteHeader(status int) {
	w.status.Store(int64(status))
	for name, values := range w.own {
		if h := w.Header(); len(h[name]) == 0 {
			h[name] = values
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(p []byte) (int, error) {
	w.timer.Reset(w.timeout)
	if w.status.Load() == 0 {
		w.status.Store(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent.Add(int64(n))
	return n, err
}

// Hijack is how ReverseProxy switches protocols, without a WriteHeader. A
// WebSocket lasts as long as its ends want.
func (w *watched) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.timer.Stop()
	w.status.Store(http.StatusSwitchingProtocols)
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap lets ReverseProxy reach Flush.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// copyBuffers are used again by copies of replies.
var copyBuffers = bufferPool{free: make(chan []byte, 64)}

type bufferPool struct{ free chan []byte }

func (p bufferPool) Get() []byte {
	select {
	case b := <-p.free:
		return b
	default:
		return make([]byte, 32<<10)
	}
}

func (p bufferPool) Put(b []byte) {
	select {
	case p.free <- b:
	default:
	}
}
