package control

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/engine"
)

// BenchmarkDeploy deploys an app of 1,000 functions of which all changed, then
// one of which one changed; starts cost nothing here.
func BenchmarkDeploy(b *testing.B) {
	for _, share := range []string{"all", "one"} {
		b.Run(share, func(b *testing.B) {
			n, write := benchNode(b)
			for i := 0; b.Loop(); i++ {
				if share == "all" {
					write("shared/app.py", fmt.Sprint("x = ", i))
				}
				write("own/app.py", fmt.Sprint("y = ", i))
				if r, err := n.Deploy(context.Background(), Local(n.dir), Options{}); err != nil || !r.Changed {
					b.Fatal(r, err)
				}
			}
		})
	}
}

func benchNode(b *testing.B) (*node, func(name, text string)) {
	b.Helper()
	e, err := engine.Open(b.Context(), engine.Config{Dir: filepath.Join(b.TempDir(), "engine")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	store, err := artifact.New(artifact.Config{Dir: filepath.Join(b.TempDir(), "artifacts"), NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	n := &node{dir: b.TempDir(), warmer: &starter{store: store}}
	if n.Control, err = New(Config{Index: e.Index(), Artifacts: store, Warmer: n.warmer}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Control.Close() })
	write := func(name, text string) {
		if err := writeText(n.dir, name, text); err != nil {
			b.Fatal(err)
		}
	}
	var m strings.Builder
	m.WriteString("app: many\nfunctions:\n  own: {runtime: python, source: ./own, handler: app.handler}\n")
	for i := range 999 {
		fmt.Fprintf(&m, "  f%d: {runtime: python, source: ./shared, handler: app.handler, on: [{http: GET /f/%d}]}\n", i, i)
	}
	write("mayfly.yaml", m.String())
	write("shared/app.py", "x = 0")
	return n, write
}
