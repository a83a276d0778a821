package process

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// newImage makes an image whose program is this test's executable.
func newImage(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for name, content := range map[string][]byte{
		"probe": exe, "app/old": nil, "etc/passwd": []byte("root:x:0:0::/:/bin/sh\nweb:x:33:44::/:/bin/sh\n"),
		"etc/group": []byte("root:x:0:\nwww:x:44:\nother:x:45:\n"), "etc/hosts": []byte("10.0.0.1 other\n"),
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(root, "app"), 33, 44); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// libraries are for an executable that is linked dynamically.
func libraries() (binds []Bind) {
	for _, dir := range []string{"/lib", "/lib64", "/usr/lib"} {
		if _, err := os.Stat(dir); err == nil {
			binds = append(binds, Bind{Source: dir, Target: dir})
		}
	}
	return binds
}

func TestImage(t *testing.T) {
	l := walledLauncher(t, Config{})
	root := newImage(t)
	for user, ids := range map[string]string{"web:other": "33 45", "33": "33 44"} {
		var out buffer
		cmd := Command{Path: "/probe", Env: []string{"PROBE=image"}, Image: root, User: user, Binds: libraries(), Stdout: &out, Stderr: &out, Assignment: Assignment{Who: who}}
		p, err := l.Start(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		waitDone(t, p)
		p.Close()
		if os.Geteuid() != 0 {
			ids = ids[:2] // groups are root's to give
		}
		for _, want := range []string{ids, " [/app/written] [/app /dev /etc ", " /probe /proc /run /tmp", " true\n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("as %q the program printed %q, without %q", user, out.String(), want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(root, "app/old")); err != nil {
		t.Error("a program changed its image:", err)
	}
	_, err := l.Start(t.Context(), Command{Path: "/probe", Image: root, User: "nosuch", Assignment: Assignment{Who: who}})
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("an unknown user gave %v", err)
	}
}

// TestImageFromStock gives cells that were made ahead to the users of images.
func TestImageFromStock(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("cells for images are made ahead where the daemon is root")
	}
	l := walledLauncher(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- l.Run(ctx) }()
	defer func() { cancel(); <-stopped }()
	root := newImage(t)
	for user, ids := range map[string]string{"web": "33 44", "33:0": "33 0", "web:other": "33 45"} {
		var out buffer
		p, err := l.Start(t.Context(), Command{Path: "/probe", Env: []string{"PROBE=image"}, Image: root, User: user, Binds: libraries(), Stdout: &out, Stderr: &out, Assignment: Assignment{Who: who, Secrets: map[string][]byte{"KEY": []byte("x")}}})
		if err != nil {
			t.Fatal(err)
		}
		waitDone(t, p)
		p.Close()
		if !strings.HasPrefix(out.String(), ids+" ") {
			t.Errorf("as %q the program printed %q", user, out.String())
		}
		eventually(t, "a cell for the next is there", func() bool {
			l.walls.mu.Lock()
			defer l.walls.mu.Unlock()
			return len(l.walls.images) == 1
		})
	}
}
