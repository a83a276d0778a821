package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api/client"
	"github.com/mayfly-cloud/mayfly/meter"
	"github.com/mayfly-cloud/mayfly/telemetry"
	"github.com/mayfly-cloud/mayfly/telemetry/alert"
	"github.com/mayfly-cloud/mayfly/telemetry/prom"
)

// observed is a node's telemetry with one failed cold call in it, behind its API.
func observed(t *testing.T) (*globals, *bytes.Buffer, *mayfly.Invocation) {
	t.Helper()
	dir := t.TempDir()
	store, err := telemetry.Open(telemetry.Config{Dir: filepath.Join(dir, "telemetry")})
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := prom.Open(prom.Config{Dir: filepath.Join(dir, "metrics"), Interval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := meter.Open(meter.Config{Dir: filepath.Join(dir, "meter"), Calls: store.Calls, Storage: func(context.Context) []meter.Held {
		return []meter.Held{{App: "shop", Kind: "bucket", Name: "photos", Bytes: 3 << 29}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := alert.Open(alert.Config{Dir: filepath.Join(dir, "alerts"), Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	store.Observe(metrics)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- metrics.Run(ctx) }()

	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("test", "1")
	cfg.CreateHooks = nil
	api := humago.New(mux, cfg)
	for _, part := range []interface{ Register(huma.API) }{store, ledger, alerts} {
		part.Register(api)
	}
	mux.Handle("/api/v1/", metrics.API())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), mayfly.Caller{Kind: mayfly.CallerAdmin})))
	}))
	t.Cleanup(func() {
		srv.Close()
		cancel()
		for _, err := range []error{<-done, store.Close(), ledger.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})

	inv := &mayfly.Invocation{
		ID: mayfly.NewID(), App: "shop", Function: "pay", Version: 2, Trigger: mayfly.TriggerHTTP, Route: "POST /pay", Trace: mayfly.NewTrace(), Attempt: 1, Cold: true,
		Start: time.Now().Add(-time.Second), Duration: 30 * time.Millisecond, Billed: 40 * time.Millisecond, Memory: 256 * mayfly.MiB, Outcome: mayfly.OutcomeError,
		Phases: []mayfly.Phase{{Name: mayfly.PhaseSandbox, Duration: 5 * time.Millisecond}, {Name: mayfly.PhaseInit, Duration: 10 * time.Millisecond}, {Name: mayfly.PhaseCall, Duration: 30 * time.Millisecond}},
		Error:  &mayfly.FunctionError{Type: "ValueError", Message: "no money"},
	}
	store.Invocation(inv)
	ledger.Invocation(inv)
	store.Log(mayfly.LogLine{Time: inv.Start.Add(20 * time.Millisecond), App: "shop", Function: "pay", Version: 2, Stream: mayfly.Platform, Text: "charging", Invocation: inv.ID, TraceID: inv.Trace.ID, SpanID: inv.Trace.Span})
	if _, err := store.LookupInvocation(ctx, inv.ID); err != nil { // it is counted, too, after this
		t.Fatal(err)
	}
	var out bytes.Buffer
	return &globals{out: &out, err: &out, api: srv.URL, token: "x"}, &out, inv
}

func verb(t *testing.T, cmd *cobra.Command, args ...string) error {
	t.Helper()
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cmd.ExecuteContext(t.Context())
}

// says runs a verb until it prints all that is wanted: metrics take a moment.
func says(t *testing.T, out *bytes.Buffer, make func() *cobra.Command, args []string, want ...string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		out.Reset()
		err = verb(t, make(), args...)
		missing := ""
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				missing = w
			}
		}
		if err == nil && missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%v lacks %q (error %v):\n%s", args, missing, err, out)
			return
		}
	}
}

func TestObservingVerbs(t *testing.T) {
	g, out, inv := observed(t)
	trace := func() *cobra.Command { return newTraceCmd(g) }
	says(t, out, trace, []string{inv.Trace.ID}, "shop/pay v2, cold", "FAILED: ValueError: no money", "5.0 ms", "init", "| charging")
	says(t, out, trace, []string{inv.ID}, "trace "+inv.Trace.ID)
	says(t, out, trace, []string{"--failed", "--cold", "--since", "1h"}, inv.Trace.ID, "failed, cold")
	if err := verb(t, trace(), strings.Repeat("0", 31)+"1"); err == nil {
		t.Error("an unknown trace was shown")
	}
	says(t, out, func() *cobra.Command { return newTopCmd(g) }, nil, "1 functions were called", "shop/pay", "100.0%")
	metrics := func() *cobra.Command { return newMetricsCmd(g) }
	says(t, out, metrics, nil, "faas_invocations_total", "counter")
	says(t, out, metrics, []string{"faas_invocations_total"}, `function="pay"`, "1\n")
	says(t, out, metrics, []string{"1 + 1"}, "2\n")
	says(t, out, metrics, []string{"--range", "1m", "--step", "1s", "faas_invocations_total"}, "LAST", `function="pay"`)
	cost := func() *cobra.Command { return newCostCmd(g) }
	says(t, out, cost, nil, "shop/pay", "under lambda-x86", "this month so far")
	says(t, out, cost, []string{"--by", "version", "--prices", "cloud-run", "--since", "24h"}, "shop/pay:2", "under cloud-run")
	says(t, out, cost, []string{"--by", "resource"}, "shop bucket/photos  1536MiB", "under lambda-x86", "the last hour")
	says(t, out, cost, []string{"call", inv.ID}, "1 calls, 40 ms billed", "lambda-arm")
	says(t, out, cost, []string{"prices"}, "cloudflare-workers")
	says(t, out, cost, []string{"budgets"}, "No app has a budget")
}

func TestAlertVerbs(t *testing.T) {
	g, out, _ := observed(t)
	told := make(chan struct{}, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told <- struct{}{} }))
	defer hook.Close()
	alerts := func() *cobra.Command { return newAlertCmd(g) }
	says(t, out, alerts, nil, "Nothing is wrong")
	says(t, out, alerts, []string{"rules", "--expr"}, "error-rate", "faas_errors_total", "(every)")
	says(t, out, alerts, []string{"receiver"}, "Nobody is told")
	says(t, out, alerts, []string{"receiver", "set", "ops", "--url", hook.URL, "--header", "X-Key=secret"}, "set")
	says(t, out, alerts, []string{"receiver"}, "ops", "webhook", "all alerts")
	says(t, out, alerts, []string{"receiver", "test", "ops"}, "sent")
	<-told
	g.json = true
	says(t, out, alerts, []string{"receiver"}, "********")
	g.json = false
	says(t, out, alerts, []string{"receiver", "rm", "ops"}, "removed")
	says(t, out, alerts, []string{"silence", "app=shop", "--for", "2h", "-m", "quiet"}, "silenced for 2h")
	says(t, out, alerts, []string{"silences"}, "app=shop", "quiet")
	if err := verb(t, alerts(), "silence", "nonsense"); err == nil {
		t.Error("a wrong silence was accepted")
	}
	says(t, out, alerts, []string{"test", "error-rate", "--since", "1h"}, "It would not have fired")
	says(t, out, alerts, []string{"test", "--expr", "faas_invocations_total > 0", "--since", "1m", "--step", "1s"}, "still firing", "function=pay")
	if err := verb(t, alerts(), "test"); err == nil {
		t.Error("a test of nothing was accepted")
	}
}

// A node that hangs does not keep doctor from saying what it knows.
func TestDoctorLeavesANodeThatHangs(t *testing.T) {
	g, _, _ := observed(t)
	if c, err := g.client(); err != nil || telemetryOf(t.Context(), c, time.Minute) == nil {
		t.Errorf("a node that answers is not heard: %v", err)
	}
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hangs.Close()
	if got := telemetryOf(t.Context(), &client.Client{Base: hangs.URL}, 50*time.Millisecond); got != nil {
		t.Errorf("%+v", got)
	}
}
