package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

func assemble(lines ...string) []mayfly.LogLine {
	a := newAssembly(Config{}.WithDefaults())
	now := time.Now()
	for _, t := range lines {
		a.add(&mayfly.LogLine{App: "a", Function: "f", Instance: "i", Stream: mayfly.Stderr, Text: t}, now)
	}
	return a.rest()
}

func TestStackTracesStayTogether(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []int // lines of each result
	}{
		"python":  {"before\nTraceback (most recent call last):\n  File \"app.py\", line 1, in handler\n    boom()\nValueError: no\nafter", []int{1, 4, 1}},
		"chained": {"Traceback (most recent call last):\n  File \"a\"\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"b\"\nValueError: no", []int{9}},
		"node":    {"TypeError: x is not a function\n    at handler (/var/task/index.js:1:1)\n    at run (node:1)\nnext", []int{3, 1}},
		"java":    {"java.lang.IllegalStateException: x\n\tat a.b(C.java:1)\nCaused by: y\n\tat d.e(F.java:2)", []int{4}},
		"go": {"before\npanic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.(*T).pay({0xc000, 0x1}, ...)\n\t/src/x.go:8 +0x1d\npanic({0x83, 0xf3})\n\t/go/panic.go:860 +0x13a\n" +
			"created by main.main in goroutine 1\n\t/src/x.go:3 +0x2\n\ngoroutine 7 [select]:\nnet/http.(*Server).Serve(0x1)\n\t/go/server.go:1\nexit status 2\nafter (all)\n{\"a\":1}", []int{1, 14, 1, 1}},
		"go's server": {"http: panic serving 127.0.0.1:5: boom\ngoroutine 9 [running]:\nmain.main.func1()\n\t/src/x.go:8 +0x1d\nserved(5)", []int{4, 1}},
		"logged":      {"2026-11-26 08:13:07,575 - shop - ERROR - it failed\nTraceback (most recent call last):\n  File \"a\"\nKeyError: 1\nTraceback (most recent call last):\n  File \"b\"\nKeyError: 2", []int{4, 3}},
		"thread":      {"Exception in thread Thread-1 (broken):\nTraceback (most recent call last):\n  File \"a\"\nKeyError: 1\nafter", []int{4, 1}},
		"group": {"before\n  + Exception Group Traceback (most recent call last):\n  |   File \"a\"\n  | ExceptionGroup: g (1 sub-exception)\n  +-+---------------- 1 ----------------\n    | ValueError: 1\n    +------------------------------------\n" +
			"Traceback (most recent call last):\n  File \"b\"\nSyntaxError: invalid syntax", []int{1, 6, 3}},
		"suppressed": {"java.lang.RuntimeException: x\n\tat a.b(C.java:1)\n\tSuppressed: java.io.IOException: y\n\t\t... 11 more\nCaused by: z\n\tat d.e(F.java:2)\n\t... 11 more\nafter", []int{7, 1}},
		"cause":      {"Error: outer\n    at a (/b.js:1:2) {\n  [cause]: TypeError: inner\n      at c (/d.js:1:2)\n}\nafter", []int{5, 1}},
		"json":       {"{\"a\":1}\n{\"b\":2}", []int{1, 1}},
		"plain":      {"one\ntwo\nthree", []int{1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got := assemble(strings.Split(c.in, "\n")...)
			var lines []int
			for _, l := range got {
				lines = append(lines, strings.Count(l.Text, "\n")+1)
				if strings.Count(l.Text, "\n") > 1 && l.Level != "error" {
					t.Errorf("level %q of %q", l.Level, l.Text)
				}
			}
			if len(lines) != len(c.want) {
				t.Fatalf("got %v, want %v", lines, c.want)
			}
			for i := range lines {
				if lines[i] != c.want[i] {
					t.Fatalf("got %v, want %v", lines, c.want)
				}
			}
		})
	}
}

func TestLevels(t *testing.T) {
	for text, want := range map[string]string{
		"ERROR x":                                    "error",
		"[warn] x":                                   "warn",
		"error: x":                                   "error",
		"2026-01-02T03:04:05Z INFO started":          "info",
		"2026-01-02 03:04:05,123 - WARNING - x":      "warn",
		`time=x level=debug msg="y"`:                 "debug",
		"an error in prose":                          "",
		"all is well":                                "",
		`{"level":"warning","msg":"x"}`:              "warn",
		`{"severity": "CRITICAL"}`:                   "error",
		`{"level":30,"msg":"pino"}`:                  "info",
		"INFO:root:python logging":                   "info",
		"2026-11-26 08:13:07,575 - shop - ERROR - x": "error",
		"2026-11-26 08:13:07 [warning  ] structlog     order=7":        "warn",
		"\x1b[2m2026-11-26\x1b[0m [\x1b[31m\x1b[1merror    \x1b[0m] x": "error",
		"\x1b[33mwarn\x1b[39m: winston":                                "warn",
		"12:00PM INF zerolog":                                          "info",
		"[2024-01-01 00:00:00 +0000] [123] [WARNING] gunicorn":         "warn",
		"E0101 12:00:00.000000       1 server.go:12] klog":             "error",
		"I0101 of the report":                                          "",
		"SEVERE: java.util.logging":                                    "error",
		"one two three four five an error: in prose":                   "",
		`{"@m":"serilog","@l":"Error"}`:                                "error",
		"":                                                             "",
	} {
		if got := levels[detectLevel(text)]; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestJSONKnowsItsLevel has a logger print through something that gives its lines
// a level of its own.
func TestJSONKnowsItsLevel(t *testing.T) {
	for text, want := range map[string]string{
		`{"level":"warn","message":"stock is low"}`: "warn",
		`{"message":"no level"}`:                    "info",
		"plain":                                     "info",
	} {
		a := &assembly{}
		a.finish(mayfly.LogLine{Text: text, Level: "info"})
		if got := a.done[0].Level; got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestFloodSaysWhatWasDropped(t *testing.T) {
	a := newAssembly(Config{LinesPerSecond: 10}.WithDefaults())
	now := time.Unix(1e9, 0)
	say := func(function mayfly.FunctionName, stream mayfly.LogStream, n int) {
		for range n {
			a.add(&mayfly.LogLine{App: "a", Function: function, Stream: stream, Text: "x"}, now)
		}
	}
	say("loud", mayfly.Stdout, 1000)
	say("loud", mayfly.Platform, 5) // not limited
	say("quiet", mayfly.Stdout, 1)
	got := a.take(now)
	now = now.Add(2 * time.Second)
	got = append(got, a.take(now)...)
	kept, notice := map[string]int{}, ""
	for _, l := range got {
		if strings.Contains(l.Text, "dropped") {
			notice = l.Text
			continue
		}
		kept[string(l.Function)+" "+string(l.Stream)]++
	}
	if !strings.HasPrefix(notice, "950 lines were dropped") || kept["loud stdout"] != 50 || kept["loud platform"] != 5 || kept["quiet stdout"] != 1 {
		t.Errorf("notice %q, kept %v", notice, kept)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	a := newAssembly(Config{LineBytes: 100}.WithDefaults())
	a.add(&mayfly.LogLine{Stream: mayfly.Stdout, Text: strings.Repeat("é", 200)}, time.Now())
	got := a.rest()
	if len(got) != 1 || !strings.HasSuffix(got[0].Text, "(300 bytes cut)") {
		t.Errorf("got %+v", got)
	}
}
