package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// FuzzLine is whatever a function prints: it is taken, kept and found again, in
// the order in which it came.
func FuzzLine(f *testing.F) {
	f.Add("plain\nERROR x", "x")
	f.Add(`{"level":"warn","msg":"x","a":{"b":[1,"2"]}}`, "b")
	f.Add("Traceback (most recent call last):\n  File \"a\"\nKeyError: 1\n\nDuring handling of the above exception, y", "key")
	f.Add("panic: x\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1", "")
	f.Fuzz(func(t *testing.T, printed, text string) {
		a := newAssembly(Config{LineBytes: 64, LinesPerSecond: 1 << 20}.WithDefaults())
		now := time.Unix(1e9, 0)
		for line := range strings.SplitSeq(printed, "\n") {
			a.add(&mayfly.LogLine{App: "a", Function: "f", Instance: "i", Text: line}, now)
		}
		var codec lineCodec
		for _, l := range a.rest() {
			lift(l)
			hasFields(l.Text, map[string]string{text: text})
			body := codec.encode(nil, &l)
			again, err := codec.decode(codec.key(&l), body)
			if err != nil || again.Text != l.Text || again.Level != l.Level {
				t.Fatalf("%q came back as %q, %v", l.Text, again.Text, err)
			}
			if found := (&filter[mayfly.LogLine]{contains: []string{l.Text}}).bodyMatches(codec.searched(body)); !found {
				t.Fatalf("%q is not found by itself", l.Text)
			}
		}
	})
}
