package templates

import (
	"bytes"
	"embed"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

//go:embed all:files
var files embed.FS

// Template is a project to start from.
type Template struct {
	Name    string `json:"name"`
	Summary string `json:"summary"`
}

// List is every template.
func List() []Template {
	return []Template{
		{"node", "a JavaScript function behind an HTTP route"},
		{"python", "a Python function behind an HTTP route"},
		{"go", "a Go program that speaks the Lambda Runtime API, standard library only"},
		{"http", "a web server of any kind, here Node's, scaled to zero"},
		{"wasm", "a WebAssembly module from Go, a fresh instance per call"},
	}
}

// Write makes a project in dir, which may exist but must be empty, and returns
// the files that it wrote. app "" names the app after the folder.
func Write(name, dir, app string) ([]string, error) {
	if err := known(name); err != nil {
		if known(dir) == nil {
			return nil, mayfly.Errorf(mayfly.NotFound, "new", "there is no template %q; the template comes first: mayfly new %s %s", name, dir, name)
		}
		return nil, err
	}
	app, err := appName(dir, app)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, mayfly.Errorf(mayfly.Invalid, "new", "%s is not a folder: %w", dir, err)
	}
	if len(entries) > 0 {
		return nil, mayfly.Errorf(mayfly.Conflict, "new", "%s is not empty (it has %s); choose another folder", dir, entries[0].Name())
	}
	var written []string
	root := path.Join("files", name)
	err = fs.WalkDir(files, root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel := strings.TrimSuffix(strings.TrimPrefix(p, root+"/"), ".tmpl")
		written = append(written, rel)
		return writeFile(p, filepath.Join(dir, filepath.FromSlash(rel)), app)
	})
	return written, err
}

func writeFile(from, to, app string) error {
	data, err := files.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "new", "%w", err)
	}
	if err := os.WriteFile(to, bytes.ReplaceAll(data, []byte("{{app}}"), []byte(app)), 0o644); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "new", "%w", err)
	}
	return nil
}

func known(name string) error {
	var names []string
	for _, t := range List() {
		if t.Name == name {
			return nil
		}
		names = append(names, t.Name)
	}
	return mayfly.Errorf(mayfly.NotFound, "new", "there is no template %q; there is %s", name, strings.Join(names, ", "))
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// appName is app, or what dir is called in the letters of a name.
func appName(dir, app string) (string, error) {
	if app != "" {
		if !mayfly.ValidName(app) {
			return "", mayfly.Errorf(mayfly.Invalid, "new", "%q is not a name; use lower case letters, digits and dashes, a letter first", app)
		}
		return app, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", mayfly.Errorf(mayfly.Invalid, "new", "%w", err)
	}
	app = strings.Trim(notInName.ReplaceAllString(strings.ToLower(filepath.Base(abs)), "-"), "-")
	if !mayfly.ValidName(app) {
		return "app", nil
	}
	return app, nil
}
