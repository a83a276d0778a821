package e2e

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

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
	remote map[string]bool   // guarded by mu; names of metrics that were written to it
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
	out := &collector{remote: map[string]bool{}}
	sink := httptest.NewServer((&otlp.Receiver{Sink: out, Metrics: out}).Handler(mayfly.Caller{Kind: mayfly.CallerPlatform}))
	t.Cleanup(sink.Close)
	dir := app(t, map[string]string{"mayfly.yaml": `
app: shop
functions:
  pay:
    runtime: binary
    source: ./pay
    env: {E2E_FUNCTION: otel}
    on: [{http: POST /pay}]
`})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pay", "bootstrap"), string(program))
	if err := os.Chmod(filepath.Join(dir, "pay", "bootstrap"), 0o755); err != nil {
		t.Fatal(err)
	}
	n := start(t, t.TempDir(), "dev", dir, "--otlp", sink.URL, "--remote-write", remoteWrite(t, out), "--sample", "1s")
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
	eventually(t, "the remote has the metric", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return out.remote["faas_invocations_total"] && out.remote["faas_invoke_duration_seconds"]
	})
	testPrometheusClient(t, n)
}

// remoteWrite is a receiver of Prometheus's remote write, which notes the names
// of what came.
func remoteWrite(t *testing.T, out *collector) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			b, err = s2.Decode(nil, b)
		}
		var req prompb.WriteRequest
		if err == nil {
			err = req.Unmarshal(b)
		}
		if err != nil {
			t.Error(err)
		}
		out.mu.Lock()
		defer out.mu.Unlock()
		for _, ts := range req.Timeseries {
			for _, l := range ts.Labels {
				if l.Name == model.MetricNameLabel {
					out.remote[l.Value] = true
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
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

// init makes this test's binary a function, where the environment says so: a
// program of the Lambda Runtime API that traces its work with OpenTelemetry's own
// SDK for Go, as it comes: the endpoint is the environment's. One exporter speaks
// OTLP over HTTP, the other over gRPC.
func init() {
	if os.Getenv("E2E_FUNCTION") != "otel" {
		return
	}
	ctx := context.Background()
	overHTTP, err := otlptracehttp.New(ctx)
	if err != nil {
		log.Fatal(err)
	}
	at, err := url.Parse(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if err != nil {
		log.Fatal(err)
	}
	overGRPC, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(at.Host), otlptracegrpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	providers := map[string]*sdktrace.TracerProvider{
		"over http": sdktrace.NewTracerProvider(sdktrace.WithBatcher(overHTTP)),
		"over grpc": sdktrace.NewTracerProvider(sdktrace.WithBatcher(overGRPC)),
	}
	for {
		if err := answerOne(ctx, providers); err != nil {
			log.Fatal(err)
		}
	}
}

// answerOne takes an event, makes a span with each provider, and answers.
func answerOne(ctx context.Context, providers map[string]*sdktrace.TracerProvider) error {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	res, err := http.Get(base + "next")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, fromXRay(res.Header.Get("Lambda-Runtime-Trace-Id")))
	for name, p := range providers {
		_, span := p.Tracer("test").Start(ctx, "charge "+name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("peer.service", "bank"), attribute.Int("n", 7)))
		span.SetStatus(codes.Error, "refused")
		span.End()
		if err := p.ForceFlush(ctx); err != nil {
			return err
		}
	}
	answer, err := http.Post(base+res.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", strings.NewReader(`"charged"`))
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// fromXRay is the span that Root=1-…;Parent=…;Sampled=1 names.
func fromXRay(header string) trace.SpanContext {
	cfg := trace.SpanContextConfig{TraceFlags: trace.FlagsSampled, Remote: true}
	for part := range strings.SplitSeq(header, ";") {
		name, v, _ := strings.Cut(part, "=")
		switch name {
		case "Root":
			cfg.TraceID, _ = trace.TraceIDFromHex(strings.ReplaceAll(strings.TrimPrefix(v, "1-"), "-", ""))
		case "Parent":
			cfg.SpanID, _ = trace.SpanIDFromHex(v)
		}
	}
	return trace.NewSpanContext(cfg)
}
