package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// BenchmarkSink is what one call pays on its own goroutine for its record, two
// spans and two lines.
func BenchmarkSink(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir(), LinesPerSecond: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	inv := call("shop", "pay", time.Now())
	span := mayfly.Span{Trace: inv.Trace, Name: "GET /x", Start: inv.Start, End: inv.Start}
	text := mayfly.LogLine{Time: inv.Start, App: "shop", Function: "pay", Instance: "i-1", Text: "handled item 7", Invocation: inv.ID, TraceID: inv.Trace.ID}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.Invocation(inv)
			s.Span(span)
			s.Span(span)
			s.Log(text)
			s.Log(text)
		}
	})
	b.StopTimer()
	cancel()
	<-done
	shed := s.Health().Shed
	b.ReportMetric(float64(shed.Lines+shed.Spans+shed.Invocations)/float64(5*b.N), "shed/row")
	s.Close()
}

// BenchmarkMillion is about a million lines: taking them in, and asking.
// MAYFLY_BENCH_DIR keeps the store there, for who wants to look at it.
func BenchmarkMillion(b *testing.B) {
	const lines = 1_000_000
	day := time.Now().Add(-time.Hour).UTC()
	dir := cmp.Or(os.Getenv("MAYFLY_BENCH_DIR"), b.TempDir())
	s, err := Open(Config{Dir: dir, LinesPerSecond: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	fill(b, s, day, 0, lines)
	took := time.Since(begin)
	if err := s.tidyAll(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Run("ingest", func(b *testing.B) {
		b.ReportMetric(lines/took.Seconds(), "rows/s")
		b.ReportMetric(float64(s.lines.size())/lines, "disk-B/row")
	})
	for _, c := range []struct {
		name string
		q    LogQuery
	}{
		{"last-200", LogQuery{}},
		{"last-200-errors-of-a-function", LogQuery{Function: "fn-1", Level: "error"}},
		{"by-invocation", LogQuery{Invocation: fmt.Sprintf("%08x-0000-4000-8000-%012x", 1234, 1234)}},
		{"by-trace", LogQuery{TraceID: fmt.Sprintf("%032x", 150_001)}},
		{"unknown-trace", LogQuery{TraceID: fmt.Sprintf("%032x", 1<<40)}},
		{"text-common", LogQuery{Text: "refused by the bank"}},
		{"text-rare", LogQuery{Text: "order 1007 refused"}},
		{"text-none", LogQuery{Text: "there is no such text"}},
		{"field-rare", LogQuery{Fields: map[string]string{"order": "1230"}}},
		{"a-minute", LogQuery{Since: day.Add(5 * time.Minute), Until: day.Add(6 * time.Minute), Text: "refused"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Logs(context.Background(), c.q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			again, err := Open(Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			again.Close()
		}
	})
}
