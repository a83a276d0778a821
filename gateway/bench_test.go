package gateway

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
	"github.com/mayfly-cloud/mayfly/pool"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// node is all that a call meets but its sandbox: one function, a driver whose
// instances answer at once, and takers of records and spans that keep nothing.
type node struct{ version *mayfly.Version }

func (n node) Version(mayfly.AppName, mayfly.FunctionName, string, int) (*mayfly.Version, error) {
	return n.version, nil
}
func (node) Invocation(*mayfly.Invocation) {}
func (node) Span(mayfly.Span)              {}
func (node) Spec(context.Context, *mayfly.Version) (*sandbox.Spec, error) {
	return &sandbox.Spec{PerInstance: 1}, nil
}
func (node) Runtime() mayfly.Runtime                      { return mayfly.Python }
func (node) Check(context.Context) error                  { return nil }
func (node) Prepare(context.Context, *sandbox.Spec) error { return nil }
func (node) Forget(*sandbox.Spec)                         {}
func (node) Close() error                                 { return nil }
func (node) Start(context.Context, *sandbox.Spec, sandbox.Output) (sandbox.Instance, error) {
	return instant{make(chan struct{})}, nil
}

// instant is an instance that answers at once.
type instant struct{ done chan struct{} }

func (instant) ID() string { return "abcdefgh-1" }
func (instant) Call(context.Context, *sandbox.Call) (*sandbox.Reply, error) {
	return &sandbox.Reply{Payload: []byte(`{"statusCode":200,"headers":{"content-type":"text/plain"},"body":"ok"}`)}, nil
}
func (i instant) Done() <-chan struct{}      { return i.done }
func (instant) Err() error                   { return sandbox.ErrStopped }
func (i instant) Stop(context.Context) error { close(i.done); return nil }
func (instant) Info() sandbox.Info {
	return sandbox.Info{Tier: sandbox.Tier{Name: sandbox.TierFull}}
}
func (instant) Usage() sandbox.Usage { return sandbox.Usage{CPU: time.Second} }

func newNode(b *testing.B) *Gateway {
	n := node{&mayfly.Version{App: "a", Function: "f", Number: 1, Spec: mayfly.Function{Runtime: mayfly.Python, Timeout: mayfly.Duration(time.Minute), Memory: 128 * mayfly.MiB}}}
	log := slog.New(slog.DiscardHandler)
	p := pool.New(pool.Config{Drivers: map[mayfly.Runtime]sandbox.Driver{mayfly.Python: n}, Specs: n, Log: log})
	b.Cleanup(func() { _ = p.Close(context.Background()) })
	g := New(Config{Invoker: invoke.New(invoke.Config{Versions: n, Pool: p, Recorder: n, Log: log}), Spans: n, Log: log})
	if err := g.Apply([]App{{Name: "a", Routes: []Route{{Pattern: "/f", Function: "f"}}}}); err != nil {
		b.Fatal(err)
	}
	return g
}

// reply is a ResponseWriter that keeps nothing.
type reply struct {
	header http.Header
	status int
}

func (w *reply) Header() http.Header         { return w.header }
func (w *reply) Write(p []byte) (int, error) { return len(p), nil }
func (w *reply) WriteHeader(status int)      { w.status = status }

// BenchmarkCall is all of the daemon's work on a call but what net/http does and
// the way to the sandbox.
func BenchmarkCall(b *testing.B) {
	g := newNode(b)
	request := []byte("GET /f HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
	if err != nil {
		b.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:40000"
	header := r.Header
	b.ReportAllocs()
	for b.Loop() {
		r.Header = header.Clone()
		w := reply{header: http.Header{}}
		g.ServeHTTP(&w, r)
		if w.status != http.StatusOK {
			b.Fatal(w.status)
		}
	}
}
