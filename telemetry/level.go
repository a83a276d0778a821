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
	case "trace", "debug", "verbose", "silly", "trc", "dbg", "10", "20":
		return 1
	case "info", "information", "notice", "log", "inf", "30":
		return 2
	case "warn", "warning", "wrn", "40":
		return 3
	case "error", "err", "fatal", "panic", "critical", "crit", "alert", "emergency", "severe", "ftl", "pnc", "50", "60":
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
// the first words only, of those after the fifth only at capitals, so that prose
// does not count.
func levelIn(text string) int {
	head := plainHead(text)
	if i := strings.Index(head, "level="); i >= 0 {
		return levelRank(word(strings.TrimPrefix(head[i+6:], `"`)))
	}
	if r := glogLevel(head); r > 0 {
		return r
	}
	for i := range 8 {
		trimmed := strings.TrimLeft(head, " \t[(|<")
		bracket := strings.Contains(head[:len(head)-len(trimmed)], "[")
		head = trimmed
		w := word(head)
		if r := levelRank(w); r > 0 && (w == strings.ToUpper(w) || i < 5 && levelSpelling(head[len(w):], bracket)) {
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

// plainHead is the head of a line without the escapes that colour it.
func plainHead(text string) string {
	head := text[:min(len(text), 120)]
	if !strings.Contains(head, "\x1b[") {
		return head
	}
	var b strings.Builder
	for head != "" {
		plain, rest, more := strings.Cut(head, "\x1b[")
		b.WriteString(plain)
		if !more {
			break
		}
		_, head, _ = strings.Cut(rest, "m")
	}
	return b.String()
}

// glogLevel reads the head of Google's loggers: E0102 15:04:05.000000.
func glogLevel(head string) int {
	if len(head) < 7 || head[5] != ' ' || strings.Trim(head[1:5], "0123456789") != "" || head[6] < '0' || head[6] > '9' {
		return 0
	}
	switch head[0] {
	case 'I':
		return 2
	case 'W':
		return 3
	case 'E', 'F':
		return 4
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

// levelSpelling tells "error: x", "[info] x" and "[info   ] x" from words of
// prose by what follows the word.
func levelSpelling(after string, bracket bool) bool {
	if bracket {
		after = strings.TrimLeft(after, " ")
	}
	return after != "" && strings.IndexByte(":]|)>", after[0]) >= 0
}
