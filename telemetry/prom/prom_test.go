package prom

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	promapi "github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns metrics whose database is open and whose samples the test takes.
func open(t testing.TB, dir string, change func(*Config)) *Metrics {
	t.Helper()
	cfg := Config{Dir: dir, Interval: time.Hour}
	if change != nil {
		change(&cfg)
	}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db, err := m.openDB()
	if err != nil {
		t.Fatal(err)
	}
	m.db.Store(db)
	t.Cleanup(func() {
		if m.db.Load() != nil {
			m.closeDB(db)
		}
	})
	return m
}

func call(function string, i int, outcome mayfly.Outcome) *mayfly.Invocation {
	inv := &mayfly.Invocation{
		ID: mayfly.NewID(), App: "shop", Function: mayfly.FunctionName(function), Version: 1, Trigger: mayfly.TriggerHTTP, Trace: mayfly.NewTrace(), Attempt: 1,
		Start: time.Now(), Duration: time.Duration(1+i%100) * time.Millisecond, Billed: 100 * time.Millisecond, Memory: 256 * mayfly.MiB, MemoryPeak: 40 * mayfly.MiB,
		CPU: time.Millisecond, Outcome: outcome, BytesIn: 10, BytesOut: 20, Cold: i%50 == 0,
	}
	if inv.Cold {
		inv.Phases = []mayfly.Phase{{Name: mayfly.PhaseQueue, Duration: time.Millisecond}, {Name: mayfly.PhaseSandbox, Duration: 5 * time.Millisecond}, {Name: mayfly.PhaseInit, Duration: 10 * time.Millisecond}}
	}
	return inv
}

// A real Prometheus client reads what calls left.
func TestPrometheusClient(t *testing.T) {
	m := open(t, t.TempDir(), nil)
	m.Collect("mayfly_instances", "Instances.", false, []string{"state"}, func(emit func(float64, ...string)) { emit(3, "idle"); emit(1, "busy") })
	begin := time.Now().Add(-10 * time.Minute)
	for step := range 11 {
		for i := range 100 {
			outcome := mayfly.OutcomeOK
			if i%10 == 0 {
				outcome = mayfly.OutcomeError
			}
			m.Invocations([]*mayfly.Invocation{call("pay", i, outcome)})
		}
		if err := m.Scrape(t.Context(), begin.Add(time.Duration(step)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	api, now := client(t, m), begin.Add(10*time.Minute)
	for expr, want := range map[string]float64{
		`sum(faas_invocations_total)`: 1100,
		`faas_errors_total{app="shop",function="pay",version="1",trigger="http"}`:                 110,
		`sum(increase(faas_invocations_total[5m]))`:                                               500,
		`histogram_quantile(0.5, sum(rate(faas_invoke_duration_seconds[5m])))`:                    0.050,
		`histogram_count(faas_invoke_duration_seconds)`:                                           1100,
		`mayfly_coldstart_phase_seconds_total{phase="init"}`:                                      0.22,
		`mayfly_instances{state="idle"}`:                                                          3,
		`sum(rate(faas_errors_total[5m])) / sum(rate(faas_invocations_total[5m]))`:                0.1,
		`histogram_sum(faas_init_duration_seconds) / histogram_count(faas_init_duration_seconds)`: 0.015,
	} {
		v, _, _, err := api.Query(t.Context(), expr, now)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		vec, ok := v.(model.Vector)
		if !ok || len(vec) != 1 || math.Abs(float64(vec[0].Value)-want) > want*0.06 {
			t.Errorf("%s: %v, want %v", expr, v, want)
		}
	}
	testReadAPI(t, api, begin, now)
}

func testReadAPI(t *testing.T, api v1.API, begin, now time.Time) {
	t.Helper()
	v, _, _, err := api.QueryRange(t.Context(), `rate(faas_invocations_total[2m])`, v1.Range{Start: begin.Add(2 * time.Minute), End: now, Step: time.Minute})
	if m, ok := v.(model.Matrix); err != nil || !ok || len(m) != 1 || len(m[0].Values) != 9 {
		t.Errorf("range: %v %v", v, err)
	}
	series, _, _, err := api.Series(t.Context(), []string{`{__name__=~"faas_.*"}`}, begin, now)
	if err != nil || len(series) < 10 {
		t.Errorf("series: %d %v", len(series), err)
	}
	names, _, _, err := api.LabelNames(t.Context(), nil, begin, now)
	if err != nil || fmt.Sprint(names) != "__name__, app, function, phase, state, trigger, version" {
		t.Errorf("labels: %v %v", names, err)
	}
	values, _, _, err := api.LabelValues(t.Context(), "function", nil, begin, now)
	if err != nil || len(values) != 1 || values[0] != "pay" {
		t.Errorf("label values: %v %v", values, err)
	}
	meta, err := api.Metadata(t.Context(), "faas_invocations_total", "")
	if err != nil || meta["faas_invocations_total"][0].Type != v1.MetricTypeCounter {
		t.Errorf("metadata: %v %v", meta, err)
	}
	exemplars, err := api.QueryExemplars(t.Context(), `faas_invoke_duration_seconds`, now.Add(-time.Hour), now.Add(time.Hour))
	if err != nil || len(exemplars) != 1 || len(exemplars[0].Exemplars) == 0 || exemplars[0].Exemplars[0].Labels["trace_id"] == "" {
		t.Errorf("exemplars: %+v %v", exemplars, err)
	}
	if _, err := api.Rules(t.Context(), nil); err != nil {
		t.Errorf("rules: %v", err)
	}
	if _, err := api.Alerts(t.Context()); err != nil {
		t.Errorf("alerts: %v", err)
	}
	if b, err := api.Buildinfo(t.Context()); err != nil || b.Version == "" {
		t.Errorf("buildinfo: %v %v", b, err)
	}
	if _, _, _, err := api.Query(t.Context(), `sum(`, now); err == nil || !strings.Contains(err.Error(), "bad_data") {
		t.Errorf("a wrong query: %v", err)
	}
}

func client(t *testing.T, m *Metrics) v1.API {
	t.Helper()
	srv := httptest.NewServer(asAdmin(m.API()))
	t.Cleanup(srv.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := promapi.NewClient(promapi.Config{Address: srv.URL, RoundTripper: transport})
	if err != nil {
		t.Fatal(err)
	}
	return v1.NewAPI(c)
}

func asAdmin(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), mayfly.Caller{Kind: mayfly.CallerAdmin})))
	})
}

func TestNothingIsAnEmptyList(t *testing.T) {
	srv := httptest.NewServer(asAdmin(open(t, t.TempDir(), nil).API()))
	defer srv.Close()
	for _, path := range []string{"query?query=absent_metric", "query_range?query=absent_metric&start=0&end=60&step=10"} {
		res, err := http.Get(srv.URL + "/api/v1/" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !strings.Contains(string(body), `"result":[]`) {
			t.Errorf("%s: %s", path, body)
		}
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, nil)
	m.Invocations([]*mayfly.Invocation{call("pay", 1, mayfly.OutcomeOK)})
	at := time.Now()
	if err := m.Scrape(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	m.closeDB(m.db.Load())
	m = open(t, dir, nil)
	got, err := m.Query(t.Context(), "faas_invocations_total", at)
	if err != nil || len(got) != 1 || got[0].Value != 1 || got[0].Labels["function"] != "pay" {
		t.Errorf("%v %v", got, err)
	}
}

func TestRunOpensAndCloses(t *testing.T) {
	m, err := Open(Config{Dir: t.TempDir(), Interval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Query(t.Context(), "1", time.Now()); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("before Run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); ; {
		got, err := m.Query(t.Context(), "mayfly_metric_series", time.Now())
		if err == nil && len(got) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no sample after a minute: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestText(t *testing.T) {
	m := open(t, t.TempDir(), nil)
	for i := range 100 {
		m.Invocations([]*mayfly.Invocation{call("pay", i, mayfly.OutcomeOK)})
	}
	srv := httptest.NewServer(asAdmin(m))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	m.WriteText(&b)
	for _, want := range []string{
		"# TYPE faas_invocations_total counter\nfaas_invocations_total{app=\"shop\",function=\"pay\",trigger=\"http\",version=\"1\"} 100\n",
		`faas_invoke_duration_seconds_bucket{app="shop",function="pay",trigger="http",version="1",le="0.0078125"} 7` + "\n",
		`faas_invoke_duration_seconds_bucket{app="shop",function="pay",trigger="http",version="1",le="+Inf"} 100` + "\n",
		`faas_invoke_duration_seconds_count{app="shop",function="pay",trigger="http",version="1"} 100` + "\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(b.String())
	}
}

func TestOthersMayNotRead(t *testing.T) {
	m := open(t, t.TempDir(), nil)
	for _, h := range []http.Handler{m, m.API()} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/query?query=1", nil))
		if w.Code != http.StatusForbidden {
			t.Errorf("status %d", w.Code)
		}
	}
}

func TestCardinalityIsBounded(t *testing.T) {
	m := open(t, t.TempDir(), func(c *Config) { c.Series, c.CustomSeries = 200, 50 })
	var points []telemetry.Point
	for i := range 1000 {
		points = append(points, telemetry.Point{App: "shop", Function: "pay", Name: "my.metric", Labels: map[string]string{"user": mayfly.NewID()}, Value: float64(i)})
	}
	points = append(points, telemetry.Point{App: "shop", Name: "faas_invocations_total", Kind: telemetry.PointDelta, Value: 1e9})
	m.Points(points)
	if n := len(m.families["my_metric"].series); n != 50 {
		t.Errorf("%d series of one app's own, want 50", n)
	}
	for i := range 1000 {
		inv := call("pay", 1, mayfly.OutcomeOK)
		inv.Version = i
		m.Invocations([]*mayfly.Invocation{inv})
	}
	if m.live > 200 || m.refused == 0 {
		t.Errorf("%d live, %v refused", m.live, m.refused)
	}
	// What is not used any more makes room.
	at := time.Now().Add(2 * forget)
	if err := m.Scrape(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if m.live > 10 || len(m.calls) != 0 || m.custom["shop"] != 0 {
		t.Errorf("%d live, %d keys, %d custom after a rest", m.live, len(m.calls), m.custom["shop"])
	}
	m.Invocations([]*mayfly.Invocation{call("pay", 1, mayfly.OutcomeOK)})
	if f := m.families["faas_invocations_total"]; f == nil || len(f.series) != 1 {
		t.Error("a call after a rest is not counted")
	}
}

func TestCustomMetrics(t *testing.T) {
	m := open(t, t.TempDir(), nil)
	point := func(k telemetry.PointKind, stream string, v float64) telemetry.Point {
		return telemetry.Point{App: "shop", Function: "pay", Name: map[telemetry.PointKind]string{telemetry.PointGauge: "temperature", telemetry.PointDelta: "orders", telemetry.PointCumulative: "bytes.total"}[k], Kind: k, Stream: stream, Value: v, Labels: map[string]string{"region": "eu"}}
	}
	m.Points([]telemetry.Point{
		point(telemetry.PointGauge, "", 20), point(telemetry.PointGauge, "", 21),
		point(telemetry.PointDelta, "", 2), point(telemetry.PointDelta, "", 3),
		point(telemetry.PointCumulative, "i-1", 10), point(telemetry.PointCumulative, "i-2", 5), point(telemetry.PointCumulative, "i-1", 15), point(telemetry.PointCumulative, "i-2", 1), // i-2 began anew
	})
	m.Lines([]mayfly.LogLine{{App: "shop", Function: "pay", Text: `{"_aws":{"CloudWatchMetrics":[{"Namespace":"n","Dimensions":[["tier"]],"Metrics":[{"Name":"latency","Unit":"ms"}]}]},"tier":"gold","latency":[4,6]}`}})
	if err := m.Scrape(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]float64{
		`temperature{app="shop",function="pay",region="eu"}`: 21,
		`orders`: 5, `bytes_total`: 21, `latency_sum{tier="gold"} / latency_count`: 5,
	} {
		got, err := m.Query(t.Context(), expr, time.Now().Add(time.Second))
		if expr == `latency_sum{tier="gold"} / latency_count` {
			got, err = m.Query(t.Context(), `latency_sum{tier="gold"} / ignoring(x) latency_count`, time.Now().Add(time.Second))
		}
		if err != nil || len(got) != 1 || got[0].Value != want {
			t.Errorf("%s: %v %v, want %v", expr, got, err, want)
		}
	}
}

// What functions report of one metric in parts is one metric to those who read
// the text and the metadata.
func TestPartsAreOneMetric(t *testing.T) {
	m := open(t, t.TempDir(), nil)
	point := func(name, le string, v float64) telemetry.Point {
		p := telemetry.Point{App: "shop", Function: "pay", Name: name, Kind: telemetry.PointDelta, Value: v, Help: "Amounts.", Labels: map[string]string{"region": "eu"}}
		if le != "" {
			p.Labels["le"] = le
		}
		return p
	}
	m.Points([]telemetry.Point{
		point("amount_bucket", "+Inf", 7), point("amount_bucket", "10", 5), point("amount_bucket", "5", 2), point("amount_bucket", "100", 6), point("amount_sum", "", 300), point("amount_count", "", 7),
		point("orders", "", 3), point("lone_count", "", 1),
	})
	m.Lines([]mayfly.LogLine{{App: "shop", Function: "pay", Text: `{"_aws":{"CloudWatchMetrics":[{"Dimensions":[["tier"],["tier","zone"]],"Metrics":[{"Name":"latency"}]}]},"tier":"gold","zone":"a","latency":4}`}})
	var text strings.Builder
	m.WriteText(&text)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	if h := families["amount"]; h.GetType().String() != "HISTOGRAM" || h.GetHelp() != "Amounts." || h.Metric[0].Histogram.GetSampleCount() != 7 || len(h.Metric[0].Histogram.Bucket) != 4 || h.Metric[0].Histogram.Bucket[0].GetUpperBound() != 5 {
		t.Errorf("histogram: %v", h)
	}
	if s := families["latency"]; s.GetType().String() != "SUMMARY" || s.Metric[0].Summary.GetSampleSum() != 4 || len(s.Metric[0].Label) != 4 {
		t.Errorf("summary: %v", s)
	}
	for name, kind := range map[string]string{"orders": "COUNTER", "lone_count": "COUNTER"} {
		if f := families[name]; f == nil || f.GetType().String() != kind {
			t.Errorf("%s: %v", name, f)
		}
	}
	about := func(query string) (out struct {
		Status string
		Data   map[string][]metadata
	}) {
		w := httptest.NewRecorder()
		m.API().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/"+query, nil).WithContext(mayfly.WithCaller(t.Context(), mayfly.Caller{Kind: mayfly.CallerAdmin})))
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Errorf("%s: %v", query, err)
		}
		return out
	}
	if d := about("metadata?metric=amount").Data; len(d) != 1 || d["amount"][0].Type != exphist {
		t.Errorf("metadata: %v", d)
	}
	if d := about("metadata?limit=2").Data; len(d) != 2 {
		t.Errorf("two metrics: %v", d)
	}
	for _, bad := range []string{"metadata?limit=x", "rules?type=some", "nothing"} {
		if s := about(bad).Status; s != "error" {
			t.Errorf("%s: %q", bad, s)
		}
	}
}

func BenchmarkInvocations(b *testing.B) {
	m := open(b, b.TempDir(), nil)
	rows := make([]*mayfly.Invocation, 100)
	for i := range rows {
		rows[i] = call("pay", i, mayfly.OutcomeOK)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Invocations(rows)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rows)), "ns/call")
}

// BenchmarkIdleMemory is what an open and empty database holds.
func BenchmarkIdleMemory(b *testing.B) {
	m := open(b, b.TempDir(), nil)
	if err := m.Scrape(context.Background(), time.Now()); err != nil {
		b.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("needs /proc")
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") {
			b.Log(strings.TrimSpace(line))
		}
	}
}
