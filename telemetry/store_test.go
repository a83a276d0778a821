package telemetry

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, change func(*Config)) *Store {
	t.Helper()
	cfg := Config{Dir: t.TempDir()}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// run runs the store until the test ends.
func run(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// call is a record of a call that succeeded.
func call(app, function string, start time.Time) *mayfly.Invocation {
	return &mayfly.Invocation{
		ID: mayfly.NewID(), App: mayfly.AppName(app), Function: mayfly.FunctionName(function), Version: 1, Trigger: mayfly.TriggerHTTP,
		Route: "GET /x", Trace: mayfly.NewTrace(), Attempt: 1, Start: start, Duration: 3 * time.Millisecond, Billed: 3 * time.Millisecond,
		Memory: 256 * mayfly.MiB, Outcome: mayfly.OutcomeOK, Status: 200,
	}
}

func TestTraceJoinsSpansLinesAndCalls(t *testing.T) {
	s := open(t, nil)
	inv := call("photos", "thumb", time.Now())
	inv.Cold, inv.Phases = true, []mayfly.Phase{{Name: mayfly.PhaseSandbox, Duration: time.Millisecond}, {Name: mayfly.PhaseInit, Duration: 2 * time.Millisecond}}
	gateway := mayfly.Span{Trace: mayfly.Trace{ID: inv.Trace.ID, Span: "00f067aa0ba902b7"}, Name: "GET /x", Kind: mayfly.SpanServer, Start: inv.Start.Add(-time.Millisecond), End: inv.Start.Add(9 * time.Millisecond)}
	inv.Trace.Parent = gateway.Trace.Span
	s.Invocation(inv)
	s.Span(gateway)
	s.Log(mayfly.LogLine{Time: inv.Start, App: "photos", Function: "thumb", Stream: mayfly.Platform, Text: `{"level":"warn","msg":"hi","n":1}`, TraceID: inv.Trace.ID, Invocation: inv.ID})
	v, err := s.Trace(t.Context(), inv.Trace.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Spans) != 4 || len(v.Logs) != 1 || len(v.Invocations) != 1 || v.Duration != 10*time.Millisecond {
		t.Fatalf("got %+v", v)
	}
	if v.Logs[0].Message != "hi" || v.Logs[0].Level != "warn" {
		t.Errorf("line %+v", v.Logs[0])
	}
	if _, err := s.Trace(t.Context(), "00000000000000000000000000000001"); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("unknown trace: %v", err)
	}
}

// Traces are found by what a call's record says, which is its span.
func TestTracesBySomeText(t *testing.T) {
	s := open(t, nil)
	failed, other := call("shop", "pay", time.Now()), call("shop", "ship", time.Now())
	failed.Outcome, failed.Error = mayfly.OutcomeError, &mayfly.FunctionError{Type: "KeyError", Message: `no "x"`}
	s.Invocation(failed)
	s.Invocation(other)
	s.Span(mayfly.Span{Trace: other.Trace.Child(), Name: "put kv/sessions", Start: other.Start, End: other.Start})
	for text, want := range map[string]*mayfly.Invocation{"keyerror": failed, `no "x"`: failed, "ship": other, "kv/sessions": other, "nothing like it": nil} {
		got, err := s.Traces(t.Context(), TraceQuery{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		if want == nil && len(got) > 0 || want != nil && (len(got) != 1 || got[0].ID != want.Trace.ID) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// A disk that hangs holds up nobody who follows, and what waits for it is
// bounded.
func TestDiskThatHangs(t *testing.T) {
	s := open(t, func(c *Config) { c.LinesPerSecond = 1 << 30 })
	s.lines.writing.Lock() // as a write that does not come back
	run(t, s)
	var once sync.Once
	comesBack := func() { once.Do(s.lines.writing.Unlock) }
	t.Cleanup(comesBack)
	tail := s.Tail(t.Context(), LogQuery{Text: "last"})
	text := strings.Repeat("x", 64<<10)
	for i := range 3 * pendingBytes / len(text) {
		s.Log(mayfly.LogLine{Time: time.Now(), App: "shop", Function: "pay", Instance: "i-1", Text: text})
		if i%50 == 0 {
			s.drain()
		}
	}
	s.Log(mayfly.LogLine{Time: time.Now(), App: "shop", Function: "pay", Instance: "i-1", Text: `{"msg":"the last"}`})
	select {
	case <-tail:
	case <-time.After(time.Minute):
		t.Fatal("a follower waits for the disk")
	}
	s.lines.mu.RLock()
	held := 0
	for _, rows := range [][]mayfly.LogLine{s.lines.flushing, s.lines.pending} {
		for i := range rows {
			held += len(rows[i].Text)
		}
	}
	s.lines.mu.RUnlock()
	if shed := s.Health().Shed.Lines; held > 2*pendingBytes || shed == 0 {
		t.Errorf("%d bytes wait for the disk, %d lines were shed", held, shed)
	}
	comesBack()
	if lines, err := s.Logs(t.Context(), LogQuery{Limit: 1}); err != nil || len(lines) != 1 || !strings.Contains(lines[0].Text, "last") {
		t.Errorf("%v, %v", lines, err)
	}
}
