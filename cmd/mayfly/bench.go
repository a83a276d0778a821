package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

// load is what bench sends, and for how long.
type load struct {
	url, method string
	body        []byte
	header      http.Header
	connections int
	duration    time.Duration
	requests    int // in all; 0 for as many as fit into duration
}

// benchResult is what came of a load. Latencies are in milliseconds, from
// sending a request to the end of its reply.
type benchResult struct {
	URL         string             `json:"url"`
	Connections int                `json:"connections"`
	Seconds     float64            `json:"seconds"`
	Requests    int                `json:"requests"`
	PerSecond   float64            `json:"requests_per_second"`
	Bytes       int64              `json:"bytes"`
	Cold        int                `json:"cold"`
	Statuses    map[int]int        `json:"statuses"`
	Errors      map[string]int     `json:"errors,omitempty"`
	Latency     map[string]float64 `json:"latency_ms"`
}

func newBenchCmd(g *globals) *cobra.Command {
	var l load
	var data, event string
	var headers []string
	cmd := &cobra.Command{
		Use:   "bench URL",
		Short: "Send load to a URL and tell throughput and latency",
		Long: `Sends requests over a number of connections, each the next one as soon as it
has the reply to the last, and tells throughput, latency and how many calls
were cold. It exits with 1 where a request had no reply or one of 500 or above.`,
		Example: `  mayfly bench http://127.0.0.1:8080/python/ada
  mayfly bench http://127.0.0.1:8080/_fn/hello/node -d '{}' -H "Authorization: Bearer $MAYFLY_TOKEN" --duration 30s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.url = args[0]
			if err := l.complete(g, data, event, headers); err != nil {
				return err
			}
			r := l.run(cmd.Context())
			if err := g.print(r, r.write); err != nil {
				return err
			}
			if r.failed() {
				return exitStatus(1)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVarP(&l.connections, "connections", "c", 32, "requests in flight")
	f.DurationVar(&l.duration, "duration", 10*time.Second, "how long")
	f.IntVarP(&l.requests, "requests", "n", 0, "end after this many requests")
	f.StringVarP(&l.method, "method", "X", "", "default GET, with a body POST")
	f.StringVarP(&data, "data", "d", "", "the body")
	f.StringVar(&event, "event", "", "a file with a JSON body, - for standard input")
	f.StringArrayVarP(&headers, "header", "H", nil, `a header, "Name: value"; may be repeated`)
	cmd.MarkFlagsMutuallyExclusive("data", "event")
	return cmd
}

func (l *load) complete(g *globals, data, event string, headers []string) error {
	u, err := url.Parse(l.url)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return usageError{fmt.Errorf("%q is no URL to send requests to; write it whole: http://127.0.0.1:8080/path", l.url)}
	}
	if l.connections < 1 || l.duration <= 0 || l.requests < 0 {
		return usageError{fmt.Errorf("--connections and --duration must be above 0, --requests not below")}
	}
	l.header = http.Header{}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return usageError{fmt.Errorf(`the header %q has no colon; write it as "Name: value"`, h)}
		}
		l.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	l.body = []byte(data)
	if event != "" {
		if l.body, err = g.eventBody("", event); err != nil {
			return err
		}
	}
	if len(l.body) > 0 && l.header.Get("Content-Type") == "" {
		l.header.Set("Content-Type", "application/json")
	}
	if l.method == "" {
		l.method = http.MethodGet
		if len(l.body) > 0 {
			l.method = http.MethodPost
		}
	}
	return nil
}

// tally is what one connection saw.
type tally struct {
	took     []time.Duration
	statuses map[int]int
	errors   map[string]int
	cold     int
	bytes    int64
}

// run sends the load until it is done or ctx ends.
func (l *load) run(ctx context.Context) *benchResult {
	ctx, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()
	transport := &http.Transport{MaxIdleConnsPerHost: l.connections, MaxConnsPerHost: l.connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

	tickets := l.tickets(ctx)
	tallies := make([]tally, l.connections)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range tallies {
		wg.Go(func() {
			t := &tallies[i]
			t.statuses, t.errors = map[int]int{}, map[string]int{}
			for range tickets {
				l.send(ctx, client, t)
			}
		})
	}
	wg.Wait()
	return l.sum(tallies, time.Since(start))
}

// tickets gives one value for each request to send, and is closed when the load
// ends.
func (l *load) tickets(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, l.connections)
	go func() {
		defer close(out)
		for n := 0; l.requests == 0 || n < l.requests; n++ {
			select {
			case out <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// send sends one request; what the end of the load cuts off is not counted.
func (l *load) send(ctx context.Context, client *http.Client, t *tally) {
	if ctx.Err() != nil {
		return
	}
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, l.method, l.url, bytes.NewReader(l.body))
	if err != nil {
		t.errors[err.Error()]++
		return
	}
	req.Header = l.header.Clone()
	res, err := client.Do(req)
	var n int64
	if err == nil {
		n, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		t.errors[err.Error()]++
	default:
		t.took = append(t.took, time.Since(start))
		t.statuses[res.StatusCode]++
		t.bytes += n
		if res.Header.Get("X-Mayfly-Cold") != "" {
			t.cold++
		}
	}
}

func (l *load) sum(tallies []tally, spent time.Duration) *benchResult {
	r := &benchResult{URL: l.url, Connections: l.connections, Seconds: spent.Seconds(), Statuses: map[int]int{}, Errors: map[string]int{}, Latency: map[string]float64{}}
	var took []time.Duration
	for _, t := range tallies {
		took = append(took, t.took...)
		r.Cold, r.Bytes = r.Cold+t.cold, r.Bytes+t.bytes
		for status, n := range t.statuses {
			r.Statuses[status] += n
		}
		for text, n := range t.errors {
			r.Errors[text] += n
		}
	}
	slices.Sort(took)
	r.Requests = len(took)
	if r.Requests == 0 {
		return r
	}
	r.PerSecond = float64(r.Requests) / spent.Seconds()
	for name, share := range percentiles {
		i := min(len(took)-1, int(share*float64(len(took))))
		r.Latency[name] = float64(took[i]) / float64(time.Millisecond)
	}
	return r
}

var percentiles = map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1}

func (r *benchResult) write(w io.Writer) {
	fmt.Fprintf(w, "%s, %d connections, %.1f s\n", r.URL, r.Connections, r.Seconds)
	fmt.Fprintf(w, "  requests  %d, %.0f/s, %s of replies, %d cold\n", r.Requests, r.PerSecond, mayfly.Bytes(r.Bytes), r.Cold)
	if r.Requests > 0 {
		fmt.Fprintf(w, "  latency   p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n", r.Latency["p50"], r.Latency["p90"], r.Latency["p99"], r.Latency["max"])
	}
	for _, status := range slices.Sorted(maps.Keys(r.Statuses)) {
		fmt.Fprintf(w, "  %d       %d\n", status, r.Statuses[status])
	}
	for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "  %d times  %s\n", r.Errors[text], text)
	}
}

func (r *benchResult) failed() bool {
	for status := range r.Statuses {
		if status >= 500 {
			return true
		}
	}
	return len(r.Errors) > 0 || r.Requests == 0
}
