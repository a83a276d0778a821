package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps what it is given.
type sink struct {
	mu     sync.Mutex
	spans  []mayfly.Span
	lines  []mayfly.LogLine
	points []telemetry.Point
}

func (s *sink) Span(v mayfly.Span)   { s.mu.Lock(); defer s.mu.Unlock(); s.spans = append(s.spans, v) }
func (s *sink) Log(v mayfly.LogLine) { s.mu.Lock(); defer s.mu.Unlock(); s.lines = append(s.lines, v) }
func (s *sink) Points(v []telemetry.Point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.points = append(s.points, v...)
}
func (s *sink) counts() (spans, lines, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.spans), len(s.lines), len(s.points)
}

var fn = mayfly.Caller{Kind: mayfly.CallerFunction, App: "shop", Function: "pay", Version: 3}

func serve(t *testing.T) (*sink, string) {
	t.Helper()
	s := &sink{}
	srv := httptest.NewUnstartedServer((&Receiver{Sink: s, Metrics: s}).Handler(fn))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func post(t *testing.T, url, kind, body string) int {
	t.Helper()
	res, err := http.Post(url, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

const (
	trace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanA  = "00f067aa0ba902b7"
	spanB  = "00f067aa0ba902b8"
	spanIn = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]},"scopeSpans":[{"spans":[
		{"traceId":"` + trace + `","spanId":"` + spanB + `","parentSpanId":"` + spanA + `","name":"charge","kind":3,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000001000000000",
		 "attributes":[{"key":"peer.service","value":{"stringValue":"bank"}},{"key":"n","value":{"intValue":"7"}}],"status":{"code":2,"message":"refused"}}]}]}]}`
	logIn = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000000","severityNumber":17,"body":{"stringValue":"it broke"},"traceId":"` + trace + `","spanId":"` + spanA + `",
		"attributes":[{"key":"order","value":{"intValue":"9"}}]}]}]}]}`
	metricIn = `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
		{"name":"orders","sum":{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[{"asInt":"5","timeUnixNano":"1700000000000000000","startTimeUnixNano":"1600000000000000000"}]}},
		{"name":"heat","gauge":{"dataPoints":[{"asDouble":1.5}]}},
		{"name":"lat","histogram":{"aggregationTemporality":1,"dataPoints":[{"count":"3","sum":6,"bucketCounts":["1","2"],"explicitBounds":[2]}]}}]}]}]}`
)

func TestJSON(t *testing.T) {
	s, at := serve(t)
	for path, body := range map[string]string{"/v1/traces": spanIn, "/v1/logs": logIn, "/v1/metrics": metricIn} {
		if code := post(t, at+path, "application/json", body); code != http.StatusOK {
			t.Errorf("%s: status %d", path, code)
		}
	}
	if len(s.spans) != 1 || len(s.lines) != 1 || len(s.points) != 6 {
		t.Fatalf("%d spans, %d lines, %d points", len(s.spans), len(s.lines), len(s.points))
	}
	got := s.spans[0]
	if got.Trace.ID != trace || got.Trace.Span != spanB || got.Trace.Parent != spanA || got.App != "shop" || got.Function != "pay" || got.Version != 3 || got.Kind != mayfly.SpanClient ||
		got.Error != "refused" || got.Attributes["peer.service"] != "bank" || got.Attributes["n"] != "7" || got.Attributes["service.name"] != "checkout" || got.End.Sub(got.Start) != time.Second {
		t.Errorf("span %+v", got)
	}
	if l := s.lines[0]; l.Level != "error" || l.TraceID != trace || l.SpanID != spanA || l.Text != `{"message":"it broke","order":9}` || l.Function != "pay" {
		t.Errorf("line %+v", l)
	}
	for _, p := range s.points {
		if p.App != "shop" || p.Function != "pay" {
			t.Errorf("point %+v", p)
		}
	}
}

func TestWrongRequests(t *testing.T) {
	s, at := serve(t)
	for _, c := range []struct{ path, kind, body string }{
		{"/v1/traces", "application/json", "{"},
		{"/v1/traces", "application/x-protobuf", "\xff\xff\xff"},
		{"/v1/traces", "text/plain", "x"},
		{"/v1/nothing", "application/json", "{}"},
	} {
		if code := post(t, at+c.path, c.kind, c.body); code/100 != 4 {
			t.Errorf("%+v: status %d", c, code)
		}
	}
	if n, m, k := s.counts(); n+m+k != 0 {
		t.Error("something was taken")
	}
}

func TestGRPC(t *testing.T) {
	s, at := serve(t)
	conn, err := grpc.NewClient(strings.TrimPrefix(at, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	td := ptrace.NewTraces()
	sp := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	sp.SetName("over grpc")
	sp.SetTraceID(traceID(trace))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := ptraceotlp.NewGRPCClient(conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(td)); err != nil {
		t.Fatal(err)
	}
	if len(s.spans) != 1 || s.spans[0].Name != "over grpc" || s.spans[0].Trace.ID != trace {
		t.Errorf("spans %+v", s.spans)
	}
}

// What one node exports, another's receiver understands.
func TestExport(t *testing.T) {
	s, at := serve(t)
	e, err := NewExporter(Export{Endpoint: at, Every: 10 * time.Millisecond, MetricsEvery: 20 * time.Millisecond, Headers: map[string]string{"X-Key": "k"},
		Metrics: func(use func(telemetry.Metric)) {
			use(telemetry.Metric{Name: "a_total", Counter: true, Value: 3, Labels: map[string]string{"x": "y"}, Start: time.Now()})
			use(telemetry.Metric{Name: "b", Value: 4})
			use(telemetry.Metric{Name: "c", Hist: &telemetry.ExpHistogram{Scale: 3, Count: 2, Sum: 9, Buckets: []uint64{1, 1}}})
		}})
	if err != nil {
		t.Fatal(err)
	}
	inv := &mayfly.Invocation{ID: "i", App: "shop", Function: "pay", Version: 1, Trace: mayfly.NewTrace(), Trigger: mayfly.TriggerQueue, Start: time.Now(), Duration: time.Second,
		Outcome: mayfly.OutcomeError, Error: &mayfly.FunctionError{Type: "E", Message: "no"}, Phases: []mayfly.Phase{{Name: mayfly.PhaseInit, Duration: time.Millisecond}}}
	e.Invocations([]*mayfly.Invocation{inv})
	e.Lines([]mayfly.LogLine{{Time: time.Now(), App: "shop", Function: "pay", Stream: mayfly.Stderr, Level: "warn", Text: "hm", Invocation: "i", TraceID: inv.Trace.ID, SpanID: inv.Trace.Span}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	waitFor(t, func() bool { spans, lines, points := s.counts(); return spans >= 2 && lines >= 1 && points >= 4 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := s.spans[0]; got.Trace.ID != inv.Trace.ID || got.Trace.Span != inv.Trace.Span || got.Kind != mayfly.SpanConsumer || got.Error != "E: no" || got.Invocation != "i" {
		t.Errorf("span %+v", got)
	}
	if got := s.lines[0]; got.Level != "warn" || got.TraceID != inv.Trace.ID || got.Invocation != "i" || !strings.Contains(got.Text, "hm") {
		t.Errorf("line %+v", got)
	}
	if h := e.Health(); h.Sent < 7 || h.Dropped != 0 || h.LastError != "" {
		t.Errorf("health %+v", h)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing after a minute")
		}
	}
}

// A collector that is down, or that refuses, costs rows and nothing else.
func TestExportIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + l.Addr().String()
	l.Close() // nobody answers there
	e, err := NewExporter(Export{Endpoint: at, Rows: 100, Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]mayfly.LogLine, 250)
	e.Lines(lines)
	if h := e.Health(); h.Waiting != 100 || h.Dropped != 150 {
		t.Errorf("health %+v", h)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	waitFor(t, func() bool { return e.Health().LastError != "" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad key", http.StatusUnauthorized) }))
	defer refusing.Close()
	e, err = NewExporter(Export{Endpoint: refusing.URL})
	if err != nil {
		t.Fatal(err)
	}
	e.Lines(lines[:10])
	e.flush(t.Context())
	e.cfg.Client.CloseIdleConnections()
	if h := e.Health(); h.Dropped != 10 || !strings.Contains(h.LastError, "bad key") {
		t.Errorf("health %+v", h)
	}
	for _, bad := range []string{"", "localhost:4318", "ftp://x"} {
		if _, err := NewExporter(Export{Endpoint: bad}); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("endpoint %q: %v", bad, err)
		}
	}
}

// Long lines wait by their bytes, and go in bodies that a collector takes.
func TestExportIsBoundedByBytes(t *testing.T) {
	var mu sync.Mutex
	largest, got := int64(0), 0
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		n, err := io.Copy(io.Discard, z)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		largest, got = max(largest, n), got+1
	}))
	defer collector.Close()
	e, err := NewExporter(Export{Endpoint: collector.URL, Bytes: 16 * mayfly.MiB})
	if err != nil {
		t.Fatal(err)
	}
	defer e.cfg.Client.CloseIdleConnections()
	lines := make([]mayfly.LogLine, 100)
	for i := range lines {
		lines[i].Text = strings.Repeat("x", 256<<10)
	}
	e.Lines(lines)
	if h := e.Health(); h.Waiting > 63 || h.Waiting < 60 || h.Dropped != int64(100-h.Waiting) {
		t.Errorf("health %+v", h)
	}
	e.Lines([]mayfly.LogLine{{Text: "short"}}) // there is room for it
	e.flush(t.Context())
	if h := e.Health(); h.Waiting != 0 || h.Sent < 61 || largest > batchBytes || got < 4 {
		t.Errorf("%+v in %d bodies, the largest of %d bytes", h, got, largest)
	}
}

func FuzzTake(f *testing.F) {
	for _, s := range []string{spanIn, logIn, metricIn} {
		f.Add([]byte(s), true)
	}
	f.Add(encodeSpans([]mayfly.Span{{Name: "x", Links: []mayfly.Trace{{ID: trace, Span: spanA}}}}, "n"), false)
	f.Fuzz(func(t *testing.T, body []byte, isJSON bool) {
		c := &caller{who: fn, Receiver: &Receiver{Sink: &sink{}, Metrics: &sink{}}}
		as := asProto
		if isJSON {
			as = asJSON
		}
		for _, take := range []func([]byte, encoding) ([]byte, error){c.traces, c.logs, c.metrics} {
			_, _ = take(bytes.Clone(body), as)
		}
	})
}

// A record may have its severity as a number, as text, or not at all.
func TestSeverity(t *testing.T) {
	for want, set := range map[string]func(plog.LogRecord){
		"warn":  func(r plog.LogRecord) { r.SetSeverityNumber(plog.SeverityNumberWarn2) },
		"ERROR": func(r plog.LogRecord) { r.SetSeverityText("ERROR") },
		"info":  func(r plog.LogRecord) { r.SetSeverityNumber(plog.SeverityNumberInfo); r.SetSeverityText("NOTICE") },
		"":      func(plog.LogRecord) {},
	} {
		r := plog.NewLogRecord()
		set(r)
		if got := (&caller{}).line(r).Level; got != want {
			t.Errorf("level %q, want %q", got, want)
		}
	}
}
