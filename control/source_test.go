package control

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
)

func TestSendAndReceive(t *testing.T) {
	n := newNode(t)
	n.shop()
	n.write("mayfly.yaml", twoFunctions+"topics: {t: {schema: ./s.json}}\ndatabases: {d: {migrations: m}}\n")
	n.write("s.json", `{"type": "object"}`)
	n.write("m/001_a.sql", "select 1")
	n.write("m/notes.txt", "no")
	n.write("secret.txt", "stays here")
	n.write("mayfly.yaml", strings.Replace(twoFunctions, "source: ./pay", "source: ./pay, build: echo pay = 9 > app.py", 1)+
		"topics: {t: {schema: ./s.json}}\ndatabases: {d: {migrations: m}}\n")
	local, err := artifact.New(artifact.Config{Dir: filepath.Join(t.TempDir(), "local"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	var stages []Stage
	if err := Send(t.Context(), n.dir, local, &sent, func(p Progress) { stages = append(stages, p.Stage) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(stages, StageBuilding) {
		t.Errorf("stages %v", stages)
	}
	tmp := t.TempDir()
	src, err := Receive(t.Context(), &sent, tmp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(src.Dir, "secret.txt")); err == nil {
		t.Error("a file that no function has was sent")
	}
	r, err := n.Deploy(t.Context(), src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := r.Plan.manifest
	if string(m.Topics["t"].SchemaBody) != `{"type":"object"}` || len(m.Databases["d"].MigrationFiles) != 1 {
		t.Errorf("manifest %+v", m)
	}
	v, err := n.Version("shop", "pay", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := n.cfg.Artifacts.Dir(v.Digest)
	if data, _ := os.ReadFile(filepath.Join(dir, "app.py")); string(data) != "pay = 9\n" {
		t.Errorf("built %q", data)
	}
	if err := errors.Join(src.Close(), src.Close()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Error("the received folder is left")
	}
	// The same app from its folder is no change.
	if r := n.deploy(Options{}); r.Changed {
		t.Errorf("the same app, sent and local, differs: %s", r.Plan)
	}
	if _, err := Receive(t.Context(), strings.NewReader("junk, and enough of it to look like something"), tmp); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("junk: %v", err)
	}
}

// TestReceivedSourcesAreNotBuilt sends a plain folder by hand: it deploys, but
// commands in it do not run on the node.
func TestReceivedSourcesAreNotBuilt(t *testing.T) {
	n := newNode(t)
	ran := filepath.Join(t.TempDir(), "ran")
	for build, want := range map[string]mayfly.Code{"": "", "build: touch " + ran: mayfly.Invalid} {
		var sent bytes.Buffer
		w := tar.NewWriter(&sent)
		for name, text := range map[string]string{
			"mayfly.yaml": "app: shop\nfunctions:\n  f:\n    runtime: python\n    source: ./f\n    handler: app.handler\n    " + build + "\n",
			"f/app.py":    "x = 1",
		} {
			if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		src, err := Receive(t.Context(), &sent, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Deploy(t.Context(), src, Options{}); mayfly.CodeOf(err) != want {
			t.Errorf("%q: %v", build, err)
		}
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a command of a received app ran")
	}
}

// registry has one image under one name.
type registry struct{ asked int }

func (r *registry) Fetch(_ context.Context, ref, dir string) error {
	r.asked++
	if ref != "registry.test/shop:1" {
		return mayfly.Errorf(mayfly.Invalid, "", "there is no image %s", ref)
	}
	return writeText(dir, "app.py", "an image's index")
}

func TestImagesByReference(t *testing.T) {
	n := newNode(t)
	n.write("mayfly.yaml", "app: shop\nfunctions:\n  web: {runtime: container, source: registry.test/shop:1}\n")
	if _, err := n.Deploy(t.Context(), Local(n.dir), Options{}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("without a registry: %v", err)
	}
	images := &registry{}
	n.images = images
	n.open(n.cfg.Artifacts)
	for range 3 {
		n.deploy(Options{Lenient: true})
	}
	if images.asked != 1 {
		t.Errorf("lenient deploys asked %d times", images.asked)
	}
	n.deploy(Options{})
	n.deploy(Options{})
	if images.asked != 3 {
		t.Errorf("deploys asked %d times in all", images.asked)
	}
	n.wantLive("web:1")
	local, err := artifact.New(artifact.Config{Dir: filepath.Join(t.TempDir(), "local"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	if err := Send(t.Context(), n.dir, local, &sent, nil); err != nil {
		t.Fatal(err)
	}
	src, err := Receive(t.Context(), &sent, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if r, err := n.Deploy(t.Context(), src, Options{}); err != nil || r.Changed {
		t.Errorf("sent: %+v %v", r, err)
	}
}
