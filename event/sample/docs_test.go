package sample

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

var rewrite = flag.Bool("rewrite", false, "write the samples into docs/events.md")

// block matches a marker and the sample below it.
var block = regexp.MustCompile("(?m)^<!-- sample (\\w+) -->\n+(?:### `.*\n+```json\n(?s:.*?)\n```\n+)?")

// TestDocsShowEverySample keeps the samples in docs/events.md those that the
// command prints.
func TestDocsShowEverySample(t *testing.T) {
	const file = "../../docs/events.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	want := block.ReplaceAllFunc(text, func(m []byte) []byte {
		kind := string(block.FindSubmatch(m)[1])
		shown[kind] = true
		event, err := Event(mayfly.TriggerKind(kind), "", "")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, "<!-- sample %s -->\n\n### `%s`\n\n```json\n%s\n```\n\n", kind, kind, event)
	})
	want = append(bytes.TrimRight(want, "\n"), '\n')
	for _, kind := range Kinds {
		if !shown[string(kind)] {
			t.Errorf("docs/events.md has no sample of %s: add the line <!-- sample %s -->", kind, kind)
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(text, want) {
		t.Error("docs/events.md shows other samples than the command prints; run: go test ./event/sample -run TestDocs -rewrite")
	}
}
