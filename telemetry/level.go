package telemetry

import (
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// levels from the mildest to the worst; a line's level is stored as its place.
var levels = [...]string{"", "debug", "info", "warn", "error"}

// levelRank is the place of a level's name, in any of the spellings that
// loggers use; 0 where it is unknown.
func levelRank(s string) int {
	switch strings.ToLower(s) {
	case "trace", "debug", "verbose", "silly", "10", "20":
		return 1
	case "info", "information", "notice", "log", "30":
		return 2
	case "warn", "warning", "40":
		return 3
	case "error", "err", "fatal", "panic", "critical", "crit", "alert", "emergency", "50", "60":
		return 4
	}
	return 0
}

func streamCode(s mayfly.LogStream) uint16 {
	switch s {
	case mayfly.Stderr:
		return 1
	case mayfly.Platform:
		return 2
	}
	return 0
}

func streamOf(code uint16) mayfly.LogStream {
	switch code {
	case 1:
		return mayfly.Stderr
	case 2:
		return mayfly.Platform
	}
	return mayfly.Stdout
}

// levelIn finds the level that the head of a plain line names: "ERROR: x",
// "[warn] x", "2026-01-02T03:04:05Z INFO x", "level=error msg=x". It looks at
// the first words only, so that prose does not count.
func levelIn(text string) int {
	head := text[:min(len(text), 80)]
	if i := strings.Index(head, "level="); i >= 0 {
		return levelRank(word(strings.TrimPrefix(head[i+6:], `"`)))
	}
	for range 5 {
		head = strings.TrimLeft(head, " \t[(|<")
		w := word(head)
		if r := levelRank(w); r > 0 && levelSpelling(w, head[len(w):]) {
			return r
		}
		end := strings.IndexAny(head, " \t]|")
		if end < 0 {
			return 0
		}
		head = head[end+1:]
	}
	return 0
}

// word is the run of letters that s begins with.
func word(s string) string {
	for i := range len(s) {
		if c := lower(s[i]); c < 'a' || c > 'z' {
			return s[:i]
		}
	}
	return s
}

// levelSpelling tells "ERROR x", "error: x" and "[info] x" from words of prose.
func levelSpelling(w, after string) bool {
	return w == strings.ToUpper(w) || after != "" && strings.IndexByte(":]|)>", after[0]) >= 0
}
