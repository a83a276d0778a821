package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly/manifest"
)

// TestExamples reads every example, and finds each of its routes in its README.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("*/mayfly.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples %v: %v", files, err)
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		m, err := manifest.Load(dir)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		for name, fn := range m.Functions {
			for _, on := range fn.On {
				if on.HTTP != "" && !mentions(string(readme), on.HTTP) {
					t.Errorf("%s/README.md calls nothing that %q of %s answers", dir, on.HTTP, name)
				}
			}
		}
	}
}

var wildcard = regexp.MustCompile(`\\\{[^}]*\\\}`)

// mentions reports whether a text has an address that a route fits.
func mentions(text, route string) bool {
	_, path, ok := strings.Cut(route, " ")
	if !ok {
		path = route
	}
	path = strings.TrimSuffix(path, "{$}")
	expr := wildcard.ReplaceAllString(regexp.QuoteMeta(path), `[^\s"]+`)
	return regexp.MustCompile(`localhost:8080` + expr + `[\s">?]`).MatchString(text)
}
