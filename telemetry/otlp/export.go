package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// Export says where telemetry is sent.
type Export struct {
	// Endpoint is the collector's base, such as http://localhost:4318; signals go
	// to /v1/traces, /v1/logs and /v1/metrics below it. Required.
	Endpoint string
	Headers  map[string]string // such as an API key. Default: none
	Log      *slog.Logger      // default: discards

	// Rows and Bytes are how much of a signal may wait. Default 20,000 and 32 MiB.
	Rows  int
	Bytes mayfly.Bytes
	// Every is how long rows wait for more. Default 2 s.
	Every time.Duration
	// Metrics are the series to send. Default: none are sent.
	Metrics func(use func(telemetry.Metric))
	// MetricsEvery is the time between two sends of them. Default 30 s.
	MetricsEvery time.Duration
	Node         string       // service.instance.id of what is sent. Default: empty
	Client       *http.Client // default: one with a timeout of 15 s
}

// WithDefaults fills what was not said.
func (e Export) WithDefaults() Export {
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Rows == 0 {
		e.Rows = 20_000
	}
	if e.Bytes == 0 {
		e.Bytes = 32 * mayfly.MiB
	}
	if e.Every == 0 {
		e.Every = 2 * time.Second
	}
	if e.MetricsEvery == 0 {
		e.MetricsEvery = 30 * time.Second
	}
	if e.Client == nil {
		e.Client = &http.Client{Timeout: 15 * time.Second}
	}
	return e
}

// Exporter sends what it observes. Its methods may be called concurrently.
type Exporter struct {
	cfg    Export
	base   string
	wake   chan struct{}
	mu     sync.Mutex
	spans  waiting[mayfly.Span]    // guarded by mu
	lines  waiting[mayfly.LogLine] // guarded by mu
	health telemetry.ExportHealth  // guarded by mu
}

var _ telemetry.Observer = (*Exporter)(nil)

const (
	maxBatch     = 2_000   // rows
	batchBytes   = 4 << 20 // bytes of rows in a batch, but for a single one: collectors take so much
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 30 * time.Second
	maxAttempts  = 6 // of one batch
)

// NewExporter returns an exporter. It starts nothing.
func NewExporter(cfg Export) (*Exporter, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, mayfly.Errorf(mayfly.Invalid, "export telemetry", "endpoint %q is not a URL such as http://localhost:4318", cfg.Endpoint)
	}
	e := &Exporter{cfg: cfg.WithDefaults(), base: strings.TrimSuffix(cfg.Endpoint, "/"), wake: make(chan struct{}, 1), health: telemetry.ExportHealth{To: "otlp", Endpoint: cfg.Endpoint}}
	e.spans.size, e.lines.size = telemetry.SizeOfSpan, telemetry.SizeOfLine
	return e, nil
}

// Invocations takes records, whose spans are sent.
func (e *Exporter) Invocations(rows []*mayfly.Invocation) {
	spans := make([]mayfly.Span, 0, 4*len(rows))
	for _, inv := range rows {
		spans = append(spans, telemetry.CallSpans(inv)...)
	}
	e.Spans(spans)
}

// Spans takes spans.
func (e *Exporter) Spans(rows []mayfly.Span) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health.Dropped += int64(e.spans.put(rows, e.cfg.Rows, int64(e.cfg.Bytes)))
	e.ring(e.spans.batch())
}

// Lines takes lines.
func (e *Exporter) Lines(rows []mayfly.LogLine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health.Dropped += int64(e.lines.put(rows, e.cfg.Rows, int64(e.cfg.Bytes)))
	e.ring(e.lines.batch())
}

// ring wakes Run before its time when a batch is full.
func (e *Exporter) ring(full bool) {
	if full {
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

// Health is the exporter's state now.
func (e *Exporter) Health() telemetry.ExportHealth {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.health
	h.Waiting = len(e.spans.rows) + len(e.lines.rows)
	return h
}

// grace is how long the last sends may take after Run was told to end.
const grace = 3 * time.Second

// lingering is ctx, ended a little later, so that a request which is on its way
// arrives.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return late, func() { stop(); cancel() }
}

// Run sends until ctx ends, and then what is left.
func (e *Exporter) Run(ctx context.Context) error {
	late, cancel := lingering(ctx)
	defer cancel()
	tick, metrics := time.NewTicker(e.cfg.Every), time.NewTicker(e.cfg.MetricsEvery)
	defer tick.Stop()
	defer metrics.Stop()
	defer e.cfg.Client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			e.sendMetrics(late)
			e.flush(late)
			return nil
		case <-metrics.C:
			e.sendMetrics(late)
		case <-tick.C:
			e.flush(late)
		case <-e.wake:
			e.flush(late)
		}
	}
}

// flush sends all that waits.
func (e *Exporter) flush(ctx context.Context) {
	for ctx.Err() == nil {
		spans, lines := e.takeBatch()
		if len(spans)+len(lines) == 0 {
			return
		}
		if len(spans) > 0 {
			e.send(ctx, "/v1/traces", len(spans), encodeSpans(spans, e.cfg.Node))
		}
		if len(lines) > 0 {
			e.send(ctx, "/v1/logs", len(lines), encodeLines(lines, e.cfg.Node))
		}
	}
}

func (e *Exporter) takeBatch() (spans []mayfly.Span, lines []mayfly.LogLine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spans.take(), e.lines.take()
}

func (e *Exporter) sendMetrics(ctx context.Context) {
	if e.cfg.Metrics == nil {
		return
	}
	var all []telemetry.Metric
	e.cfg.Metrics(func(m telemetry.Metric) { all = append(all, m) })
	for len(all) > 0 && ctx.Err() == nil {
		n := min(len(all), maxBatch)
		e.send(ctx, "/v1/metrics", n, encodeMetrics(all[:n], e.cfg.Node, time.Now()))
		all = all[n:]
	}
}

// send posts a body until it is taken, refused for good, or tried often enough.
func (e *Exporter) send(ctx context.Context, path string, rows int, body []byte) {
	wait := firstBackoff
	for attempt := 1; ; attempt++ {
		again, err := e.post(ctx, path, body)
		e.note(rows, err, err != nil && (!again || attempt == maxAttempts || ctx.Err() != nil))
		if err == nil || !again || attempt == maxAttempts {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastBackoff)
	}
}

func (e *Exporter) note(rows int, err error, lost bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		if e.health.LastError != "" {
			e.cfg.Log.Info("telemetry is exported again", "endpoint", e.cfg.Endpoint)
		}
		e.health.Sent += int64(rows)
		e.health.LastError, e.health.LastSent = "", time.Now()
		return
	case e.health.LastError == "":
		e.cfg.Log.Warn("telemetry cannot be exported", "endpoint", e.cfg.Endpoint, "error", err)
	}
	e.health.LastError = err.Error()
	if lost {
		e.health.Dropped += int64(rows)
	}
}

// post sends one request and says whether another may succeed.
func (e *Exporter) post(ctx context.Context, path string, body []byte) (again bool, err error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(body); err != nil {
		return false, err
	}
	if err := z.Close(); err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.base+path, &packed)
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	for k, v := range e.cfg.Headers {
		req.Header.Set(k, v)
	}
	res, err := e.cfg.Client.Do(req)
	if err != nil {
		return true, err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if res.StatusCode/100 == 2 {
		return false, nil
	}
	again = res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500
	return again, fmt.Errorf("%s%s: %s: %s", e.base, path, res.Status, bytes.TrimSpace(text))
}
