package telemetry

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
)

// assembly turns the lines that instances print into the lines that are kept:
// levels found, long ones cut, stack traces joined, floods limited. It is used
// by one goroutine at a time.
type assembly struct {
	cfg    Config
	open   map[stream]*openLine
	done   []mayfly.LogLine
	floods map[source]*flood
}

// stream is where consecutive lines can belong together.
type stream struct {
	instance string
	name     mayfly.LogStream
}

// source is whose flood limit counts.
type source struct {
	app      mayfly.AppName
	function mayfly.FunctionName
}

// openLine is a line that further lines may still belong to.
type openLine struct {
	line    mayfly.LogLine
	text    strings.Builder
	lines   int
	last    time.Time // when the latest part came
	python  python    // where in Python's tracebacks it is
	goTrace bool      // inside a stack trace of Go
}

// python is a place in what Python prints of an exception.
type python int

const (
	pyNone  python = iota
	pyTrace        // in a traceback, before the exception itself
	pyEnd          // after it
	pyChain        // another traceback of the same chain is announced
)

const (
	// settle is how long a line waits for its continuation. Runtimes write a
	// stack trace in one go.
	settle      = 100 * time.Millisecond
	maxJoined   = 500 // lines of one stack trace
	floodBurst  = 5   // seconds' worth
	floodForget = time.Minute
)

func newAssembly(cfg Config) *assembly {
	return &assembly{cfg: cfg, open: map[stream]*openLine{}, floods: map[source]*flood{}}
}

// add takes one printed line.
func (a *assembly) add(l *mayfly.LogLine, now time.Time) {
	if l.Time.IsZero() {
		l.Time = now
	}
	l.Text = strings.TrimRight(l.Text, "\r\n")
	if n := int(a.cfg.LineBytes); len(l.Text) > n {
		for n > 0 && !utf8.RuneStart(l.Text[n]) {
			n--
		}
		l.Text = l.Text[:n] + fmt.Sprintf(" … (%d bytes cut)", len(l.Text)-n)
	}
	if l.Stream == mayfly.Platform {
		a.finish(*l)
		return
	}
	if !a.allow(l, now) {
		return
	}
	key := stream{l.Instance, l.Stream}
	if o := a.open[key]; o != nil {
		if o.continues(l, int(a.cfg.LineBytes)) {
			o.text.WriteByte('\n')
			o.text.WriteString(l.Text)
			o.lines++
			o.last = now
			return
		}
		delete(a.open, key)
		a.close(o)
	}
	if !mayContinue(l) {
		a.finish(*l)
		return
	}
	o := &openLine{line: *l, lines: 1, last: now, python: beginsTraceback(l.Text), goTrace: beginsGoTrace(l.Text)}
	o.text.WriteString(l.Text)
	a.open[key] = o
}

// mayContinue reports whether a further line can belong to l. JSON is whole.
func mayContinue(l *mayfly.LogLine) bool { return !looksJSON(l.Text) }

// beginsTraceback is where in a traceback of Python its first line leads. All
// lines of a group of exceptions are indented.
func beginsTraceback(t string) python {
	switch {
	case strings.HasPrefix(t, "Traceback (most recent call last)"):
		return pyTrace
	case strings.HasPrefix(strings.TrimLeft(t, " "), "+ Exception Group Traceback (most recent call last)"):
		return pyEnd
	}
	return pyNone
}

// announcesTraceback reports whether a line is what loggers and threads print
// before a traceback.
func announcesTraceback(t string) bool {
	return levelIn(t) == 4 || indexFold([]byte(t), "exception") >= 0 || indexFold([]byte(t), "error") >= 0
}

// closesBlock reports whether a line is the end of a value that was printed over
// several lines.
func closesBlock(t string) bool { return strings.Trim(t, "}]),;") == "" }

// beginsGoTrace reports whether what a Go program writes when it panics begins
// here.
func beginsGoTrace(t string) bool {
	return strings.HasPrefix(t, "panic: ") || strings.HasPrefix(t, "fatal error: ") || strings.HasPrefix(t, "goroutine ") && strings.HasSuffix(t, "]:")
}

// ofGoTrace reports whether a line that is not indented belongs to a stack trace
// of Go: main.(*T).M(0x1, ...), which its place follows on a line of its own.
func ofGoTrace(t string) bool {
	if t == "" || strings.HasPrefix(t, "created by ") || strings.HasPrefix(t, "[signal ") || strings.HasPrefix(t, "exit status ") {
		return true
	}
	call := strings.IndexByte(t, '(')
	return call > 0 && strings.HasSuffix(t, ")") && !strings.Contains(t[:call], " ") && (strings.Contains(t[:call], ".") || t[:call] == "panic")
}

// continues reports whether l belongs to o: it is indented, closes a Python
// traceback or a block, or is one of the joints of a stack trace. What a
// message of several lines has after its first cannot be told from what is
// printed next.
func (o *openLine) continues(l *mayfly.LogLine, limit int) bool {
	if l.Invocation != o.line.Invocation || o.lines >= maxJoined || o.text.Len()+len(l.Text) > limit {
		return false
	}
	t := l.Text
	o.goTrace = o.goTrace || beginsGoTrace(t)
	if o.goTrace && ofGoTrace(t) {
		return true
	}
	if begin := beginsTraceback(t); begin != pyNone {
		announced := o.python == pyChain || o.lines == 1 && o.python == pyNone && announcesTraceback(o.line.Text)
		o.python = begin
		return announced
	}
	switch {
	case t == "":
		return o.python != pyNone // between the parts of a chain
	case t[0] == ' ' || t[0] == '\t':
		return true
	case strings.HasPrefix(t, "During handling of the above exception"), strings.HasPrefix(t, "The above exception was the direct cause"):
		o.python = pyChain
		return true
	case strings.HasPrefix(t, "Caused by: "), strings.HasPrefix(t, "goroutine "):
		return true
	case o.python == pyTrace:
		o.python = pyEnd // the exception itself
		return true
	}
	return o.lines > 1 && closesBlock(t)
}

func (a *assembly) close(o *openLine) {
	l := o.line
	l.Text = strings.TrimRight(o.text.String(), "\n")
	if o.lines > 1 && l.Level == "" && isTrace(l.Text) {
		l.Level = "error"
	}
	a.finish(l)
}

func isTrace(text string) bool {
	return strings.Contains(text, "Traceback (most recent") || strings.Contains(text, "\n    at ") || strings.Contains(text, "\n\tat ") || strings.Contains(text, "goroutine ")
}

// finish settles the level: what a line of JSON says of itself comes before what
// printed it, since a logger over console.log prints warnings as information.
func (a *assembly) finish(l mayfly.LogLine) {
	r := 0
	if looksJSON(l.Text) {
		r = jsonLevel(l.Text)
	}
	if r == 0 {
		r = levelRank(l.Level)
	}
	if r == 0 {
		r = detectLevel(l.Text)
	}
	l.Level = levels[r]
	a.done = append(a.done, l)
}

// take returns the finished lines, which are the caller's until the next take.
func (a *assembly) take(now time.Time) []mayfly.LogLine {
	for key, o := range a.open {
		if now.Sub(o.last) >= settle {
			delete(a.open, key)
			a.close(o)
		}
	}
	for src, f := range a.floods {
		if n := f.report(now); n > 0 {
			a.done = append(a.done, mayfly.LogLine{
				Time: now, App: src.app, Function: src.function, Stream: mayfly.Platform, Level: "warn",
				Text: fmt.Sprintf("%d lines were dropped: the function prints more than %d lines/s", n, a.cfg.LinesPerSecond),
			})
		}
		if now.Sub(f.last) > floodForget {
			delete(a.floods, src)
		}
	}
	done := a.done
	a.done = nil
	return done
}

// rest gives out what is still open.
func (a *assembly) rest() []mayfly.LogLine {
	return a.take(time.Now().Add(time.Hour))
}

// waiting reports whether a line or a notice is still to come out.
func (a *assembly) waiting() bool {
	if len(a.open) > 0 {
		return true
	}
	for _, f := range a.floods {
		if f.dropped > 0 {
			return true
		}
	}
	return false
}

// flood is a token bucket and what it refused.
type flood struct {
	tokens   float64
	last     time.Time
	dropped  int
	reported time.Time
}

func (a *assembly) allow(l *mayfly.LogLine, now time.Time) bool {
	src := source{l.App, l.Function}
	f := a.floods[src]
	rate := float64(a.cfg.LinesPerSecond)
	if f == nil {
		f = &flood{tokens: rate * floodBurst, last: now}
		a.floods[src] = f
	}
	f.tokens = min(rate*floodBurst, f.tokens+rate*now.Sub(f.last).Seconds())
	f.last = now
	if f.tokens < 1 {
		f.dropped++
		return false
	}
	f.tokens--
	return true
}

// report is how many lines were refused since the last report; one is due a
// second after the first of them.
func (f *flood) report(now time.Time) int {
	if f.dropped == 0 {
		return 0
	}
	if f.reported.IsZero() {
		f.reported = now
	}
	if now.Sub(f.reported) < time.Second {
		return 0
	}
	n := f.dropped
	f.dropped, f.reported = 0, time.Time{}
	return n
}
