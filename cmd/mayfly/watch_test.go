package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestWatchSeesSaves(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"fn", "node_modules"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan []string, 100)
	done := make(chan error, 1)
	go func() { done <- watch(ctx, dir, func(paths []string) { changes <- paths }) }()
	save := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(time.Now().String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(name string) {
		t.Helper()
		for end := time.After(30 * time.Second); ; {
			save(name) // again, until the watcher is up
			select {
			case paths := <-changes:
				if slices.Contains(paths, filepath.FromSlash(name)) {
					return
				}
			case <-time.After(200 * time.Millisecond):
			case <-end:
				t.Fatalf("the save of %s was not seen", name)
			}
		}
	}
	sees("fn/app.py")
	if err := os.Mkdir(filepath.Join(dir, "new"), 0o755); err != nil {
		t.Fatal(err)
	}
	sees("new/app.py")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	close(changes)
	for paths := range changes {
		for _, p := range paths {
			if filepath.Dir(p) == "node_modules" {
				t.Errorf("a change of %s counts as a save", p)
			}
		}
	}
}

func TestScratchFilesAreNoSaves(t *testing.T) {
	for name, want := range map[string]bool{"app.py": false, "app.py~": true, ".app.py.swp": true, ".#app.py": true, "4913": true, "mayfly.yaml": false} {
		if got := scratch(name); got != want {
			t.Errorf("scratch(%q) = %v", name, got)
		}
	}
}

func TestProfile(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, ".mayfly")
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	want := profile{API: "http://127.0.0.1:1", Token: "t"}
	if err := writeProfile(filepath.Join(data, profileName), want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(data, profileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: it holds a token", info.Mode(), err)
	}
	t.Chdir(filepath.Join(dir, "a", "b"))
	if got := findProfile(); got != want {
		t.Errorf("from below: %+v", got)
	}
}
