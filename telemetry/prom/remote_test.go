package prom

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"

	"github.com/mayfly-cloud/mayfly"
)

// A receiver that is down gets the samples when it is up again, as far as they
// were kept; what it refuses for good is dropped and counted.
func TestRemoteWrite(t *testing.T) {
	m := open(t, t.TempDir(), nil)
	m.Invocations([]*mayfly.Invocation{call("pay", 0, mayfly.OutcomeOK), call("pay", 1, mayfly.OutcomeError)})
	var status atomic.Int64
	got := make(chan *prompb.WriteRequest, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := int(status.Load()); code != http.StatusOK {
			w.WriteHeader(code)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err == nil {
			b, err = s2.Decode(nil, b)
		}
		var req prompb.WriteRequest
		if err == nil {
			err = req.Unmarshal(b)
		}
		if err != nil || r.Header.Get("X-Scope-OrgID") != "t1" {
			t.Errorf("request: %v, header %q", err, r.Header.Get("X-Scope-OrgID"))
		}
		got <- &req
	}))
	defer s.Close()
	w, err := m.NewRemoteWriter(Remote{URL: s.URL, Headers: map[string]string{"X-Scope-OrgID": "t1"}, Requests: 2, Client: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	round := func(code int) {
		status.Store(int64(code))
		now = now.Add(time.Minute)
		w.take(now)
		w.send(t.Context())
	}
	for range 3 {
		round(http.StatusServiceUnavailable)
	}
	if h := w.Health(); h.Sent != 0 || h.Dropped == 0 || h.Waiting != 2 || h.LastError == "" {
		t.Errorf("while it is down: %d sent, %d dropped, %d waiting", h.Sent, h.Dropped, h.Waiting)
	}
	round(http.StatusOK)
	if h := w.Health(); h.Sent == 0 || h.Waiting != 0 || h.LastError != "" || len(got) != 2 {
		t.Errorf("when it is up: %d sent, %d waiting, %d arrived", h.Sent, h.Waiting, len(got))
	}
	counts, hists := 0, 0
	for _, ts := range (<-got).Timeseries {
		name := ""
		for _, l := range ts.Labels {
			if l.Name == "__name__" {
				name = l.Value
			}
		}
		switch {
		case name == "faas_invocations_total" && len(ts.Samples) == 1 && ts.Samples[0].Value == 2:
			counts++
		case name == "faas_invoke_duration_seconds" && len(ts.Histograms) == 1 && ts.Histograms[0].GetCountInt() == 2:
			hists++
		}
	}
	if counts != 1 || hists != 1 {
		t.Errorf("%d counters and %d histograms arrived whole", counts, hists)
	}
	before := w.Health().Dropped
	round(http.StatusBadRequest)
	if h := w.Health(); h.Dropped <= before || h.Waiting != 0 {
		t.Errorf("refused: %d dropped, %d waiting", h.Dropped, h.Waiting)
	}
	if _, err := m.NewRemoteWriter(Remote{URL: "nonsense"}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a wrong URL: %v", err)
	}
}
