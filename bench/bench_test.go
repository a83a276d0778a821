package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

func TestHistogramIsWithinTwoPercent(t *testing.T) {
	h := &histogram{}
	for i := 1; i <= 100_000; i++ {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for p, want := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond, 1: 100 * time.Millisecond} {
		got := h.quantile(p)
		if off := float64(got-want) / float64(want); off < -0.02 || off > 0.02 {
			t.Errorf("quantile %v is %v, want %v", p, got, want)
		}
	}
}

func TestBucketsMeet(t *testing.T) {
	for i := range buckets - 1 {
		if top := bucketTop(i); bucketOf(top) != i || bucketOf(top+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d; the next in %d", i, top, bucketOf(top), bucketOf(top+1))
		}
	}
}

func toy(t *testing.T, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestLoadCountsEveryReply(t *testing.T) {
	addr := toy(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			w.(http.Flusher).Flush()
			fmt.Fprint(w, strings.Repeat("x", 100_000))
		case "/error":
			http.Error(w, "no", 500)
		default:
			w.Header().Set("X-Mayfly-Cold", "true")
			fmt.Fprint(w, "ok")
		}
	})
	for path, want := range map[string]struct {
		body   int
		failed int64
	}{"/": {2, 0}, "/chunked": {100_000, 0}, "/error": {0, 40}} {
		l := load{addr: addr, request: get(path), connections: 4, requests: 10}
		if path != "/error" {
			l.accept = func(_ int, r *reply) error {
				if len(r.body) != want.body || r.cold != (path == "/") {
					return fmt.Errorf("%d bytes, cold %v", len(r.body), r.cold)
				}
				return nil
			}
		}
		out := l.run(context.Background())
		if out.requests != 40 || out.failed != want.failed || out.latency.total != uint64(40-want.failed) {
			t.Errorf("%s: %d requests, %d failed %v", path, out.requests, out.failed, out.errors)
		}
	}
}

// TestLoadCountsBrokenConnections talks to a server that hangs up on every
// second request.
func TestLoadCountsBrokenConnections(t *testing.T) {
	n := 0
	addr := toy(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n%2 == 0 {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		fmt.Fprint(w, "ok")
	})
	out := load{addr: addr, request: get("/"), connections: 1, requests: 10}.run(context.Background())
	if out.requests != 10 || out.failed != 5 {
		t.Errorf("%d requests, %d failed %v", out.requests, out.failed, out.errors)
	}
}

func TestLoadSurvivesNobodyListening(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	out := load{addr: addr, request: get("/"), connections: 2, requests: 2}.run(context.Background())
	if out.failed != 4 {
		t.Errorf("%d failed of %d", out.failed, out.requests)
	}
}

// TestSmallWasm runs the module that the benchmark assembles.
func TestSmallWasm(t *testing.T) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	for _, text := range []string{"ok", strings.Repeat("long ", 100)} {
		var out bytes.Buffer
		m, err := r.InstantiateWithConfig(ctx, smallWasm(text), wazero.NewModuleConfig().WithStdout(&out).WithName(""))
		if err != nil {
			t.Fatal(err)
		}
		m.Close(ctx)
		if out.String() != text {
			t.Errorf("wrote %q, want %q", out.String(), text)
		}
	}
}

func TestTableShowsMediansAndRatios(t *testing.T) {
	tb := &table{Name: "t", Title: "a test"}
	for _, v := range []float64{30, 10, 20} {
		tb.row("a").add("rate", "/s", v)
		tb.row("b").add("rate", "/s", 2*v)
	}
	tb.row("b").ratio("rate", tb.row("a"))
	var out bytes.Buffer
	tb.print(&out)
	tb.printMarkdown(&out)
	for _, want := range []string{"20 /s", "40 /s", "2 ×", "### a test", "| t | rate | beside peer |  |", "| a | 20 /s | - |  |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
