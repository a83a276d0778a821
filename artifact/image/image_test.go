package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/mayfly-cloud/mayfly"
)

// entry is one of a layer.
type entry struct {
	name, body, link string
	kind             byte // default a file
	mode             int64
}

func layer(t testing.TB, entries ...entry) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Size: int64(len(e.body)), ModTime: time.Unix(1e9, 0)}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func build(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err == nil {
		var c *v1.ConfigFile
		if c, err = img.ConfigFile(); err == nil {
			c = c.DeepCopy()
			c.OS, c.Architecture, c.Config.WorkingDir, c.Config.Cmd = "linux", runtime.GOARCH, "/made/by/workdir", []string{"/x"}
			img, err = mutate.ConfigFile(img, c)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func roots(t testing.TB) *Roots {
	t.Helper()
	r, err := NewRoots(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func unpackAll(t testing.TB, layers ...v1.Layer) (string, error) {
	t.Helper()
	img, err := describe(build(t, layers...))
	if err != nil {
		t.Fatal(err)
	}
	return roots(t).Root(context.Background(), img)
}

// tree lists what is below a root: "path" for folders with "/", "path=content"
// for files, "path>target" for links.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			all[rel] = "/"
		case e.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			all[rel] = ">" + target
		default:
			b, err := os.ReadFile(p)
			all[rel] = "=" + string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func expect(t *testing.T, root string, want map[string]string) {
	t.Helper()
	got := tree(t, root)
	for path, what := range want {
		if got[path] != what {
			t.Errorf("%s is %q, want %q", path, got[path], what)
		}
	}
}

const (
	dir  = tar.TypeDir
	link = tar.TypeSymlink
	hard = tar.TypeLink
)

func TestLayers(t *testing.T) {
	root, err := unpackAll(t,
		layer(t,
			entry{name: "usr/", kind: dir}, entry{name: "usr/lib/", kind: dir}, entry{name: "lib", kind: link, link: "/usr/lib"},
			entry{name: "usr/lib/a", body: "a1"}, entry{name: "gone", body: "x"}, entry{name: "d/old", body: "x"}, entry{name: "d/sub/old", body: "x"},
			entry{name: "was-dir/x", body: "x"}, entry{name: "was-file", body: "x"}, entry{name: "./dot", body: "dot"},
			entry{name: "tmp/", kind: dir, mode: 0o1777}, entry{name: "su", body: "s", mode: 0o6755}, entry{name: "locked/", kind: dir, mode: 0o555}, entry{name: "locked/in", body: "l"}),
		layer(t,
			entry{name: "lib/b", body: "b2"}, entry{name: ".wh.gone"}, entry{name: "d/new", body: "n"}, entry{name: "d/.wh..wh..opq"}, entry{name: "d/sub/new", body: "n"},
			entry{name: "was-dir", body: "file now"}, entry{name: "was-file/", kind: dir}, entry{name: "was-file/y", body: "y"},
			entry{name: "hard", kind: hard, link: "lib/a"}, entry{name: "dev", kind: tar.TypeChar}, entry{name: "pipe", kind: tar.TypeFifo}, entry{name: ".wh.never"}, entry{name: ".wh..wh.plnk"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, root, map[string]string{
		"lib": ">/usr/lib", "usr/lib/a": "=a1", "usr/lib/b": "=b2", "gone": "", "d/old": "", "d/sub/old": "", "d/new": "=n", "d/sub/new": "=n",
		"was-dir": "=file now", "was-file/y": "=y", "dot": "=dot", "hard": "=a1", "dev": "", "pipe": "", "made/by/workdir": "/", "locked/in": "=l",
	})
	st, _ := os.Stat(filepath.Join(root, "su"))
	if st.Mode() != 0o755 {
		t.Errorf("mode of a set-user-id file: %v", st.Mode())
	}
	if st.ModTime().Unix() != 1e9 {
		t.Errorf("time %v", st.ModTime())
	}
	if st, _ = os.Stat(filepath.Join(root, "tmp")); st.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("mode of tmp: %v", st.Mode())
	}
}

// What a layer says leads out leads nowhere.
func TestHostileLayers(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		entries []entry
		refused bool
	}{
		{"parents", []entry{{name: "../../x", body: "evil"}}, true},
		{"absolute parents", []entry{{name: "/../x", body: "evil"}}, true},
		{"absolute", []entry{{name: outside, body: "evil"}}, false},
		{"through a link", []entry{{name: "l", kind: link, link: filepath.Dir(outside)}, {name: "l/outside", body: "evil"}}, false},
		{"through a relative link", []entry{{name: "a/l", kind: link, link: "../../../../../../../.." + filepath.Dir(outside)}, {name: "a/l/outside", body: "evil"}}, false},
		{"over a link", []entry{{name: "l", kind: link, link: outside}, {name: "l", body: "evil"}}, false},
		{"hard link out", []entry{{name: "h", kind: hard, link: outside}}, true},
		{"hard link by parents", []entry{{name: "h", kind: hard, link: "../../../../../../../.." + outside}}, true},
		{"hard link to a link", []entry{{name: "l", kind: link, link: outside}, {name: "h", kind: hard, link: "l"}, {name: "h", body: "evil"}}, false},
		{"hard link through a link", []entry{{name: "l", kind: link, link: filepath.Dir(outside)}, {name: "h", kind: hard, link: "l/outside"}}, true},
		{"whiteout out", []entry{{name: "l", kind: link, link: filepath.Dir(outside)}, {name: "l/.wh.outside"}}, false},
		{"whiteout of the root", []entry{{name: ".wh."}, {name: ".wh..."}, {name: ".wh...."}}, false},
		{"opaque out", []entry{{name: "l", kind: link, link: filepath.Dir(outside)}, {name: "l/.wh..wh..opq"}}, false},
		{"loop", []entry{{name: "a", kind: link, link: "b"}, {name: "b", kind: link, link: "a"}, {name: "a/x", body: "evil"}}, true},
		{"root as a file", []entry{{name: "./", kind: link, link: "/etc"}, {name: "x", body: "fine"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, err := unpackAll(t, layer(t, tt.entries...))
			if (err != nil) != tt.refused {
				t.Errorf("refused: %v", err)
			}
			if b, _ := os.ReadFile(outside); string(b) != "untouched" {
				t.Fatal("a file outside of the root was changed")
			}
			if err == nil && strings.HasPrefix(tt.name, "absolute") && tree(t, root)[strings.TrimPrefix(outside, "/")] != "=evil" {
				t.Error("an absolute path is not below the root")
			}
		})
	}
}

func TestBounds(t *testing.T) {
	img, err := describe(build(t, layer(t, entry{name: "a", body: "12345"}, entry{name: "b", body: "1"})))
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := img.Layers()
	dir, _ := os.OpenRoot(t.TempDir())
	defer dir.Close()
	for _, u := range []*unpacker{{left: 5, files: 10}, {left: 100, files: 1}} {
		u.ctx, u.root, u.modes = context.Background(), dir, map[string]fs.FileMode{}
		if err := invalid(u.layer(layers[0])); mayfly.CodeOf(err) != mayfly.TooLarge {
			t.Errorf("%v", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := roots(t).Root(ctx, img); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A layer whose content is not what the configuration says is refused.
func TestForgedLayer(t *testing.T) {
	good, evil := layer(t, entry{name: "a", body: "good"}), layer(t, entry{name: "a", body: "evil"})
	img, err := describe(&forged{build(t, good), evil})
	if err != nil {
		t.Fatal(err)
	}
	r := roots(t)
	if _, err := r.Root(context.Background(), img); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), "sha256:") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(r.dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

type forged struct {
	v1.Image
	layer v1.Layer
}

func (f *forged) Layers() ([]v1.Layer, error) {
	all, err := f.Image.Layers()
	if err != nil {
		return nil, err
	}
	return []v1.Layer{&forgedLayer{all[0], f.layer}}, nil
}

type forgedLayer struct {
	v1.Layer
	other v1.Layer
}

func (f *forgedLayer) Uncompressed() (io.ReadCloser, error) { return f.other.Uncompressed() }

// The same image from every form that it comes in.
func TestForms(t *testing.T) {
	img := build(t, layer(t, entry{name: "x", body: "hello"}))
	want, _ := img.ConfigName()
	forms := map[string]func(dir string) error{
		"layout": func(dir string) error { return writeLayout(dir, img) },
		"docker": func(dir string) error { return writeDocker(filepath.Join(dir, "image.tar"), img) },
		"gzip": func(dir string) error {
			if err := writeDocker(filepath.Join(dir, "image.tar"), img); err != nil {
				return err
			}
			return compress(filepath.Join(dir, "image.tar"), filepath.Join(dir, "image.tar.gz"))
		},
		"layout tar": func(dir string) error {
			inner := filepath.Join(dir, "inner")
			if err := writeLayout(inner, img); err != nil {
				return err
			}
			defer os.RemoveAll(inner)
			return tarFolder(inner, filepath.Join(dir, "image.tar"))
		},
	}
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			bundle := t.TempDir()
			if err := write(bundle); err != nil {
				t.Fatal(err)
			}
			r := roots(t)
			got, err := Open(bundle, r.Scratch())
			if err != nil {
				t.Fatal(err)
			}
			root, err := r.Root(context.Background(), got)
			if err != nil || got.ID != want.Hex || tree(t, root)["x"] != "=hello" {
				t.Errorf("%s, %v", got.ID, err)
			}
			if again, err := r.Root(context.Background(), got); err != nil || again != root {
				t.Errorf("%s, %v", again, err)
			}
			if err := errors.Join(got.Close(), got.Close(), r.Remove(got.ID), r.Remove(got.ID)); err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(r.dir); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func writeLayout(dir string, imgs ...v1.Image) error {
	p, err := layout.Write(dir, empty.Index)
	for _, img := range imgs {
		if err == nil {
			err = p.AppendImage(img)
		}
	}
	return err
}

func writeDocker(file string, img v1.Image) error {
	tag, err := name.NewTag("test/image:latest")
	if err != nil {
		return err
	}
	return tarball.WriteToFile(file, tag, img)
}

func compress(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return errors.Join(os.WriteFile(to, z.Bytes(), 0o644), os.Remove(from))
}

func tarFolder(dir, to string) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	w.Close()
	return os.WriteFile(to, b.Bytes(), 0o644)
}

func TestOpenRefuses(t *testing.T) {
	img := build(t, layer(t, entry{name: "x", body: "1"}))
	other := build(t, layer(t, entry{name: "x", body: "2"}))
	foreign := func() v1.Image {
		c, _ := img.ConfigFile()
		c = c.DeepCopy()
		c.Architecture = "sparc"
		f, _ := mutate.ConfigFile(img, c)
		return f
	}()
	for name, tt := range map[string]struct {
		says  string
		write func(dir string) error
	}{
		"nothing": {"neither an OCI layout", func(string) error { return nil }},
		"text":    {"not an image", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.tar"), []byte("hello"), 0o644) }},
		"tar": {"", func(dir string) error {
			return tarFolder(t.TempDir(), filepath.Join(dir, "a.tar"))
		}},
		"two":     {"2 images", func(dir string) error { return writeLayout(dir, img, other) }},
		"foreign": {"linux/sparc", func(dir string) error { return writeLayout(dir, foreign) }},
		"broken index": {"", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "index.json"), []byte("{"), 0o644)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, scratch := t.TempDir(), t.TempDir()
			if err := tt.write(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, scratch); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			if left, _ := os.ReadDir(scratch); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A registry's image is pinned: the tag may move.
func TestFetch(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/app:1"
	img := build(t, layer(t, entry{name: "x", body: "hello"}))
	push(t, ref, img)
	dir := t.TempDir()
	if err := (Fetcher{}).Fetch(context.Background(), ref, dir); err != nil {
		t.Fatal(err)
	}
	push(t, ref, build(t, layer(t, entry{name: "x", body: "moved"})))
	r := roots(t)
	got, err := Open(dir, r.Scratch())
	if err != nil {
		t.Fatal(err)
	}
	if root, err := r.Root(context.Background(), got); err != nil || tree(t, root)["x"] != "=hello" {
		t.Error(err)
	}
	if err := (Fetcher{}).Fetch(context.Background(), ref+"-missing", t.TempDir()); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("%v", err)
	}
	if err := (Fetcher{}).Fetch(context.Background(), "./No Such File", t.TempDir()); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("%v", err)
	}
}

func push(t *testing.T, ref string, img v1.Image) {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err == nil {
		err = remote.Write(tag, img)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestRootsSweep(t *testing.T) {
	r := roots(t)
	os.MkdirAll(filepath.Join(r.dir, "new-1", "x"), 0o755)
	os.MkdirAll(filepath.Join(r.dir, "abcdef"), 0o755)
	if _, err := NewRoots(r.dir); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(r.dir)
	if len(left) != 1 || left[0].Name() != "abcdef" {
		t.Errorf("left: %v", left)
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("a/b/../c", "/x", "../../y")
	f.Fuzz(func(t *testing.T, path, first, second string) {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		root.Symlink(first, "a")
		root.Symlink(second, "b")
		u := &unpacker{root: root}
		at, err := u.resolve(clean(path), true)
		if err == nil && !filepath.IsLocal(at) {
			t.Errorf("%q with a→%q, b→%q is %q", path, first, second, at)
		}
	})
}
