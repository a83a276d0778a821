package telemetry

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mayfly-cloud/mayfly"
)

func serve(t *testing.T, s *Store, who mayfly.Caller) string {
	t.Helper()
	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("test", "1")
	cfg.CreateHooks = nil
	s.Register(humago.New(mux, cfg))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), who)))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func get(t *testing.T, at string, out any) int {
	t.Helper()
	res, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
	}
	return res.StatusCode
}

func TestAPI(t *testing.T) {
	s := open(t, nil)
	at := serve(t, s, mayfly.Caller{Kind: mayfly.CallerAdmin})
	now := time.Now().Add(-10 * time.Second)
	ok, bad, other := call("shop", "pay", now), call("shop", "pay", now.Add(time.Millisecond)), call("blog", "post", now)
	bad.Outcome, bad.Cold, bad.Error = mayfly.OutcomeError, true, &mayfly.FunctionError{Type: "E", Message: "no"}
	other.Caller = mayfly.Caller{Kind: mayfly.CallerFunction, App: "shop", Function: "pay"}
	for _, inv := range []*mayfly.Invocation{ok, bad, other} {
		s.Invocation(inv)
		s.Log(mayfly.LogLine{Time: inv.Start, App: inv.App, Function: inv.Function, Version: 1, Stream: mayfly.Platform, Level: "info", Text: `{"msg":"paid","n":7}`, Invocation: inv.ID, TraceID: inv.Trace.ID})
	}
	s.Span(mayfly.Span{Trace: ok.Trace.Child(), Name: "put", Kind: mayfly.SpanClient, Start: now, End: now.Add(time.Millisecond), App: "shop", Function: "pay", Attributes: map[string]string{"mayfly.resource": "bucket/bills"}})

	var logs struct{ Lines []LiftedLine }
	if get(t, at+"/v1/logs?app=shop&since=1h&field="+url.QueryEscape("n=7"), &logs); len(logs.Lines) != 2 || logs.Lines[0].Message != "paid" {
		t.Errorf("logs %+v", logs)
	}
	var hist struct{ Buckets []LogBucket }
	if get(t, at+"/v1/logs/histogram?buckets=10", &hist); len(hist.Buckets) != 10 || hist.Buckets[9].Info != 3 {
		t.Errorf("histogram %+v", hist)
	}
	var calls struct{ Invocations []*mayfly.Invocation }
	if get(t, at+"/v1/invocations?app=shop&failed=true", &calls); len(calls.Invocations) != 1 || calls.Invocations[0].ID != bad.ID {
		t.Errorf("invocations %+v", calls)
	}
	var one mayfly.Invocation
	if get(t, at+"/v1/invocations/"+bad.ID, &one); one.Error == nil || one.Error.Message != "no" {
		t.Errorf("invocation %+v", one)
	}
	var traces struct{ Traces []TraceSummary }
	if get(t, at+"/v1/traces?app=shop&cold=true", &traces); len(traces.Traces) != 1 || traces.Traces[0].ID != bad.Trace.ID || !traces.Traces[0].Failed {
		t.Errorf("traces %+v", traces)
	}
	var trace TraceView
	if get(t, at+"/v1/traces/"+ok.Trace.ID, &trace); len(trace.Spans) != 2 || len(trace.Logs) != 1 {
		t.Errorf("trace %+v", trace)
	}
	var stats struct{ Functions []FunctionSummary }
	if get(t, at+"/v1/stats/functions?app=shop", &stats); len(stats.Functions) != 1 || stats.Functions[0].Calls != 2 || stats.Functions[0].Failed != 1 || stats.Functions[0].Cold != 1 ||
		stats.Functions[0].P50 < 2700*time.Microsecond || stats.Functions[0].P50 > 3300*time.Microsecond {
		t.Errorf("stats %+v", stats)
	}
	var edges struct{ Edges []MapEdge }
	get(t, at+"/v1/stats/map", &edges)
	var got []string
	for _, e := range edges.Edges {
		got = append(got, e.From+" > "+e.To)
	}
	if want := "http > shop/pay|shop/pay > blog/post|shop/pay > shop:bucket/bills"; strings.Join(got, "|") != want {
		t.Errorf("map %v, want %s", got, want)
	}
	var health StoreHealth
	if get(t, at+"/v1/telemetry", &health); health.SpanShare != 1 {
		t.Errorf("health %+v", health)
	}
	if code := get(t, at+"/v1/logs?since=yesterday", nil); code == http.StatusOK {
		t.Errorf("a wrong time was accepted")
	}
}

func TestFunctionsMayNotRead(t *testing.T) {
	s := open(t, nil)
	inv := call("shop", "pay", time.Now())
	s.Invocation(inv)
	at := serve(t, s, mayfly.Caller{Kind: mayfly.CallerFunction, App: "shop", Function: "pay"})
	for _, path := range []string{"/v1/logs?app=shop", "/v1/logs/tail", "/v1/invocations", "/v1/invocations/" + inv.ID, "/v1/traces/" + inv.Trace.ID, "/v1/live", "/v1/stats/map", "/v1/telemetry"} {
		if code := get(t, at+path, nil); code == http.StatusOK {
			t.Errorf("%s was answered", path)
		}
	}
}

// readEvents reads n data lines of a stream.
func readEvents(t *testing.T, at string, n int, started func()) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var data []string
	sc := bufio.NewScanner(res.Body)
	for len(data) < n && sc.Scan() {
		if strings.HasPrefix(sc.Text(), ": ok") && started != nil {
			started()
		}
		if d, ok := strings.CutPrefix(sc.Text(), "data: "); ok {
			data = append(data, d)
		}
	}
	if len(data) < n {
		t.Fatalf("the stream ended after %d of %d events: %v", len(data), n, sc.Err())
	}
	return data
}

func TestStreams(t *testing.T) {
	s := open(t, nil)
	run(t, s)
	at := serve(t, s, mayfly.Caller{Kind: mayfly.CallerAdmin})
	text := mayfly.LogLine{Time: time.Now(), App: "shop", Function: "pay", Stream: mayfly.Platform, Text: "first"}
	s.Log(text)
	s.drain()
	// The reader may begin to follow at any moment, so what it is to see is said
	// again and again until it has.
	stop := make(chan struct{})
	var saying sync.WaitGroup
	defer saying.Wait()
	defer close(stop)
	repeat := func(say func()) func() {
		return func() {
			saying.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
						say()
					}
				}
			})
		}
	}
	got := readEvents(t, at+"/v1/logs/tail?app=shop&lines=1", 2, repeat(func() {
		s.Log(mayfly.LogLine{Time: time.Now(), App: "blog", Function: "x", Stream: mayfly.Platform, Text: "not asked for"})
		s.Log(mayfly.LogLine{Time: time.Now(), App: "shop", Function: "pay", Stream: mayfly.Platform, Text: "second"})
	}))
	if !strings.Contains(got[1], "second") {
		t.Errorf("tail %v", got)
	}
	inv := call("shop", "pay", time.Now())
	inv.Event = []byte("secret")
	got = readEvents(t, at+"/v1/live?app=shop", 1, repeat(func() { s.Invocation(inv) }))
	if !strings.Contains(got[0], inv.ID) || strings.Contains(got[0], `"event"`) {
		t.Errorf("live %v", got)
	}
}
