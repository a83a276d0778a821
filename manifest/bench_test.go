package manifest

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParse reads a manifest of 10,000 functions, each with a route.
func BenchmarkParse(b *testing.B) {
	var s strings.Builder
	s.WriteString("app: many\nfunctions:\n")
	for i := range 10_000 {
		fmt.Fprintf(&s, "  f%d: {runtime: node, source: ./f, handler: index.handler, on: [{http: GET /f/%d}]}\n", i, i)
	}
	data := []byte(s.String())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, problems := Parse("mayfly.yaml", data); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
