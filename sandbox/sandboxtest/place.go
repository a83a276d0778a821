package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Place is where the tests of a driver's package run programs: a folder of their
// own and a launcher that shows what is below it. The zero Place is made by Main.
type Place struct {
	// Dir is gone after the tests. Every user may enter it.
	Dir string

	launcher *process.Launcher
	builds   sync.Map // name → func() (string, error), once each
}

// Main runs a package's tests and ends the process: it fails where goroutines are
// left.
func (p *Place) Main(m *testing.M) {
	code, err := p.run(m)
	if err == nil {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func (p *Place) run(m *testing.M) (code int, err error) {
	if p.Dir, err = os.MkdirTemp("", "mayfly-sandbox-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(p.Dir)
	if err := os.Chmod(p.Dir, 0o755); err != nil {
		return 1, err
	}
	if p.launcher, err = process.New(process.Config{Dir: filepath.Join(p.Dir, "launcher"), Bundles: p.Dir, Node: filepath.Base(p.Dir)}); err != nil {
		return 1, err
	}
	p.launcher.Tier() // finds out what this machine allows, before tests count what they leave
	code = m.Run()
	return code, p.launcher.Close()
}

// Launcher is that of all tests of the package, behind the walls that this
// machine has.
func (p *Place) Launcher() *process.Launcher { return p.launcher }

// Build compiles a Go package to the file name below Dir, once for all tests, and
// returns its path. env is added to the compiler's.
func (p *Place) Build(t testing.TB, name, pkg string, env ...string) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command to build a program")
	}
	build, _ := p.builds.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		file := filepath.Join(p.Dir, name)
		cmd := exec.Command("go", "build", "-ldflags=-s", "-o", file, pkg)
		cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
		return file, nil
	}))
	file, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Folder makes a folder below Dir, which every user may enter.
func (p *Place) Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(p.Dir, "bundle-")
	if err := errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Write writes files with their paths below dir.
func Write(t testing.TB, dir string, mode fs.FileMode, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// NewLauncher is a launcher of one test, with these walls and doors. Where the
// machine has no walls, a test that wants them is skipped.
func NewLauncher(t testing.TB, walls string, doors ...process.Door) *process.Launcher {
	t.Helper()
	l, err := process.New(process.Config{Dir: filepath.Join(t.TempDir(), "cells"), Node: fmt.Sprint("sandboxtest-", os.Getpid()), Walls: walls, Doors: doors})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	t.Cleanup(func() {
		err := l.Close()
		cancel()
		if err := errors.Join(err, <-ran); err != nil {
			t.Error(err)
		}
	})
	if tier := l.Tier(); walls != process.WallsNone && tier.Name == sandbox.TierPlain {
		t.Skipf("this machine has no walls: %v", tier.Missing)
	}
	return l
}
