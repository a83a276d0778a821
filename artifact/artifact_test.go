package artifact

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "store")
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tree writes files below a fresh folder; a name that ends in "*" is executable,
// content that starts with "-> " is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		write(t, dir, name, data)
	}
	return dir
}

func write(t *testing.T, dir, name, data string) {
	t.Helper()
	name, exec := strings.CutSuffix(name, "*")
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if target, link := strings.CutPrefix(data, "-> "); link {
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return
	}
	mode := fs.FileMode(0o640)
	if exec {
		mode = 0o700
	}
	if err := os.WriteFile(path, []byte(data), mode); err != nil {
		t.Fatal(err)
	}
}

func pack(t *testing.T, s *Store, src string, o Options) Bundle {
	t.Helper()
	b, err := s.Pack(t.Context(), src, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// paths are the files of a bundle.
func paths(t *testing.T, b Bundle) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(b.Dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(b.Dir, path)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestPackIsDeterministic(t *testing.T) {
	files := map[string]string{"app.py": "x = 1", "lib/a.py": "a", "run*": "#!/bin/sh", "lib/link": "-> a.py"}
	one, two := open(t, Config{}), open(t, Config{NoSync: true})
	a := pack(t, one, tree(t, files), Options{})
	src := tree(t, files)
	old := time.Unix(1, 0)
	if err := os.Chtimes(filepath.Join(src, "app.py"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(src, "app.py"), 0o604); err != nil {
		t.Fatal(err)
	}
	b := pack(t, two, src, Options{})
	if a.Digest != b.Digest || !a.Fresh || !b.Fresh {
		t.Errorf("digests %s and %s, fresh %v and %v", a.Digest, b.Digest, a.Fresh, b.Fresh)
	}
	if again := pack(t, two, src, Options{}); again.Fresh || again.Digest != b.Digest || again.Size != b.Size || again.Files != 4 {
		t.Errorf("packed again: %+v", again)
	}
	if got := paths(t, a); got != "app.py lib/a.py lib/link run" {
		t.Errorf("files %s", got)
	}
	for name, want := range map[string]fs.FileMode{"app.py": 0o444, "run": 0o555, "lib": 0o755, ".": 0o755} {
		info, err := os.Stat(filepath.Join(a.Dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v (%v)", name, info.Mode().Perm(), want, err)
		}
	}
	if err := os.Chmod(filepath.Join(src, "app.py"), 0o755); err != nil {
		t.Fatal(err)
	}
	if c := pack(t, two, src, Options{}); c.Digest == b.Digest {
		t.Error("an executable bit does not change the digest")
	}
}

func TestPackSharesUnchangedFiles(t *testing.T) {
	s := open(t, Config{})
	src := tree(t, map[string]string{"a": "same", "b": "one"})
	first := pack(t, s, src, Options{})
	write(t, src, "b", "two")
	second := pack(t, s, src, Options{})
	if first.Digest == second.Digest {
		t.Fatal("a changed file does not change the digest")
	}
	a, _ := os.Stat(filepath.Join(first.Dir, "a"))
	b, _ := os.Stat(filepath.Join(second.Dir, "a"))
	if !os.SameFile(a, b) {
		t.Error("the unchanged file is there twice")
	}
	if data, _ := os.ReadFile(filepath.Join(first.Dir, "b")); string(data) != "one" {
		t.Errorf("the first bundle's file became %q", data)
	}
}

func TestPackSeesQuickChangesOfEqualSize(t *testing.T) {
	s := open(t, Config{NoSync: true})
	src := tree(t, map[string]string{"a": "0"})
	seen := map[string]bool{}
	for _, text := range []string{"1", "2", "3", "4", "5"} {
		write(t, src, "a", text)
		b := pack(t, s, src, Options{})
		if data, _ := os.ReadFile(filepath.Join(b.Dir, "a")); string(data) != text {
			t.Fatalf("packed %q, want %q", data, text)
		}
		seen[b.Digest] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d digests", len(seen))
	}
}

func TestPackIgnores(t *testing.T) {
	src := tree(t, map[string]string{
		"app.py": "", "notes.txt": "", "keep.txt": "", "deep/notes.txt": "", "data/x": "", "deep/data/x": "", "build/out/x": "",
		".git/HEAD": "", "__pycache__/a.pyc": "", "pkg/__pycache__/b.pyc": "", "pkg/old.pyc": "", ".mayfly/state": "", "mayfly.yaml": "", "pkg/mayfly.yaml": "",
		".venv/bin/python": "-> /usr/bin/python3", ".venv/lib/site.py": "", ".DS_Store": "",
		".mayflyignore": "# comment\n*.txt\n!keep.txt\n/data/\nbuild/**\r\n",
	})
	b := pack(t, open(t, Config{}), src, Options{})
	if got, want := paths(t, b), ".venv/lib/site.py app.py deep/data/x keep.txt pkg/mayfly.yaml"; got != want {
		t.Errorf("files\n%s, want\n%s", got, want)
	}
}

func TestIgnorePatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		dir, want     bool
	}{
		{"*.txt", "a.txt", false, true}, {"*.txt", "d/a.txt", false, true}, {"/*.txt", "d/a.txt", false, false},
		{"d/", "d", true, true}, {"d/", "d", false, false}, {"a/b", "a/b", false, true}, {"a/b", "x/a/b", false, false},
		{"**/b", "x/a/b", false, true}, {"**/b", "b", false, true}, {"a/**", "a/x/y", false, true}, {"a/**", "a", true, false},
		{"a/**/b", "a/b", false, true}, {"a/**/b", "a/x/y/b", false, true}, {"f?o", "foo", false, true}, {"f?o", "f/o", false, false},
		{"[ab]c", "ac", false, true}, {"[!ab]c", "ac", false, false}, {"[!ab]c", "xc", false, true}, {`\#x`, "#x", false, true},
		{`\!x`, "!x", false, true}, {"x  ", "x", false, true}, {"a.b", "axb", false, false}, {"", "x", false, false}, {"/", "x", true, false},
	} {
		rules, err := newIgnore(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
		} else if got := rules.skips(c.path, c.dir); got != c.want {
			t.Errorf("%q on %q (folder %v) = %v", c.pattern, c.path, c.dir, got)
		}
	}
	for _, bad := range []string{"[", "[]", "[a", "[z-a]"} {
		if _, err := newIgnore(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestPackSingleFile(t *testing.T) {
	s := open(t, Config{})
	src := tree(t, map[string]string{"hello": "\x7fELF"})
	b := pack(t, s, filepath.Join(src, "hello"), Options{As: "bootstrap", Exec: true})
	info, err := os.Stat(filepath.Join(b.Dir, "bootstrap"))
	if err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("bootstrap: %v %v", info, err)
	}
	if got := paths(t, pack(t, s, filepath.Join(src, "hello"), Options{})); got != "hello" {
		t.Errorf("by its own name: %s", got)
	}
}

func TestPackRefuses(t *testing.T) {
	s := open(t, Config{MaxSize: 1000, MaxFiles: 5})
	for name, c := range map[string]struct {
		files map[string]string
		code  mayfly.Code
		says  string
	}{
		"nothing":       {map[string]string{".git/x": ""}, mayfly.Invalid, "there are no files in it"},
		"absolute link": {map[string]string{"a": "", "l": "-> /etc/passwd"}, mayfly.Invalid, "l is a link to /etc/passwd, outside the bundle"},
		"link up":       {map[string]string{"a": "", "d/l": "-> ../../x"}, mayfly.Invalid, "outside the bundle"},
		"link by link":  {map[string]string{"a": "", "d": "-> .", "l": "-> d/.."}, mayfly.Invalid, "outside the bundle"},
		"link circle":   {map[string]string{"a": "-> b", "b": "-> a"}, mayfly.Invalid, "circle"},
		"large":         {map[string]string{"big/deep/x": strings.Repeat("x", 900), "y": strings.Repeat("y", 200)}, mayfly.TooLarge, "big/deep/ 900 B, y 200 B"},
		"many":          {map[string]string{"1": "", "2": "", "3": "", "4": "", "5": "", "6": ""}, mayfly.TooLarge, "6 files"},
		"bad ignore":    {map[string]string{"a": "", ".mayflyignore": "ok\n[\n"}, mayfly.Invalid, "line 2 of .mayflyignore"},
	} {
		_, err := s.Pack(t.Context(), tree(t, c.files), Options{})
		if mayfly.CodeOf(err) != c.code || !strings.Contains(mayfly.MessageOf(err), c.says) {
			t.Errorf("%s: %v (%s)", name, err, mayfly.CodeOf(err))
		}
	}
	if _, err := s.Pack(t.Context(), "/does/not/exist", Options{}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("no source: %v", err)
	}
	left, _ := os.ReadDir(s.path("tmp"))
	if len(left) > 0 {
		t.Errorf("%d temporary files are left", len(left))
	}
}

func TestPackLeavesOutItsOwnData(t *testing.T) {
	src := tree(t, map[string]string{"a": "", "data/secret": ""})
	s := open(t, Config{Dir: filepath.Join(src, "store"), Exclude: []string{filepath.Join(src, "data")}})
	if got := paths(t, pack(t, s, src, Options{})); got != "a" {
		t.Errorf("files %s", got)
	}
}

type entry struct {
	name, body, link string
	kind             byte
	mode             int64
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Size: int64(len(e.body)), Mode: e.mode | 0o600}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zipOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(fs.FileMode(e.mode | 0o600))
		if e.link != "" {
			h.SetMode(fs.ModeSymlink | 0o777)
			e.body = e.link
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestPackArchives(t *testing.T) {
	s := open(t, Config{})
	want := pack(t, s, tree(t, map[string]string{"app.py": "x", "bin/run*": "y", "l": "-> app.py"}), Options{}).Digest
	dir := tree(t, map[string]string{
		"a.zip": string(zipOf(t, entry{name: "bin/"}, entry{name: "app.py", body: "x"}, entry{name: "bin/run", body: "y", mode: 0o755}, entry{name: "l", link: "app.py"})),
		"a.tar.gz": string(tarOf(t, entry{name: "./bin/", kind: tar.TypeDir}, entry{name: "./app.py", body: "x", kind: tar.TypeReg},
			entry{name: "./bin/run", body: "y", kind: tar.TypeReg, mode: 0o755}, entry{name: "./l", link: "app.py", kind: tar.TypeSymlink})),
	})
	for _, name := range []string{"a.zip", "a.tar.gz"} {
		if got := pack(t, s, filepath.Join(dir, name), Options{}); got.Digest != want {
			t.Errorf("%s: digest %s, files %s", name, got.Digest, paths(t, got))
		}
		if got := paths(t, pack(t, s, filepath.Join(dir, name), Options{Raw: true})); got != name {
			t.Errorf("%s raw: %s", name, got)
		}
	}
}

func TestArchivesCannotLeadOut(t *testing.T) {
	s := open(t, Config{MaxSize: 1 << 20, MaxFiles: 100})
	outside := filepath.Join(t.TempDir(), "outside")
	up := strings.Repeat("../", 20)
	var many []entry
	for i := range 300 {
		many = append(many, entry{name: strings.Repeat("d/", i%7) + "f" + strings.Repeat("x", i), kind: tar.TypeReg})
	}
	for name, data := range map[string][]byte{
		"slip.tar":     tarOf(t, entry{name: up + outside, body: "x", kind: tar.TypeReg}),
		"abs.tar":      tarOf(t, entry{name: outside, body: "x", kind: tar.TypeReg}),
		"inner.tar":    tarOf(t, entry{name: "a/../../b", body: "x", kind: tar.TypeReg}),
		"link.tar":     tarOf(t, entry{name: "l", link: "/tmp", kind: tar.TypeSymlink}, entry{name: "l/x", body: "x", kind: tar.TypeReg}),
		"linkup.tar":   tarOf(t, entry{name: "l", link: "../..", kind: tar.TypeSymlink}, entry{name: "l/x", body: "x", kind: tar.TypeReg}),
		"hard.tar":     tarOf(t, entry{name: "h", link: "/etc/passwd", kind: tar.TypeLink}),
		"hardup.tar":   tarOf(t, entry{name: "h", link: up + "etc/passwd", kind: tar.TypeLink}),
		"device.tar":   tarOf(t, entry{name: "null", kind: tar.TypeChar}),
		"fifo.tar":     tarOf(t, entry{name: "pipe", kind: tar.TypeFifo}),
		"twice.tar":    tarOf(t, entry{name: "a", kind: tar.TypeReg}, entry{name: "a", kind: tar.TypeReg}),
		"bomb.tar.gz":  tarOf(t, entry{name: "zeros", body: strings.Repeat("\x00", 4<<20), kind: tar.TypeReg}),
		"many.tar":     tarOf(t, many...),
		"garbage.tar":  []byte("this is not an archive, but long enough to look at"),
		"broken.tgz":   tarOf(t, entry{name: "a", body: strings.Repeat("a", 1000), kind: tar.TypeReg})[:60],
		"slip.zip":     zipOf(t, entry{name: up + outside, body: "x"}),
		"abs.zip":      zipOf(t, entry{name: outside, body: "x"}),
		"back.zip":     zipOf(t, entry{name: `..\..\x`, body: "x"}),
		"link.zip":     zipOf(t, entry{name: "l", link: "../../../tmp"}, entry{name: "l/x", body: "x"}),
		"bomb.zip":     zipOf(t, entry{name: "zeros", body: strings.Repeat("\x00", 4<<20)}),
		"garbage.zip":  []byte("PK not at all"),
		"dangling.tar": tarOf(t, entry{name: "d", link: ".", kind: tar.TypeSymlink}, entry{name: "e", link: "d/..", kind: tar.TypeSymlink}, entry{name: "a", kind: tar.TypeReg}),
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := s.Pack(t.Context(), path, Options{})
		if code := mayfly.CodeOf(err); code != mayfly.Invalid && code != mayfly.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("an archive wrote outside its folder")
	}
	if left, _ := os.ReadDir(s.path("tmp")); len(left) > 0 {
		t.Errorf("%d temporary folders are left", len(left))
	}
}

func TestBuild(t *testing.T) {
	s := open(t, Config{})
	src := tree(t, map[string]string{"in.txt": "hello", ".mayflyignore": "in.txt\n"})
	var out bytes.Buffer
	runs := 0
	o := Options{Build: "tr a-z A-Z < in.txt > out.txt; echo built; chmod +x out.txt", Output: &out, Started: func() { runs++ }}
	b := pack(t, s, src, o)
	if got := paths(t, b); got != "out.txt" || out.String() != "built\n" || !b.Built {
		t.Errorf("files %s, output %q, %+v", got, out.String(), b)
	}
	if data, _ := os.ReadFile(filepath.Join(b.Dir, "out.txt")); string(data) != "HELLO" {
		t.Errorf("built %q", data)
	}
	if again := pack(t, s, src, o); again.Digest != b.Digest || again.Built || runs != 1 {
		t.Errorf("an unchanged source is built again: %+v, %d runs", again, runs)
	}
	write(t, src, "in.txt", "world")
	if changed := pack(t, s, src, o); changed.Digest == b.Digest || runs != 2 {
		t.Errorf("a changed source is not built: %+v, %d runs", changed, runs)
	}
	if _, err := os.Stat(filepath.Join(src, "out.txt")); err == nil {
		t.Error("the build wrote into the source")
	}
}

func TestBuildFailures(t *testing.T) {
	s := open(t, Config{})
	src := tree(t, map[string]string{"a": ""})
	for _, c := range []struct {
		o    Options
		says string
	}{
		{Options{Build: "echo no such thing >&2; exit 3"}, "failed: exit status 3; it said:\nno such thing"},
		{Options{Build: "sleep 60 & sleep 60", Timeout: 50 * time.Millisecond}, "took longer than 50ms"},
		{Options{Build: "rm a"}, "there are no files in it"},
	} {
		if _, err := s.Pack(t.Context(), src, c.o); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(mayfly.MessageOf(err), c.says) {
			t.Errorf("%q: %v", c.o.Build, err)
		}
	}
	if _, err := s.Pack(t.Context(), src, Options{Build: "no-such-compiler a"}); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("a build whose command is not there: %v", err)
	}
	if _, err := s.Pack(t.Context(), filepath.Join(src, "a"), Options{Build: "true"}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a build of one file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Pack(ctx, src, Options{}); err == nil {
		t.Error("a cancelled pack succeeds")
	}
}

func TestBuildEnvironment(t *testing.T) {
	t.Setenv("MAYFLY_TOKEN", "s3cret")
	s := open(t, Config{})
	b := pack(t, s, tree(t, map[string]string{"a": ""}), Options{Build: "env > env.txt"})
	data, _ := os.ReadFile(filepath.Join(b.Dir, "env.txt"))
	if bytes.Contains(data, []byte("s3cret")) || !bytes.Contains(data, []byte("PATH=")) {
		t.Errorf("environment:\n%s", data)
	}
}

func TestExportImport(t *testing.T) {
	a, b := open(t, Config{}), open(t, Config{})
	want := pack(t, a, tree(t, map[string]string{"app.py": "x", "bin/run*": "y", "l": "-> app.py", "Ünïcode": "z"}), Options{})
	var buf bytes.Buffer
	if err := a.Export(t.Context(), want.Digest, &buf); err != nil {
		t.Fatal(err)
	}
	sent := buf.Bytes()
	got, err := b.Import(t.Context(), bytes.NewReader(sent), want.Digest)
	if err != nil || got.Digest != want.Digest || paths(t, got) != paths(t, want) {
		t.Errorf("imported %+v: %v", got, err)
	}
	other := algorithm + strings.Repeat("0", 64)
	if _, err := b.Import(t.Context(), bytes.NewReader(sent), other); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a wrong digest: %v", err)
	}
	if _, err := b.Import(t.Context(), bytes.NewReader(sent[:len(sent)/2]), want.Digest); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("half a stream: %v", err)
	}
	if err := a.Export(t.Context(), other, io.Discard); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("an unknown bundle: %v", err)
	}
	if _, err := a.Dir("../../etc"); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a path for a digest: %v", err)
	}
}

func TestSweep(t *testing.T) {
	s := open(t, Config{})
	src := tree(t, map[string]string{"a": "same", "b": "one"})
	first := pack(t, s, src, Options{})
	write(t, src, "b", "two")
	second := pack(t, s, src, Options{Build: "true"})
	if err := os.MkdirAll(s.path("builds"), 0o755); err != nil {
		t.Fatal(err)
	}
	n, err := s.Sweep(t.Context(), func(d string) bool { return d == first.Digest })
	if n != 1 || err != nil {
		t.Fatalf("removed %d: %v", n, err)
	}
	if _, err := s.Bundle(second.Digest); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("the second is there: %v", err)
	}
	if got := paths(t, first); got != "a b" {
		t.Errorf("the first has %s", got)
	}
	contents := 0
	_ = filepath.WalkDir(s.path("pool"), func(_ string, e fs.DirEntry, _ error) error {
		if !e.IsDir() {
			contents++
		}
		return nil
	})
	builds, _ := os.ReadDir(s.path("builds"))
	if contents != 2 || len(builds) != 0 {
		t.Errorf("%d contents and %d builds are left", contents, len(builds))
	}
	if again := pack(t, s, src, Options{Build: "true"}); !again.Built || again.Digest != second.Digest {
		t.Errorf("packed again: %+v", again)
	}
	if err := s.Remove(first.Digest); err != nil {
		t.Error(err)
	}
	if err := s.Remove(first.Digest); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, Config{Dir: dir})
	b := pack(t, s, tree(t, map[string]string{"x/y/z": "1", "n": "22"}), Options{})
	if _, err := s.temp(); err != nil { // what a killed daemon leaves
		t.Fatal(err)
	}
	s = open(t, Config{Dir: dir})
	got, err := s.Bundle(b.Digest)
	if err != nil || got.Size != 3 || got.Files != 2 || len(got.Largest) != 2 || got.Largest[0].Path != "n" {
		t.Errorf("after reopening: %+v %v", got, err)
	}
	if left, _ := os.ReadDir(s.path("tmp")); len(left) > 0 {
		t.Error("a temporary folder is left")
	}
}

// TestShared has one process tidy up while another one packs, and when it is
// alone.
func TestShared(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "store")}
	shared := func(unused time.Duration) (*Store, func() error) {
		t.Helper()
		s, release, err := Shared(t.Context(), cfg, unused)
		if err != nil {
			t.Fatal(err)
		}
		return s, release
	}
	first, release := shared(time.Hour)
	old := pack(t, first, tree(t, map[string]string{"a": "1"}), Options{})
	src := tree(t, map[string]string{"a": "2"})
	again := pack(t, first, src, Options{})
	for _, b := range []Bundle{old, again} {
		if err := os.Chtimes(b.Dir, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	half, err := first.temp()
	if err != nil {
		t.Fatal(err)
	}
	second, releaseSecond := shared(time.Hour)
	if _, err := os.Stat(half); err != nil {
		t.Errorf("what another process makes is gone: %v", err)
	}
	pack(t, second, src, Options{})
	if err := errors.Join(release(), releaseSecond()); err != nil {
		t.Fatal(err)
	}
	third, release := shared(time.Hour)
	defer release()
	if _, err := os.Stat(half); err == nil {
		t.Error("what was left half made stays")
	}
	if _, err := third.Dir(old.Digest); err == nil {
		t.Error("what was not used for long stays")
	}
	if _, err := third.Dir(again.Digest); err != nil {
		t.Errorf("what was packed again is gone: %v", err)
	}
}

func TestPackConcurrently(t *testing.T) {
	s := open(t, Config{})
	src := tree(t, map[string]string{"a": "1", "d/b": "2"})
	errs := make(chan error, 8)
	for i := range 8 {
		go func() {
			o := Options{}
			if i%2 == 0 {
				o.Build = "echo 3 > c"
			}
			_, err := s.Pack(context.Background(), src, o)
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("x"))
	f.Add([]byte("\x1f\x8bxx"))
	f.Add([]byte("\x28\xb5\x2f\xfdxxxx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = Unpack(t.Context(), bytes.NewReader(data), t.TempDir(), Config{MaxSize: 1 << 20, MaxFiles: 100})
	})
}

// BenchmarkPackAfterSave packs a folder of 200 files of which one changed.
func BenchmarkPackAfterSave(b *testing.B) {
	s, err := New(Config{Dir: filepath.Join(b.TempDir(), "store"), NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	src := b.TempDir()
	for i := range 200 {
		name := filepath.Join(src, "lib", string(rune('a'+i%26)), strings.Repeat("f", 1+i/26)+".py")
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, bytes.Repeat([]byte("x = 1\n"), 500), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := 0; b.Loop(); i++ {
		if err := os.WriteFile(filepath.Join(src, "app.py"), []byte(strings.Repeat("#", i%100)+time.Now().String()), 0o644); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Pack(context.Background(), src, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
