package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
	"github.com/mayfly-cloud/mayfly/telemetry/otlp"
)

// collector is a receiver of OTLP that is no part of the node.
type collector struct {
	mu     sync.Mutex
	spans  []mayfly.Span     // guarded by mu
	lines  []mayfly.LogLine  // guarded by mu
	points []telemetry.Point // guarded by mu
}

func (c *collector) Span(s mayfly.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, s)
}
func (c *collector) Log(l mayfly.LogLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, l)
}
func (c *collector) Points(p []telemetry.Point) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.points = append(c.points, p...)
}

// TestOpenTelemetry runs a function that traces with OpenTelemetry's SDK for Go,
// over both protocols: its spans are in the trace of its call. The node sends all
// three signals on to a collector, and a Prometheus client reads the metrics.
func TestOpenTelemetry(t *testing.T) {
	out := &collector{}
	sink := httptest.NewServer((&otlp.Receiver{Sink: out, Metrics: out}).Handler(mayfly.Caller{Kind: mayfly.CallerPlatform}))
	t.Cleanup(sink.Close)
	dir := app(t, map[string]string{"mayfly.yaml": `
app: shop
functions:
  pay:
    runtime: binary
    source: ./pay
    on: [{http: POST /pay}]
`})
	if err := os.MkdirAll(filepath.Join(dir, "pay"), 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "pay", "bootstrap"), "./otelfunction")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	n := start(t, t.TempDir(), "dev", dir, "--otlp", sink.URL, "--sample", "1s")
	const id = "5af7651916cd43dd8448eb211c80319c"
	if r := n.call("POST", "/pay", "{}", "X-Amzn-Trace-Id", "Root=1-5af76519-16cd43dd8448eb211c80319c;Parent=53995c3f42cd8ad8;Sampled=1"); r.status != 200 {
		t.Fatalf("call: %d %s", r.status, r.body)
	}
	v := n.trace(id, func(v *telemetry.TraceView) bool { return has(v, "charge over http") && has(v, "charge over grpc") })
	lines := strings.Split(treeOf(v), "\n")
	for _, want := range []string{"POST /pay > pay > charge over http", "POST /pay > pay > charge over grpc"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the trace lacks %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
	for _, s := range v.Spans {
		if strings.HasPrefix(s.Name, "charge") && (s.Kind != mayfly.SpanClient || s.Error != "refused" || s.Attributes["peer.service"] != "bank" || s.Attributes["n"] != "7" || s.Function != "pay") {
			t.Errorf("span %+v", s)
		}
	}
	eventually(t, "the collector has spans, lines and metrics", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		spans := func(name string) bool {
			return slices.ContainsFunc(out.spans, func(s mayfly.Span) bool { return s.Name == name && s.Trace.ID == id })
		}
		return spans("pay") && spans("POST /pay") && spans("charge over grpc") &&
			slices.ContainsFunc(out.points, func(p telemetry.Point) bool { return strings.HasPrefix(p.Name, "faas_invocations") })
	})
	testPrometheusClient(t, n)
}

// testPrometheusClient asks for a metric as Grafana would.
func testPrometheusClient(t *testing.T, n *node) {
	c, err := promapi.NewClient(promapi.Config{Address: n.API, RoundTripper: bearer(n.Token)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	eventually(t, "the metrics have the call", func() bool {
		got, _, _, err := promv1.NewAPI(c).Query(ctx, `sum(faas_invocations_total{app="shop",function="pay",trigger="http"})`, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		vector, _ := got.(model.Vector)
		return len(vector) == 1 && vector[0].Value == 1
	})
}

// bearer sends a token with each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}
