package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/mayfly-cloud/mayfly"
)

// Roots is a folder of unpacked images, one for each image's id. It is safe for
// concurrent use.
type Roots struct {
	dir string

	mu   sync.Mutex
	busy map[string]*sync.Mutex // guarded by mu; by id
}

// NewRoots makes the folder and removes what an interrupted unpacking left.
func NewRoots(dir string) (*Roots, error) {
	if dir == "" {
		return nil, mayfly.Errorf(mayfly.Invalid, "images", "a folder for unpacked images is needed")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*-*")) // an id has no dash
	for _, l := range left {
		if err := removeAll(l); err != nil {
			return nil, fmt.Errorf("images: %w", err)
		}
	}
	return &Roots{dir: dir, busy: map[string]*sync.Mutex{}}, nil
}

// Scratch is for Open.
func (r *Roots) Scratch() string { return r.dir }

func (r *Roots) lock(id string) *sync.Mutex {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.busy[id]
	if m == nil {
		m = &sync.Mutex{}
		r.busy[id] = m
	}
	return m
}

// Root is the image's root folder, unpacked now where it was not before. Errors
// about the image are Invalid or TooLarge.
func (r *Roots) Root(ctx context.Context, img *Image) (string, error) {
	m := r.lock(img.ID)
	m.Lock()
	defer m.Unlock()
	final := filepath.Join(r.dir, img.ID)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	tmp, err := os.MkdirTemp(r.dir, "new-")
	if err != nil {
		return "", fmt.Errorf("unpack image: %w", err)
	}
	if err := unpack(ctx, img, tmp); err != nil {
		return "", errors.Join(err, removeAll(tmp))
	}
	if err := os.Rename(tmp, final); err != nil {
		return "", errors.Join(fmt.Errorf("unpack image: %w", err), removeAll(tmp))
	}
	return final, nil
}

// Remove deletes an image's root. Nothing may run in it.
func (r *Roots) Remove(id string) error {
	m := r.lock(id)
	m.Lock()
	defer m.Unlock()
	from := filepath.Join(r.dir, id)
	gone, err := os.MkdirTemp(r.dir, "old-")
	if err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	if err := os.Rename(from, filepath.Join(gone, "root")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove image: %w", err)
	}
	return removeAll(gone)
}

// removeAll deletes a tree whose folders may not allow it to their owner.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if e != nil && e.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
