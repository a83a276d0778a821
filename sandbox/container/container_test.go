package container

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// place has the bundles of all tests.
var place sandboxtest.Place

func TestMain(m *testing.M) { place.Main(m) }

// newImage is an image of two layers whose program is testdata/app, which needs
// nothing of a system.
func newImage(t testing.TB, change func(*v1.Config)) v1.Image {
	t.Helper()
	code, err := os.ReadFile(place.Build(t, "app", "./testdata/app"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image,
		layer(t, map[string]string{"etc/passwd": "root:x:0:0::/:/\nweb:x:33:44::/:/\n", "etc/group": "root:x:0:\nwww:x:44:\n"}),
		layer(t, map[string]string{"usr/bin/app": string(code), "app/data": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	c.Config = v1.Config{Entrypoint: []string{"app"}, Env: []string{"FROM_IMAGE=yes", "PATH=/usr/bin"}, WorkingDir: "/app"}
	if change != nil {
		change(&c.Config)
	}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img
}

func layer(t testing.TB, files map[string]string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "app/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: 33, Gid: 44})
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range files {
			if !yield(name) {
				return
			}
		}
	}) {
		w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(files[name]))})
		io.WriteString(w, files[name])
	}
	w.Close()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newDriver(t testing.TB) *Driver {
	t.Helper()
	d, err := New(Config{Launcher: place.Launcher(), Dir: place.Folder(t)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// able skips where this machine cannot run containers.
func able(t testing.TB, d *Driver) *Driver {
	t.Helper()
	if err := d.Check(context.Background()); err != nil {
		t.Skip(err)
	}
	return d
}

// spec is a version whose bundle is an image as a layout.
func spec(t testing.TB, img v1.Image, mode string) *sandbox.Spec {
	t.Helper()
	dir := place.Folder(t)
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &sandbox.Spec{App: "test", Function: "fn", Version: 1, Runtime: mayfly.Container, Dir: dir,
		Env: map[string]string{"MODE": mode, "PROBE": "seen"}, Memory: 256 * mayfly.MiB, Timeout: time.Minute, PerInstance: 1}
}

func start(t testing.TB, s *sandbox.Spec) sandbox.Instance {
	t.Helper()
	in, err := able(t, newDriver(t)).Start(context.Background(), s, &sandboxtest.Recorder{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Stop(context.Background()) })
	return in
}

func call(t testing.TB, in sandbox.Instance, event string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := in.Call(ctx, &sandbox.Call{ID: mayfly.NewID(), Deadline: time.Now().Add(time.Minute), Event: []byte(event)})
	if err != nil {
		return "", err
	}
	return sandboxtest.Read(reply, false)
}

func makers(img func(*v1.Config)) func(mode string, change ...func(*sandbox.Spec)) sandboxtest.Maker {
	return func(mode string, change ...func(*sandbox.Spec)) sandboxtest.Maker {
		return func(t *testing.T) *sandbox.Spec {
			s := spec(t, newImage(t, img), mode)
			for _, c := range change {
				c(s)
			}
			return s
		}
	}
}

func TestContractHTTP(t *testing.T) {
	mode := makers(nil)
	sandboxtest.Run(t, sandboxtest.Suite{
		Driver: func(t *testing.T) sandbox.Driver { return newDriver(t) }, HTTPEvents: true,
		Echo: mode("echo"), Exit: mode("exit"), Hang: mode("hang"), Sleep: mode("sleep", func(s *sandbox.Spec) { s.PerInstance = 4 }),
		Stream: mode("stream"), Endless: mode("endless"), Memory: mode("memory", func(s *sandbox.Spec) { s.Memory = 64 * mayfly.MiB }),
		Print: mode("print"), Flood: mode("flood"), Context: mode("context"),
		Broken: mode("", func(s *sandbox.Spec) { s.Handler = "/missing" }),
		// Error, NotJSON: an HTTP answer is the program's own, whatever it is.
	})
}

func TestContractEvents(t *testing.T) {
	mode := makers(func(c *v1.Config) { c.Cmd = []string{"events"} })
	sandboxtest.Run(t, sandboxtest.Suite{
		Driver: func(t *testing.T) sandbox.Driver { return newDriver(t) },
		Echo:   mode("echo"), Error: mode("error"), Exit: mode("exit"), Hang: mode("hang"), Sleep: mode("sleep", func(s *sandbox.Spec) { s.PerInstance = 4 }),
		Memory: mode("memory", func(s *sandbox.Spec) { s.Memory = 64 * mayfly.MiB }),
		Print:  mode("print"), Flood: mode("flood"), Context: mode("context"),
		// Stream, Endless: as the binary driver's. NotJSON: text is a JSON string.
	})
}

type about struct {
	UID, GID         int
	Dir, Image, Path string
	Host             string
	Args             []string
	Wrote, Shadow    bool
}

func TestImageConfig(t *testing.T) {
	for _, tt := range []struct {
		name, handler string
		change        func(*v1.Config)
		uid, gid      int
		args          []string
	}{
		{"root", "", nil, 0, 0, []string{"app"}},
		{"entrypoint and command", "", func(c *v1.Config) { c.Cmd = []string{"events", "x y"}; c.User = "web" }, 33, 44, []string{"app", "events", "x y"}},
		{"command alone", "", func(c *v1.Config) { c.Entrypoint, c.Cmd, c.User = nil, []string{"/usr/bin/app"}, "33:44" }, 33, 44, []string{"/usr/bin/app"}},
		{"handler", "app 'a b'", func(c *v1.Config) { c.Entrypoint = []string{"/nothing"} }, 0, 0, []string{"app", "a b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := spec(t, newImage(t, tt.change), "about")
			s.Handler = tt.handler
			in := start(t, s)
			text, err := call(t, in, `1`)
			if err != nil {
				t.Fatal(err)
			}
			var got about
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatal(text)
			}
			if os.Geteuid() == 0 && (got.UID != tt.uid || got.GID != tt.gid) {
				t.Errorf("user %d:%d, want %d:%d", got.UID, got.GID, tt.uid, tt.gid)
			}
			if got.Dir != "/app" || got.Image != "yes" || got.Path != "/usr/bin" || got.Shadow || len(got.Args) != len(tt.args) || !slices.Equal(got.Args[1:], tt.args[1:]) {
				t.Errorf("%+v", got)
			}
			if !got.Wrote {
				t.Error("the program cannot write below its overlay")
			}
			if _, isServer := in.(sandbox.Server); isServer == slices.Contains(tt.args, "events") {
				t.Errorf("a server: %v", isServer)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	tarOf := func(img v1.Image) func(*testing.T) *sandbox.Spec {
		return func(t *testing.T) *sandbox.Spec { return spec(t, img, "") }
	}
	for _, tt := range []struct {
		name, kind, says string
		spec             func(t *testing.T) *sandbox.Spec
	}{
		{"exit", mayfly.ErrorTypeExit, "exit status 4", func(t *testing.T) *sandbox.Spec { return spec(t, newImage(t, nil), "broken") }},
		{"deaf", mayfly.ErrorTypeTimeout, "neither listened", func(t *testing.T) *sandbox.Spec {
			s := spec(t, newImage(t, nil), "deaf")
			s.Timeout = 2 * time.Second
			return s
		}},
		{"no command", mayfly.ErrorTypeHandler, "no entrypoint", tarOf(newImage(t, func(c *v1.Config) { c.Entrypoint = nil }))},
		{"no program", mayfly.ErrorTypeHandler, `no program "sh"`, tarOf(newImage(t, func(c *v1.Config) { c.Entrypoint = []string{"sh"} }))},
		{"no shell", mayfly.ErrorTypeHandler, "/bin/sh", func(t *testing.T) *sandbox.Spec {
			s := spec(t, newImage(t, nil), "")
			s.Handler = "app --port $PORT"
			return s
		}},
		{"no image", errorTypeImage, "neither an OCI layout", func(t *testing.T) *sandbox.Spec {
			s := spec(t, newImage(t, nil), "")
			os.RemoveAll(s.Dir)
			os.Mkdir(s.Dir, 0o755)
			return s
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := able(t, newDriver(t)).Start(context.Background(), tt.spec(t), &sandboxtest.Recorder{})
			var fe *mayfly.FunctionError
			if !errors.As(err, &fe) || fe.Type != tt.kind || !strings.Contains(fe.Message, tt.says) {
				t.Fatalf("%+v", err)
			}
		})
	}
}

// Instances share one root; the last use of an image takes it away.
func TestImageIsShared(t *testing.T) {
	d := able(t, newDriver(t))
	img := newImage(t, nil)
	a, b := spec(t, img, "about"), spec(t, img, "about")
	b.Function = "other"
	for _, s := range []*sandbox.Spec{a, b} {
		if err := d.Prepare(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
	unpacked := func() int {
		all, err := os.ReadDir(d.roots.Scratch())
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if n := unpacked(); n != 1 {
		t.Errorf("%d roots", n)
	}
	in, err := d.Start(context.Background(), a, &sandboxtest.Recorder{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Stop(context.Background())
	for range 2 { // neither sees what the other wrote, nor does the image
		if text, err := call(t, in, `1`); err != nil || !strings.Contains(text, `"wrote":true`) {
			t.Error(text, err)
		}
	}
	if changed, _ := filepath.Glob(filepath.Join(d.roots.Scratch(), "*", "changed")); len(changed) > 0 {
		t.Error("a program changed its image")
	}
	d.Forget(a)
	d.Forget(b)
	if n := unpacked(); n != 1 {
		t.Errorf("%d roots while an instance runs", n)
	}
	in.Stop(context.Background())
	if n := unpacked(); n != 0 {
		t.Errorf("%d roots after the last use", n)
	}
}

func TestPlainMachineRefuses(t *testing.T) {
	d, err := New(Config{Launcher: sandboxtest.NewLauncher(t, process.WallsNone), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(context.Background()); mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "doctor") {
		t.Error(err)
	}
}
