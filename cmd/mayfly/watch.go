package main

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a folder must be quiet after a change: editors save in
// several steps, and tools write several files.
const settle = 20 * time.Millisecond

// unwatched folders change without anybody saving anything.
var unwatched = []string{".git", ".mayfly", "node_modules", "__pycache__", ".venv", "target", ".pytest_cache"}

// watch calls changed with the paths, relative to dir, that were saved since
// the last call, until ctx ends. Calls do not overlap.
func watch(ctx context.Context, dir string, changed func(paths []string)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	addTree(w, dir)
	pending := map[string]bool{}
	quiet := time.NewTimer(time.Hour)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-w.Events:
			if !saved(dir, ev) {
				continue
			}
			if ev.Has(fsnotify.Create) {
				addTree(w, ev.Name)
			}
			if rel, err := filepath.Rel(dir, ev.Name); err == nil {
				pending[rel] = true
				quiet.Reset(settle)
			}
		case <-w.Errors:
			// The queue overflowed: something changed, and it is not known what.
			pending["."] = true
			quiet.Reset(settle)
		case <-quiet.C:
			changed(sortedKeys(pending))
			clear(pending)
		}
	}
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// addTree watches a folder and those below it. A folder that cannot be watched
// is left out: the others still work.
func addTree(w *fsnotify.Watcher, root string) {
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		if path != root && slices.Contains(unwatched, d.Name()) {
			return fs.SkipDir
		}
		_ = w.Add(path)
		return nil
	})
}

func saved(dir string, ev fsnotify.Event) bool {
	if ev.Op == fsnotify.Chmod {
		return false
	}
	rel, err := filepath.Rel(dir, ev.Name)
	if err != nil {
		return false
	}
	for part := range strings.SplitSeq(rel, string(filepath.Separator)) {
		if slices.Contains(unwatched, part) {
			return false
		}
	}
	return !scratch(filepath.Base(rel))
}

// scratch tells the files that editors write beside a saved one.
func scratch(name string) bool {
	return strings.HasSuffix(name, "~") || strings.HasPrefix(name, ".#") || strings.HasPrefix(name, "#") ||
		strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".swx") || strings.HasSuffix(name, ".tmp") || name == "4913"
}
