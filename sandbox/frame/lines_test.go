package frame

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

type recorder struct {
	mu    sync.Mutex
	lines []mayfly.LogLine // guarded by mu
}

func (r *recorder) Log(l mayfly.LogLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, l)
}

func (r *recorder) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var texts []string
	for _, l := range r.lines {
		texts = append(texts, l.Text)
	}
	return texts
}

func bound() (*Lines, *recorder) {
	l, r := &Lines{}, &recorder{}
	l.Bind(r, &sandbox.Spec{App: "a", Function: "f", Version: 3}, "i")
	return l, r
}

func TestWriterSplitsLines(t *testing.T) {
	l, r := bound()
	w := l.Writer(mayfly.Stderr, func() (string, mayfly.Trace) { return "call", mayfly.Trace{ID: "t", Span: "s"} })
	for _, part := range []string{"on", "e\ntwo\r\n", "", "\n", "bad \xff utf8\n", "no end"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	l.End()
	want := []string{"one", "two", "", "bad \uFFFD utf8", "no end"}
	if got := r.texts(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("the lines are %q, want %q", got, want)
	}
	if line := r.lines[0]; line.Stream != mayfly.Stderr || line.Invocation != "call" || line.TraceID != "t" || line.Instance != "i" || line.Version != 3 {
		t.Errorf("the line is %+v", line)
	}
}

func TestLongLineIsCut(t *testing.T) {
	l, r := bound()
	w := l.Writer(mayfly.Stdout, func() (string, mayfly.Trace) { return "", mayfly.Trace{} })
	w.Write([]byte(strings.Repeat("x", MaxLine*2+1)))
	l.End()
	if got := r.texts(); len(got) != 3 || len(got[0]) != MaxLine || len(got[2]) != 1 {
		t.Errorf("%d lines", len(got))
	}
}

func TestFloodIsDropped(t *testing.T) {
	began := time.Now()
	l, r := bound()
	for range 10 * burstLines {
		l.Print(LogFrame{Stream: mayfly.Stdout, Text: []byte("x")})
	}
	l.Flush()
	l.Flush()
	got := r.lines
	last := got[len(got)-1]
	if len(got) > 5*burstLines || last.Stream != mayfly.Platform || !strings.Contains(last.Text, "dropped") {
		t.Errorf("%d lines came, the last is %+v", len(got), last)
	}
	notices := 0
	for _, line := range got {
		if line.Stream == mayfly.Platform {
			notices++
		}
	}
	if most := 2 + int(time.Since(began)/tellEvery); notices > most {
		t.Errorf("%d notices of what was dropped, want at most %d", notices, most)
	}
}

func TestLinesBeforeAFunction(t *testing.T) {
	l := &Lines{}
	l.Print(LogFrame{Text: []byte("nobody's")})
	l.Flush() // must not fail
	r := &recorder{}
	l.Bind(r, &sandbox.Spec{}, "i")
	l.Say("warn", "%d", 1)
	if got := r.texts(); len(got) != 1 || got[0] != "1" {
		t.Errorf("the lines are %q", got)
	}
}

func TestDemand(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var d demand
	check := func(what string, want int) {
		t.Helper()
		if got := d.want(now, 1, 10); got != want {
			t.Errorf("%s: %d workers are wanted, want %d", what, got, want)
		}
	}
	check("before any start", 1)
	for range 8 {
		d.start(now)
	}
	check("after a burst of 8", 8)
	now = now.Add(halfLife)
	check("a half-life later", 4)
	for range 100 {
		d.start(now)
	}
	check("after a burst of 100", 10)
	now = now.Add(time.Hour)
	check("an hour later", 1)
	if got := d.want(now, 3, 2); got != 2 {
		t.Errorf("%d workers are wanted where memory allows 2", got)
	}
	now = now.Add(-time.Minute)
	if got := d.want(now, 1, 1000); got > 200 {
		t.Errorf("a clock that goes back wants %d workers", got)
	}
}
