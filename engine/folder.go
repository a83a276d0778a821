package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// layout is the version of the data folder. A later version that can read an
// older one migrates it; none opens a newer one.
const layout = "mayfly data 1"

// folder is a data folder held by this process.
type folder struct{ lock *os.File }

// openFolder makes dir where missing, takes its lock and checks its layout.
func openFolder(dir string) (*folder, error) {
	const op = "open engine"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, op, "cannot make the data folder %s: %w", dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, op, "cannot write in the data folder %s: %w", dir, err)
	}
	f := &folder{lock: lock}
	if err := lockFile(lock); err != nil {
		_ = lock.Close()
		return nil, mayfly.Errorf(mayfly.Conflict, op, "the data folder %s is in use by another process; stop that one or choose another folder", dir)
	}
	if err := checkLayout(filepath.Join(dir, "format")); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func checkLayout(file string) error {
	const op = "open engine"
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.WriteFile(file, []byte(layout+"\n"), 0o600); err != nil {
			return mayfly.Errorf(mayfly.Unavailable, op, "cannot write %s: %w", file, err)
		}
		return nil
	case err != nil:
		return mayfly.Errorf(mayfly.Unavailable, op, "cannot read %s: %w", file, err)
	}
	if got := strings.TrimSpace(string(text)); got != layout {
		return mayfly.Errorf(mayfly.Invalid, op, "the data folder %s has the layout %q and this program knows %q; use the program that made it, or another folder", filepath.Dir(file), got, layout)
	}
	return nil
}

func (f *folder) close() { _ = f.lock.Close() }
