package templates

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/manifest"
)

func TestEveryTemplateIsAnApp(t *testing.T) {
	for _, tmpl := range List() {
		dir := filepath.Join(t.TempDir(), "My First_App")
		written, err := Write(tmpl.Name, dir, "")
		if err != nil {
			t.Errorf("%s: %v", tmpl.Name, err)
			continue
		}
		for _, name := range []string{"mayfly.yaml", "README.md", ".gitignore"} {
			if !slices.Contains(written, name) {
				t.Errorf("%s has no %s", tmpl.Name, name)
			}
		}
		m, err := manifest.Load(dir)
		if err != nil {
			t.Errorf("%s: %v", tmpl.Name, err)
			continue
		}
		if m.App != "my-first-app" || len(m.Functions) == 0 {
			t.Errorf("%s: app %q with %d functions", tmpl.Name, m.App, len(m.Functions))
		}
		for _, name := range written {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || strings.Contains(string(data), "{{") {
				t.Errorf("%s: %s is not filled in (%v)", tmpl.Name, name, err)
			}
		}
	}
}

func TestEveryFolderIsListed(t *testing.T) {
	entries, err := files.ReadDir("files")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.ContainsFunc(List(), func(t Template) bool { return t.Name == e.Name() }) {
			t.Errorf("the template %s is not listed", e.Name())
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[mayfly.Code]error{
		mayfly.NotFound: second(Write("ruby", t.TempDir(), "")),
		mayfly.Conflict: second(Write("node", full, "")),
		mayfly.Invalid:  second(Write("node", t.TempDir(), "No Name")),
	} {
		if mayfly.CodeOf(err) != want {
			t.Errorf("want %s: %v", want, err)
		}
	}
	if _, err := Write("node", filepath.Join(full, "mine"), ""); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("into a file: %v", err)
	}
}

func second[A any](_ A, err error) error { return err }
