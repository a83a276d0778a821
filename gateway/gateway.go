package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
)

// Invoker runs calls; *invoke.Invoker is it.
type Invoker interface {
	Invoke(ctx context.Context, req *invoke.Request) (*invoke.Result, error)
	Session(ctx context.Context, req *invoke.Request) (*invoke.Session, error)
}

// Async accepts a call durably and returns its id before it ran.
type Async interface {
	Enqueue(ctx context.Context, req *invoke.Request) (id string, err error)
}

// Tokens tells who holds a bearer token; an Unauthorized error where nobody does.
type Tokens interface {
	Verify(token string) (mayfly.Caller, error)
}

// Config configures a Gateway.
type Config struct {
	Invoker Invoker
	Async   Async
	Tokens  Tokens
	Spans   Spans                          // of requests; nil: none
	Bucket  http.Handler                   // public objects below /_bucket/
	Hosts   func(host string) http.Handler // what is at a host name that is no app's; it answers nil for others; nil: nothing is
	Dev     bool                           // replies show what failed in the user's code and how a cold start was spent
	Log     *slog.Logger

	MaxBody mayfly.Bytes  // of a request to an event-shaped function; default mayfly.MaxBody
	Stall   time.Duration // a client that neither sends nor takes bytes for this long is cut off; default 30s
}

// Gateway is an http.Handler. Apply gives it its routes.
type Gateway struct {
	cfg   Config
	table atomic.Pointer[table]
	sys   *http.ServeMux
	drain atomic.Bool
	asked atomic.Int64 // when somebody last asked for the node's health, Unix nanoseconds
}

// New makes a Gateway without routes.
func New(cfg Config) *Gateway {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = mayfly.MaxBody
	}
	if cfg.Stall == 0 {
		cfg.Stall = 30 * time.Second
	}
	g := &Gateway{cfg: cfg, sys: http.NewServeMux()}
	g.table.Store(&table{})
	g.sys.Handle("/_fn/{app}/{function}", g.traced("", "", "/_fn/{app}/{function}", http.HandlerFunc(g.direct)))
	g.sys.HandleFunc("/_fn/", func(w http.ResponseWriter, _ *http.Request) {
		g.problem(w, mayfly.Errorf(mayfly.NotFound, "", "a function is called directly by POST /_fn/APP/FUNCTION"))
	})
	g.sys.HandleFunc("GET /_health", g.health)
	if cfg.Bucket != nil {
		g.sys.Handle("/_bucket/", g.paced(cfg.Bucket)) // it answers preflights too
	}
	return g
}

// Server is an http.Server for g with the limits that hold off slow clients.
func (g *Gateway) Server() *http.Server {
	return &http.Server{
		Handler:           g,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    int(mayfly.MaxHeader),
		ErrorLog:          slog.NewLogLogger(g.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// watchedFor is how long after a health check a node counts as watched: load
// balancers ask at least so often.
const watchedFor = time.Minute

// Drain makes health checks fail, so that a load balancer sends its calls
// elsewhere, while calls are still answered. It reports whether anybody watches
// the node's health.
func (g *Gateway) Drain() (watched bool) {
	g.drain.Store(true)
	return time.Since(time.Unix(0, g.asked.Load())) < watchedFor
}

func (g *Gateway) health(w http.ResponseWriter, _ *http.Request) {
	g.asked.Store(time.Now().UnixNano())
	if g.drain.Load() {
		g.problem(w, mayfly.Errorf(mayfly.Unavailable, "", "the node is shutting down"))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"ok"}` + "\n"))
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.cfg.Hosts != nil {
		if h := g.cfg.Hosts(r.Host); h != nil {
			g.paced(h).ServeHTTP(w, r)
			return
		}
	}
	if strings.HasPrefix(r.URL.Path, "/_") && g.system(w, r) {
		return
	}
	t := g.table.Load()
	mux, err := t.find(r)
	if err != nil {
		g.noRoute(w, r, mux, err)
		return
	}
	mux.ServeHTTP(w, r)
}

// system serves the platform's own paths.
func (g *Gateway) system(w http.ResponseWriter, r *http.Request) bool {
	if _, pattern := g.sys.Handler(r); pattern == "" {
		return false
	}
	g.sys.ServeHTTP(w, r)
	return true
}

// noRoute answers a request that no route takes: preflights first, since a
// browser sends them to routes that name only other methods.
func (g *Gateway) noRoute(w http.ResponseWriter, r *http.Request, mux *appMux, err error) {
	if mux != nil && mux.preflight(w, r) {
		return
	}
	if mux != nil {
		if allow := mux.allow(r); allow != "" {
			w.Header().Set("Allow", allow)
			g.problemStatus(w, http.StatusMethodNotAllowed, mayfly.Errorf(mayfly.Invalid, "", "%s does not take %s; it takes %s", r.URL.Path, r.Method, allow))
			return
		}
	}
	g.problem(w, err)
}

// clientIP is the address of the peer; a proxy's headers are not trusted.
func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// traceOf is the span of the request, where it has one; else its caller's
// position in its trace, or a new trace.
func traceOf(w http.ResponseWriter, r *http.Request) mayfly.Trace {
	if reply, ok := w.(*answered); ok {
		return reply.trace
	}
	if t, ok := mayfly.ParseTrace(r.Header.Get("Traceparent"), r.Header.Get("X-Amzn-Trace-Id")); ok {
		return t
	}
	return mayfly.NewTrace()
}
