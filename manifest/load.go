package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/mayfly-cloud/mayfly"
)

// Names are the file names that a manifest may have, the usual one first.
var Names = []string{"mayfly.yaml", "mayfly.yml"}

// Document is a manifest as read, with the place of every value.
type Document struct {
	File     string // as problems name it
	Dir      string // what relative paths in the manifest start from; "" where it was not read from a file
	Manifest *mayfly.Manifest
	places   map[string]place
}

// Parse reads a manifest from data; name is how problems call the file. The
// manifest has its defaults applied and is nil where there are problems. Files
// that it refers to are not looked at.
func Parse(name string, data []byte) (*mayfly.Manifest, Problems) {
	doc, problems := read(name, data)
	if len(problems) > 0 {
		return nil, problems
	}
	ApplyDefaults(doc.Manifest)
	return doc.Manifest, nil
}

// Load reads the manifest in a folder, or the file itself, and the files that
// it refers to. It returns an Invalid error that holds Problems where something
// is wrong with them, and NotFound where there is no manifest.
func Load(path string) (*mayfly.Manifest, error) {
	doc, err := Open(path)
	if err != nil {
		return nil, err
	}
	return doc.Manifest, nil
}

// Open is Load that keeps the place of every value, for problems that are found
// later.
func Open(path string) (*Document, error) { return open(path, true) }

// OpenPacked is Open for an app that was packed elsewhere: the sources of its
// functions need not be there.
func OpenPacked(path string) (*Document, error) { return open(path, false) }

func open(path string, sources bool) (*Document, error) {
	file, err := Find(path)
	if err != nil {
		return nil, err
	}
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	doc, problems := read(filepath.Base(file), data)
	doc.Dir = filepath.Dir(file)
	if doc.Manifest != nil {
		found := loadFiles(doc.Dir, doc.Manifest)
		if sources {
			found = append(found, checkSources(doc.Dir, doc.Manifest)...)
		}
		problems = append(problems, doc.Place(found)...)
		problems.Sort()
	}
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	ApplyDefaults(doc.Manifest)
	return doc, nil
}

// Find is the manifest file for path, which is the file itself or its folder.
func Find(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", mayfly.Errorf(mayfly.NotFound, "read the manifest", "%s does not exist", path)
	}
	if !info.IsDir() {
		return path, nil
	}
	for _, name := range Names {
		file := filepath.Join(path, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", mayfly.Errorf(mayfly.NotFound, "read the manifest", "no %s in %s; start one with: mayfly new node %s", Names[0], path, path)
}

func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxFile {
		return nil, mayfly.Errorf(mayfly.Invalid, "read the manifest", "%s is %s; a manifest holds at most %s", file, mayfly.Bytes(info.Size()), mayfly.Bytes(maxFile))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read the manifest", "%w", err)
	}
	return data, nil
}

// read decodes and validates. The document's manifest is nil where the file is
// not YAML at all.
func read(name string, data []byte) (*Document, Problems) {
	doc := &Document{File: name, places: map[string]place{}}
	body, problems := parse(data)
	if len(problems) > 0 {
		return doc, doc.Place(problems)
	}
	d := &decoder{places: doc.places, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	m := &mayfly.Manifest{}
	d.value(body, reflect.ValueOf(m).Elem(), "", 0)
	doc.Manifest = m
	problems = append(d.problems, doc.Place(Validate(m))...)
	problems = doc.Place(withoutEchoes(problems))
	problems.Sort()
	return doc, problems
}

// withoutEchoes drops what validation says of a value that could not be read:
// the first problem of a path is its cause.
func withoutEchoes(all Problems) Problems {
	seen := map[string]bool{}
	var out Problems
	for _, p := range all {
		if p.Path != "" && seen[p.Path] {
			continue
		}
		seen[p.Path] = true
		out = append(out, p)
	}
	return out
}

// parse is the one body of the file.
func parse(data []byte) (body ast.Node, problems Problems) {
	defer func() {
		// The YAML parser is known to panic on some malformed input.
		if r := recover(); r != nil {
			body, problems = nil, Problems{{Message: fmt.Sprintf("is not YAML: %v", r)}}
		}
	}()
	if len(data) > maxFile {
		return nil, Problems{{Message: fmt.Sprintf("a manifest holds at most %s", mayfly.Bytes(maxFile))}}
	}
	if n := bytes.Count(data, []byte("\n")); n > maxLines {
		return nil, Problems{{Message: fmt.Sprintf("has %d lines; a manifest has at most %d", n, maxLines)}}
	}
	if deepest(data) > maxDepth {
		return nil, Problems{{Message: fmt.Sprintf("is nested more than %d deep", maxDepth)}}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Problems{syntaxProblem(err)}
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch {
	case len(bodies) == 0:
		return nil, Problems{{Line: 1, Column: 1, Message: "is empty; the least a manifest says is app: NAME"}}
	case len(bodies) > 1:
		at := placeOf(bodies[1])
		return nil, Problems{{Line: at.line, Column: at.column, Message: "a manifest is one document; remove the second after \"---\""}}
	}
	return bodies[0], nil
}

// deepest is how deep brackets, or list dashes in one line, could be nested at
// most; the parser recurses.
func deepest(data []byte) int {
	depth, dashes, most := 0, 0, 0
	for i, c := range data {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case '\n':
			dashes = 0
		case '-', '?':
			if i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\t') {
				dashes++
			}
		}
		most = max(most, depth, dashes)
	}
	return most
}

func syntaxProblem(err error) Problem {
	var e yaml.Error
	if !errors.As(err, &e) {
		return Problem{Message: "is not YAML: " + err.Error()}
	}
	at := placeOfToken(e.GetToken())
	text := "is not YAML: " + e.GetMessage()
	if strings.Contains(text, "',' or '}'") {
		text += "; between { and }, a value that has braces itself, such as a route, needs quotes"
	}
	if strings.Contains(text, "'\t'") {
		text += "; indent by spaces, not by tabs"
	}
	return Problem{Line: at.line, Column: at.column, Message: text}
}

// Place gives problems that have a path their file, line and column: the
// value's, else that of the nearest value around it. A message that begins with
// a key below the path is about that key's value.
func (doc *Document) Place(problems Problems) Problems {
	for i := range problems {
		p := &problems[i]
		p.File = doc.File
		if p.Line > 0 {
			continue
		}
		word, rest, _ := strings.Cut(p.Message, " ")
		key, colon := strings.CutSuffix(word, ":")
		if _, ok := doc.places[p.Path+"."+key]; ok {
			p.Path += "." + key
			if colon {
				p.Message = rest
			}
		}
		for path := p.Path; ; path = parentPath(path) {
			if at, ok := doc.places[path]; ok {
				p.Line, p.Column = at.line, at.column
				break
			}
			if path == "" {
				break
			}
		}
	}
	return problems
}

func parentPath(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// loadFiles fills what the manifest refers to by path.
func loadFiles(dir string, m *mayfly.Manifest) (problems Problems) {
	for name, t := range m.Topics {
		if t != nil && t.Schema != "" {
			problems = append(problems, loadSchema(dir, t, "topics."+name+".schema")...)
		}
	}
	for name, db := range m.Databases {
		if db != nil && db.Migrations != "" {
			problems = append(problems, loadMigrations(dir, db, "databases."+name+".migrations")...)
		}
	}
	return problems
}

func checkSources(dir string, m *mayfly.Manifest) (problems Problems) {
	for name, fn := range m.Functions {
		if fn != nil && fn.Source != "" && (fn.Runtime != mayfly.Container || IsPath(fn.Source)) {
			if _, why := inside(dir, fn.Source); why != "" {
				problems.add("functions."+string(name)+".source", "%s", why)
			}
		}
	}
	return problems
}

// IsPath reports whether a container's source is written as a path, and so can
// be no image in a registry.
func IsPath(source string) bool {
	return strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../") || strings.HasPrefix(source, "/") || strings.HasSuffix(source, ".tar")
}

// inside is the path of a file that a manifest names, or why it may not be: it
// must exist and lie in the app's folder, links resolved.
func inside(dir, rel string) (path, why string) {
	if filepath.IsAbs(rel) {
		return "", fmt.Sprintf("%s is absolute; write it relative to the manifest", rel)
	}
	path = filepath.Join(dir, filepath.FromSlash(rel))
	if !filepath.IsLocal(filepath.FromSlash(rel)) {
		return "", fmt.Sprintf("%s is outside the app's folder; move it inside", rel)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Sprintf("%s does not exist%s", rel, neighbour(path))
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err.Error()
	}
	if up, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(up) {
		return "", fmt.Sprintf("%s is a link that leads out of the app's folder; copy what it points to", rel)
	}
	return path, ""
}

// neighbour is a hint to a file beside path with nearly its name.
func neighbour(path string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return hint(filepath.Base(path), names)
}

func loadSchema(dir string, t *mayfly.Topic, at string) (problems Problems) {
	path, why := inside(dir, t.Schema)
	if why != "" {
		problems.add(at, "%s", why)
		return problems
	}
	data, err := os.ReadFile(path)
	switch {
	case err != nil:
		problems.add(at, "cannot be read: %v", err)
	case len(data) > maxFile:
		problems.add(at, "%s holds more than %s", t.Schema, mayfly.Bytes(maxFile))
	default:
		var compact bytes.Buffer
		if err := json.Compact(&compact, data); err != nil {
			problems.add(at, "%s is not JSON: %v", t.Schema, err)
			return problems
		}
		t.SchemaBody = compact.Bytes()
	}
	return problems
}

var migrationName = regexp.MustCompile(`^[0-9]+(_[A-Za-z0-9_.-]+)?\.sql$`)

func loadMigrations(dir string, db *mayfly.Database, at string) (problems Problems) {
	path, why := inside(dir, db.Migrations)
	if why != "" {
		problems.add(at, "%s", why)
		return problems
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		problems.add(at, "%s is not a folder of .sql files", db.Migrations)
		return problems
	}
	db.MigrationFiles = map[string]string{}
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".sql") {
			continue
		}
		if !migrationName.MatchString(e.Name()) {
			problems.add(at, "the migration %s has no number; name it as 001_%s", e.Name(), e.Name())
			continue
		}
		if strings.HasSuffix(e.Name(), ".down.sql") {
			problems.add(at, "%s would undo a migration, and migrations run forward only; move it out of the folder", e.Name())
			continue
		}
		data, err := fs.ReadFile(os.DirFS(path), e.Name())
		if err != nil {
			problems.add(at, "the migration %s cannot be read: %v", e.Name(), err)
			continue
		}
		db.MigrationFiles[e.Name()] = string(data)
	}
	return problems
}
