package prom

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// Remote says where samples are written as well, by Prometheus's remote write
// protocol, version 1, with native histograms.
type Remote struct {
	URL     string            // such as http://localhost:9090/api/v1/write; required
	Headers map[string]string // such as a credential. Default: none
	Every   time.Duration     // between two samples of each series. Default 30 s
	// Requests is how many requests of up to 2,000 series may wait while the
	// receiver is down; the oldest go first. Default 200.
	Requests int
	Client   *http.Client // default: one with a timeout of 15 s
	Log      *slog.Logger // default: discards
}

// RemoteWriter sends samples of all series until its Run ends.
type RemoteWriter struct {
	cfg     Remote
	metrics *Metrics

	mu      sync.Mutex
	waiting []remoteRequest        // guarded by mu
	health  telemetry.ExportHealth // guarded by mu
}

// remoteRequest is a packed request and how many series it has.
type remoteRequest struct {
	body   []byte
	series int
}

const remoteBatch = 2_000

// NewRemoteWriter returns a writer. It starts nothing.
func (m *Metrics) NewRemoteWriter(cfg Remote) (*RemoteWriter, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, mayfly.Errorf(mayfly.Invalid, "write metrics to a remote", "%q is not a URL such as http://localhost:9090/api/v1/write", cfg.URL)
	}
	if cfg.Every == 0 {
		cfg.Every = 30 * time.Second
	}
	if cfg.Requests == 0 {
		cfg.Requests = 200
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 15 * time.Second}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &RemoteWriter{cfg: cfg, metrics: m, health: telemetry.ExportHealth{To: "remote-write", Endpoint: cfg.URL}}, nil
}

// Run takes samples and sends them until ctx ends.
func (w *RemoteWriter) Run(ctx context.Context) error {
	defer w.cfg.Client.CloseIdleConnections()
	tick := time.NewTicker(w.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			w.take(now)
			w.send(ctx)
		}
	}
}

// Health is the writer's state now.
func (w *RemoteWriter) Health() telemetry.ExportHealth {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.health
	h.Waiting = len(w.waiting)
	return h
}

// take samples all series. Only Run's goroutine calls it.
func (w *RemoteWriter) take(now time.Time) {
	all := w.metrics.sample(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(all) > 0 {
		part := all[:min(len(all), remoteBatch)]
		all = all[len(part):]
		b, err := (&prompb.WriteRequest{Timeseries: part}).Marshal()
		if err != nil {
			w.health.Dropped += int64(len(part))
			continue
		}
		w.waiting = append(w.waiting, remoteRequest{s2.EncodeSnappy(nil, b), len(part)})
	}
	for len(w.waiting) > w.cfg.Requests {
		w.health.Dropped += int64(w.waiting[0].series)
		w.waiting = w.waiting[1:]
	}
}

// send sends what waits, in order, until it is all sent or the receiver cannot
// take more now. A request that the receiver refuses for good is dropped.
func (w *RemoteWriter) send(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		if len(w.waiting) == 0 {
			w.mu.Unlock()
			return
		}
		r := w.waiting[0]
		w.mu.Unlock()
		again, err := w.post(ctx, r.body)
		w.note(r, again, err)
		if again {
			return
		}
	}
}

// note counts what became of a request, and says once that it fails.
func (w *RemoteWriter) note(r remoteRequest, again bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.health.LastError == "" {
		w.cfg.Log.Warn("metrics cannot be written to the remote", "url", w.cfg.URL, "error", err)
	}
	w.health.LastError = ""
	if err != nil {
		w.health.LastError = err.Error()
	}
	if again {
		return
	}
	w.waiting = w.waiting[1:]
	if err != nil {
		w.health.Dropped += int64(r.series)
	} else {
		w.health.Sent += int64(r.series)
		w.health.LastSent = time.Now()
	}
}

// post sends one request. again says that it may be taken later.
func (w *RemoteWriter) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	for name, v := range map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "User-Agent": "mayfly", "X-Prometheus-Remote-Write-Version": "0.1.0"} {
		req.Header.Set(name, v)
	}
	for name, v := range w.cfg.Headers {
		req.Header.Set(name, v)
	}
	res, err := w.cfg.Client.Do(req)
	if err != nil {
		return true, err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
	if res.StatusCode/100 == 2 {
		return false, nil
	}
	return res.StatusCode/100 == 5 || res.StatusCode == http.StatusTooManyRequests, fmt.Errorf("it answered %s: %s", res.Status, bytes.TrimSpace(text))
}

// sample is the value of every series now.
func (m *Metrics) sample(now time.Time) []prompb.TimeSeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect(now)
	t := m.clock.at(now).UnixMilli()
	out := make([]prompb.TimeSeries, 0, m.live)
	for _, f := range m.families {
		for _, s := range f.series {
			ts := prompb.TimeSeries{}
			s.labels.Range(func(l labels.Label) { ts.Labels = append(ts.Labels, prompb.Label{Name: l.Name, Value: l.Value}) })
			if s.hist != nil {
				ts.Histograms = []prompb.Histogram{prompb.FromIntHistogram(t, s.hist.native())}
			} else {
				ts.Samples = []prompb.Sample{{Value: s.value, Timestamp: t}}
			}
			out = append(out, ts)
		}
	}
	return out
}
