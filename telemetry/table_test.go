package telemetry

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// line is the i-th line of a synthetic day: one every millisecond, four
// functions, some JSON, some errors.
func line(day time.Time, i int) mayfly.LogLine {
	l := mayfly.LogLine{
		Time: day.Add(time.Duration(i) * time.Millisecond), App: "shop", Function: mayfly.FunctionName(fmt.Sprintf("fn-%d", i%4)), Version: 1 + i%2,
		Instance: fmt.Sprintf("i-%d", i%16), Stream: mayfly.Stdout, Invocation: fmt.Sprintf("%08x-0000-4000-8000-%012x", i/5, i/5),
		TraceID: fmt.Sprintf("%032x", i/5+1), SpanID: fmt.Sprintf("%016x", i/5+1),
	}
	switch i % 10 {
	case 0:
		l.Text = fmt.Sprintf(`{"level":"info","msg":"order accepted","order":%d,"customer":{"id":"c-%d"}}`, i, i%97)
	case 7:
		l.Stream, l.Text = mayfly.Stderr, fmt.Sprintf("ERROR payment of order %d refused by the bank", i)
	default:
		l.Text = fmt.Sprintf("handled item %d of the basket in %d ms", i, i%113)
	}
	return l
}

func fill(t testing.TB, s *Store, day time.Time, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		s.Log(line(day, i))
		if i%10_000 == 9_999 {
			s.drain()
			s.flush()
		}
	}
	// What is still open is closed by hand: tests do not wait for the clock.
	s.drain()
	s.draining.Lock()
	s.lines.add(s.assembly.rest()...)
	s.draining.Unlock()
	s.flush()
}

func count(t *testing.T, s *Store, q LogQuery) int {
	t.Helper()
	q.Limit = maxLimit
	lines, err := s.Logs(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(lines); i++ {
		if lines[i].Time.Before(lines[i-1].Time) {
			t.Fatalf("lines are not in the order of time at %d", i)
		}
	}
	return len(lines)
}

func TestLogQueries(t *testing.T) {
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	s := open(t, func(c *Config) { c.LinesPerSecond = 1 << 30 })
	fill(t, s, day, 0, 20_000)
	for _, c := range []struct {
		name string
		q    LogQuery
		want int
	}{
		{"function", LogQuery{Function: "fn-1"}, 5000},
		{"function and version", LogQuery{App: "shop", Function: "fn-1", Version: 2}, 5000},
		{"no such version", LogQuery{Function: "fn-1", Version: 1}, 0},
		{"level", LogQuery{Level: "error"}, 2000},
		{"at least info", LogQuery{Level: "info"}, 4000},
		{"stream", LogQuery{Stream: mayfly.Stderr}, 2000},
		{"text", LogQuery{Text: "ORDER 17 refused"}, 1},
		{"text of another case", LogQuery{Text: "payment OF"}, 2000},
		{"text that only names an instance", LogQuery{Text: "i-1"}, 0},
		{"field", LogQuery{Fields: map[string]string{"order": "1230"}}, 1},
		{"nested field", LogQuery{Fields: map[string]string{"customer.id": "c-3"}}, 21},
		{"invocation", LogQuery{Invocation: "00000001-0000-4000-8000-000000000001"}, 5},
		{"trace", LogQuery{TraceID: fmt.Sprintf("%032x", 2)}, 5},
		{"unknown trace", LogQuery{TraceID: strings.Repeat("a", 32)}, 0},
		{"time", LogQuery{Since: day.Add(time.Second), Until: day.Add(2 * time.Second)}, 1000},
		{"all of it", LogQuery{Function: "fn-3", Level: "error", Text: "refused", Since: day.Add(10 * time.Second)}, 500},
	} {
		if got := count(t, s, c.q); got != c.want {
			t.Errorf("%s: %d lines, want %d", c.name, got, c.want)
		}
	}
	last, err := s.Logs(t.Context(), LogQuery{Limit: 3})
	if err != nil || len(last) != 3 || !last[2].Time.Equal(day.Add(19_999*time.Millisecond)) {
		t.Errorf("last three: %v %v", last, err)
	}
	first, err := s.Logs(t.Context(), LogQuery{Limit: 3, Oldest: true})
	if err != nil || len(first) != 3 || !first[0].Time.Equal(day) {
		t.Errorf("first three: %v %v", first, err)
	}
}

func TestTailSearchesTheTextAlone(t *testing.T) {
	s := open(t, nil)
	byInstance, byText := s.Tail(t.Context(), LogQuery{Text: "i-1"}), s.Tail(t.Context(), LogQuery{Text: "accepted"})
	s.Log(mayfly.LogLine{App: "shop", Function: "pay", Instance: "i-1", Text: `{"msg":"order accepted"}`})
	s.drain()
	if l := <-byText; !strings.Contains(l.Text, "accepted") {
		t.Errorf("got %+v", l)
	}
	select {
	case l := <-byInstance:
		t.Errorf("got %+v", l)
	default:
	}
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	s := open(t, nil)
	inv := call("shop", "pay", time.Now().UTC())
	inv.ID, inv.Cold, inv.Outcome, inv.Error = "not-a-uuid", true, mayfly.OutcomeError, &mayfly.FunctionError{Type: "ValueError", Message: "no", Trace: []string{"a", "b"}}
	inv.Trace.Parent, inv.Instance, inv.CPU, inv.MemoryPeak, inv.BytesIn, inv.BytesOut = "00f067aa0ba902b7", "i-1", 5*time.Millisecond, 99, 7, 8
	inv.Phases = []mayfly.Phase{{Name: mayfly.PhaseQueue, Duration: 1}, {Name: mayfly.PhaseInit, Duration: 2}}
	inv.Event, inv.Caller = []byte(`{"a":1}`), mayfly.Caller{Kind: mayfly.CallerUser, Name: "ada"}
	span := mayfly.Span{Trace: inv.Trace, Name: "kv get", Kind: mayfly.SpanClient, Start: inv.Start, End: inv.Start.Add(time.Second), App: "shop", Function: "pay", Version: 3,
		Invocation: inv.ID, Error: "boom", Attributes: map[string]string{"k": "v", "": "x"}, Links: []mayfly.Trace{{ID: strings.Repeat("1", 32), Span: strings.Repeat("2", 16)}}}
	text := mayfly.LogLine{Time: inv.Start, App: "shop", Function: "pay", Version: 3, Instance: "i-1", Stream: mayfly.Platform, Level: "warn", Text: "Zürich ☃", Invocation: inv.ID, TraceID: inv.Trace.ID, SpanID: inv.Trace.Span}
	s.Invocation(inv)
	s.Span(span)
	s.Log(text)
	s.drain()
	s.flush()
	got, err := s.LookupInvocation(t.Context(), inv.ID)
	if err != nil || !reflect.DeepEqual(got, inv) {
		t.Errorf("record\n%+v\nwant\n%+v (%v)", got, inv, err)
	}
	spans, err := s.Spans(t.Context(), SpanQuery{Invocation: inv.ID, Failed: true, Slower: time.Second, Text: "KV"})
	if err != nil || len(spans) != 1 || !reflect.DeepEqual(spans[0], span) {
		t.Errorf("span\n%+v\nwant\n%+v (%v)", spans, span, err)
	}
	lines, err := s.Logs(t.Context(), LogQuery{Invocation: inv.ID})
	if err != nil || len(lines) != 1 || lines[0].LogLine != text {
		t.Errorf("line\n%+v\nwant\n%+v (%v)", lines, text, err)
	}
}

// A killed process leaves its files as they are: whole blocks, and perhaps half
// of one more. No call to Close must be needed.
func TestReopenAfterKill(t *testing.T) {
	day := time.Now().Add(-time.Hour).UTC()
	dir := t.TempDir()
	s := open(t, func(c *Config) { c.Dir, c.LinesPerSecond = dir, 1<<30 })
	fill(t, s, day, 0, 1000)
	fill(t, s, day, 1000, 2000)

	path := segmentPath(filepath.Join(dir, "lines"), 1, 0)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tail := range [][]byte{nil, whole[:40], whole[:len(whole)/3], make([]byte, 500)} {
		if err := os.WriteFile(path, append(append([]byte(nil), whole...), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, func(c *Config) { c.Dir, c.LinesPerSecond = dir, 1<<30 })
		if n := count(t, again, LogQuery{}); n != 2000 {
			t.Errorf("with a tail of %d bytes: %d lines, want 2000", len(tail), n)
		}
		fill(t, again, day, 2000, 2100)
		if n := count(t, again, LogQuery{}); n != 2100 {
			t.Errorf("after more: %d lines, want 2100", n)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCompactionKeepsRows(t *testing.T) {
	day := time.Now().Add(-time.Hour).UTC()
	dir := t.TempDir()
	s := open(t, func(c *Config) { c.Dir, c.LinesPerSecond = dir, 1<<30 })
	for i := range 40 {
		fill(t, s, day, i*100, i*100+100)
	}
	before := s.lines.size()
	if err := s.lines.tidy(t.Context(), time.Now().Add(segmentAge+time.Minute)); err != nil {
		t.Fatal(err)
	}
	if after := s.lines.size(); after >= before {
		t.Errorf("%d bytes became %d", before, after)
	}
	if n := count(t, s, LogQuery{}); n != 4000 {
		t.Errorf("%d lines after compaction, want 4000", n)
	}
	fill(t, s, day, 4000, 4500)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, func(c *Config) { c.Dir = dir })
	if n := count(t, again, LogQuery{}); n != 4500 {
		t.Errorf("%d lines after reopening, want 4500", n)
	}
	if n := len(again.lines.segments); n != 2 || !again.lines.segments[0].sealed {
		t.Errorf("%d segments", n)
	}
}

func TestRetention(t *testing.T) {
	now := time.Now().UTC()
	s := open(t, func(c *Config) { c.LinesPerSecond, c.Logs = 1<<30, Retention{Age: 24 * time.Hour, Size: mayfly.GiB} })
	fill(t, s, now.Add(-48*time.Hour), 0, 100)
	seal := func() {
		t.Helper()
		if err := s.lines.sealActive(time.Now().Add(segmentAge + time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	seal()
	fill(t, s, now.Add(-time.Hour), 0, 200)
	seal()
	if err := s.lines.expire(now); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, LogQuery{}); n != 200 {
		t.Errorf("by age: %d lines are left, want 200", n)
	}
	fill(t, s, now, 0, 300)
	s.lines.keep.Size = mayfly.Bytes(s.lines.size() - 1)
	if err := s.lines.expire(now); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, LogQuery{}); n != 300 {
		t.Errorf("by size: %d lines are left, want 300", n)
	}
}

func FuzzSegment(f *testing.F) {
	w := blockWriter[mayfly.LogLine]{codec: lineCodec{}}
	day := time.Unix(1e9, 0)
	out, _, _ := w.write([]mayfly.LogLine{line(day, 0), line(day, 1), line(day, 7)})
	f.Add(append([]byte(nil), out...))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 1, 0), data, 0o600); err != nil {
			t.Fatal(err)
		}
		tab, err := openTable("lines", dir, codec[mayfly.LogLine](lineCodec{}), Retention{}, Config{}.WithDefaults().Log)
		if err != nil {
			return
		}
		if _, err := tab.scan(t.Context(), filter[mayfly.LogLine]{contains: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		if err := tab.close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The sections below the checksum are taken apart without trust as well.
func FuzzSections(f *testing.F) {
	w := blockWriter[mayfly.LogLine]{codec: lineCodec{}}
	day := time.Unix(1e9, 0)
	w.write([]mayfly.LogLine{line(day, 0), line(day, 1)})
	f.Add(w.meta, w.idBytes, w.bodies)
	f.Fuzz(func(t *testing.T, meta, ids, body []byte) {
		if c, err := parseColumns(meta); err == nil {
			cur := cursor{columns: c}
			for range 10 {
				if _, ok := cur.next(); !ok {
					break
				}
			}
		}
		_, _ = parseIDs(ids)
		_, _ = lineCodec{}.decode(rowKey{}, body)
		_, _ = spanCodec{}.decode(rowKey{}, body)
		_, _ = callCodec{}.decode(rowKey{}, body)
	})
}

func TestIndexFold(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = "aAbBé1"[r.IntN(6)]
		}
		s := string(b[min(len(b), r.IntN(4)):])
		s = s[:r.IntN(len(s)+1)]
		want := strings.Index(strings.ToLower(strings.ToValidUTF8(string(b), "?")), strings.ToLower(strings.ToValidUTF8(s, "?")))
		if got := indexFold([]byte(strings.ToValidUTF8(string(b), "?")), strings.ToValidUTF8(s, "?")); got != want {
			t.Fatalf("%q in %q: %d, want %d", s, b, got, want)
		}
	}
}
