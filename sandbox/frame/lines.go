package frame

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// What an instance may print: a burst, and what it earns again each second.
// Beyond that, lines are dropped and counted.
const (
	burstBytes = 4 << 20
	burstLines = 20_000
	earnBytes  = 1 << 20
	earnLines  = 5_000
	// tellEvery keeps the notices of what a steady flood loses from being a flood.
	tellEvery = time.Second
)

// Lines turns what one instance prints into log lines. It never blocks longer
// than its Output does, and keeps an instance to its budget. Its methods may be
// called concurrently.
type Lines struct {
	mu      sync.Mutex
	out     sandbox.Output // guarded by mu; nil until Bind
	base    mayfly.LogLine // guarded by mu
	bytes   float64        // guarded by mu; budget left
	lines   float64        // guarded by mu
	last    time.Time      // guarded by mu; when the budget was last filled
	dropped int            // guarded by mu; lines that were not told of yet
	lost    int            // guarded by mu; their bytes
	told    time.Time      // guarded by mu; when that was last done
	writers []*lineWriter  // guarded by mu
}

// Bind says whose lines these are. What came before has no owner and is gone.
func (l *Lines) Bind(out sandbox.Output, spec *sandbox.Spec, instance string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out, l.bytes, l.lines, l.last = out, burstBytes, burstLines, time.Now()
	l.base = mayfly.LogLine{App: spec.App, Function: spec.Function, Version: spec.Version, Instance: instance}
}

// Print passes one line on, or counts it as dropped.
func (l *Lines) Print(f LogFrame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		return
	}
	now := time.Now()
	if !l.afford(now, len(f.Text)) {
		l.dropped++
		l.lost += len(f.Text)
		return
	}
	if now.Sub(l.told) >= tellEvery {
		l.report(now)
	}
	line := l.base
	line.Time, line.Stream, line.Level, line.Text = now, f.Stream, f.Level, text(f.Text)
	line.Invocation, line.TraceID, line.SpanID = f.Call, f.Trace.ID, f.Trace.Span
	l.out.Log(line)
}

// Say adds a line of the platform about the function.
func (l *Lines) Say(level, format string, args ...any) {
	l.Print(LogFrame{Stream: mayfly.Platform, Level: level, Text: fmt.Appendf(nil, format, args...)})
}

// Flush says how many lines were dropped, if any were.
func (l *Lines) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropped > 0 {
		l.report(time.Now())
	}
}

// End passes on what has no line's end yet, and flushes.
func (l *Lines) End() {
	l.mu.Lock()
	writers := l.writers
	l.mu.Unlock()
	for _, w := range writers {
		w.end()
	}
	l.Flush()
}

// afford takes a line of n bytes from the budget. l.mu is held.
func (l *Lines) afford(now time.Time, n int) bool {
	if passed := now.Sub(l.last).Seconds(); passed > 0 {
		l.bytes = min(burstBytes, l.bytes+passed*earnBytes)
		l.lines = min(burstLines, l.lines+passed*earnLines)
		l.last = now
	}
	if l.bytes < float64(n) || l.lines < 1 {
		return false
	}
	l.bytes -= float64(n)
	l.lines--
	return true
}

// report says what was dropped. l.mu is held.
func (l *Lines) report(now time.Time) {
	if l.dropped == 0 || l.out == nil {
		return
	}
	line := l.base
	line.Time, line.Stream, line.Level = now, mayfly.Platform, "warn"
	line.Text = fmt.Sprintf("%d lines (%d bytes) were dropped: an instance may print %d lines and %d KiB each second", l.dropped, l.lost, earnLines, earnBytes>>10)
	l.dropped, l.lost, l.told = 0, 0, now
	l.out.Log(line)
}

// Writer is for a pipe of the process itself: what code prints past its worker.
// who tells which call that belongs to.
func (l *Lines) Writer(stream mayfly.LogStream, who func() (string, mayfly.Trace)) io.Writer {
	w := &lineWriter{lines: l, stream: stream, who: who}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writers = append(l.writers, w)
	return w
}

type lineWriter struct {
	lines  *Lines
	stream mayfly.LogStream
	who    func() (string, mayfly.Trace)

	mu   sync.Mutex
	rest []byte // guarded by mu; a line without its end yet
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		line, after, found := bytes.Cut(p, []byte{'\n'})
		if room := MaxLine - len(w.rest); len(line) > room {
			line, after, found = p[:room], p[room:], true
		}
		w.rest = append(w.rest, line...)
		if p = after; !found {
			break
		}
		w.print()
	}
	return n, nil
}

func (w *lineWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		w.print()
	}
}

// print passes the collected line on. w.mu is held.
func (w *lineWriter) print() {
	f := LogFrame{Stream: w.stream, Text: w.rest}
	f.Call, f.Trace = w.who()
	w.lines.Print(f)
	w.rest = w.rest[:0]
}

// text is a line as people may read it.
func text(b []byte) string {
	b = bytes.TrimSuffix(b, []byte{'\r'})
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
