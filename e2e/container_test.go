package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// imageOf is an image with two layers of files, which its user may change.
func imageOf(t *testing.T, program []byte, cmd ...string) v1.Image {
	t.Helper()
	system := map[string]string{"etc/passwd": "root:x:0:0::/:/\nweb:x:33:44::/:/\n", "etc/group": "root:x:0:\nwww:x:44:\n"}
	img, err := mutate.AppendLayers(empty.Image, layerOf(t, system), layerOf(t, map[string]string{"usr/bin/app": string(program), "app/data": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	c.Config = v1.Config{Entrypoint: []string{"app"}, Cmd: cmd, Env: []string{"FROM_IMAGE=yes", "PATH=/usr/bin", "MODE=about"}, WorkingDir: "/app", User: "web"}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img
}

func layerOf(t *testing.T, files map[string]string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "app/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: 33, Gid: 44})
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(files[name]))})
		io.WriteString(w, files[name])
	}
	w.Close()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestContainers deploys an image as a tar, as a layout and from a registry
// that the test serves. The program of the first serves HTTP, those of the
// others ask the Runtime API.
func TestContainers(t *testing.T) {
	needs(t, "go")
	dir := app(t, map[string]string{})
	file := filepath.Join(t.TempDir(), "app")
	build := exec.Command("go", "build", "-o", file, "../sandbox/container/testdata/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	web, events := imageOf(t, program), imageOf(t, program, "events")
	tag, err := name.NewTag("example/web:1")
	if err == nil {
		err = tarball.WriteToFile(filepath.Join(dir, "web.tar"), tag, web)
	}
	if err != nil {
		t.Fatal(err)
	}
	path, err := layout.Write(filepath.Join(dir, "layout"), empty.Index)
	if err == nil {
		err = path.AppendImage(events)
	}
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/events:live"
	stored, err := name.ParseReference(ref)
	if err == nil {
		err = remote.Write(stored, events)
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "mayfly.yaml"), `
app: images
functions:
  tar: {runtime: container, source: ./web.tar, on: [{http: "GET /tar"}]}
  layout: {runtime: container, source: ./layout}
  registry: {runtime: container, source: "`+ref+`"}
  other: {runtime: container, source: ./layout, handler: app events, env: {MODE: echo}}
`)
	data := t.TempDir()
	n := start(t, data, "serve")
	if n.tier() == "plain" {
		t.Skip("this machine has no sandboxes with a root of their own; `mayfly doctor` says why")
	}
	if out, code := n.cli("deploy", dir); code != 0 {
		t.Fatalf("deploy: exit %d\n%s", code, out)
	}
	// Nothing is fetched again: a version's image is what its deploy found.
	other, err := mutate.Config(web, v1.Config{Entrypoint: []string{"/nothing"}})
	if err == nil {
		err = remote.Write(stored, other)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for what, r := range map[string]reply{
			"tar": n.call("GET", "/tar", ""), "layout": n.direct("images", "layout", "{}"), "registry": n.direct("images", "registry", "{}"),
		} {
			for _, want := range []string{`"uid":33`, `"gid":44`, `"dir":"/app"`, `"image":"yes"`, `"path":"/usr/bin"`, `"wrote":true`, `"shadow":false`} {
				if r.status != 200 || !strings.Contains(r.body, want) {
					t.Errorf("%s: %d %s, want %s", what, r.status, r.body, want)
				}
			}
		}
		if r := n.direct("images", "other", `{"echo":1}`); r.body != `{"echo":1}` {
			t.Errorf("other: %d %s", r.status, r.body)
		}
		roots, err := filepath.Glob(filepath.Join(data, "runtime", "container", "*"))
		if err != nil || len(roots) != 2 {
			t.Errorf("two images are unpacked as %q, %v", roots, err)
		}
		n.stop() // and once more from what is on disk
		n = start(t, data, "serve")
	}
}
