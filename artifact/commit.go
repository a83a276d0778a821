package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
)

// writers is how many files are written and synced at once: the waits for the
// disk overlap.
const writers = 8

// commit stores a listing whose files are at their `from`, unless the store has
// it. The bundle appears whole, by a rename.
func (s *Store) commit(l listing) (Bundle, error) {
	if err := l.check(s.cfg); err != nil {
		return Bundle{}, err
	}
	digest := l.digest()
	if dir, err := s.Dir(digest); err == nil {
		s.used(dir)
		return l.bundle(digest, dir), nil
	}
	tmp, err := s.temp()
	if err != nil {
		return Bundle{}, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	root := filepath.Join(tmp, "bundle")
	if err := s.lay(l, root); err != nil {
		return Bundle{}, err
	}
	h, _ := hexOf(digest)
	if err := s.writeIndex(l, h); err != nil {
		return Bundle{}, err
	}
	dir := s.path("bundles", h)
	if err := os.Rename(root, dir); err != nil {
		if _, there := s.Dir(digest); there == nil { // another Pack of the same was faster
			return l.bundle(digest, dir), nil
		}
		return Bundle{}, fmt.Errorf("store the bundle: %w", err)
	}
	if err := s.syncDir(s.Bundles()); err != nil {
		return Bundle{}, fmt.Errorf("store the bundle: %w", err)
	}
	b := l.bundle(digest, dir)
	b.Fresh = true
	return b, nil
}

// lay makes the tree of a bundle at root: folders, links, and hard links into
// the pool.
func (s *Store) lay(l listing, root string) error {
	dirs := map[string]bool{root: true}
	if err := os.Mkdir(root, 0o755); err != nil {
		return fmt.Errorf("store the bundle: %w", err)
	}
	for _, f := range l {
		dir := filepath.Dir(filepath.Join(root, f.Path))
		if !dirs[dir] {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("store the bundle: %w", err)
			}
		}
		for ; !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
	}
	var g errgroup.Group
	g.SetLimit(writers)
	for _, f := range l {
		g.Go(func() error { return s.place(f, filepath.Join(root, f.Path)) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for dir := range dirs {
		if err := s.syncDir(dir); err != nil {
			return fmt.Errorf("store the bundle: %w", err)
		}
	}
	return nil
}

func (s *Store) place(f file, target string) error {
	if f.Link != "" {
		return os.Symlink(f.Link, target)
	}
	pooled := s.pooled(f)
	if _, err := os.Lstat(pooled); err != nil {
		if err := s.pool(f, pooled); err != nil {
			return err
		}
	}
	if os.Link(pooled, target) == nil {
		return nil
	}
	// The file system has no hard links, or no more of this file.
	_, err := s.copy(pooled, target, modeOf(f.Exec))
	return err
}

// pooled is where the pool has a content; an executable one is another file,
// since the mode belongs to the file and not to its name.
func (s *Store) pooled(f file) string {
	kind := "r"
	if f.Exec {
		kind = "x"
	}
	return s.path("pool", f.Hash[:2], f.Hash+kind)
}

func modeOf(exec bool) fs.FileMode {
	if exec {
		return 0o555
	}
	return 0o444
}

// pool copies a content into the pool, and refuses one that is not what was
// hashed.
func (s *Store) pool(f file, pooled string) error {
	if err := os.MkdirAll(filepath.Dir(pooled), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(s.path("tmp"), "")
	if err != nil {
		return err
	}
	tmp.Close()
	defer os.Remove(tmp.Name())
	hash, err := s.copy(f.from, tmp.Name(), modeOf(f.Exec))
	if err != nil {
		return err
	}
	if hash != f.Hash {
		return fmt.Errorf("%s %w", f.Path, errChanged)
	}
	return os.Rename(tmp.Name(), pooled)
}

// copy writes from's content to the file to, and returns its hash.
func (s *Store) copy(from, to string, mode fs.FileMode) (string, error) {
	src, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(dst, h), src)
	err = errors.Join(err, dst.Chmod(mode))
	if err == nil && !s.cfg.NoSync {
		err = dst.Sync()
	}
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, dst.Close())
}

func (s *Store) writeIndex(l listing, hex string) error {
	data, err := json.Marshal(slices.Clip(l))
	if err != nil {
		return err
	}
	return s.writeFile(s.path("index", hex+".json"), data)
}

// writeFile replaces a file whole: temporary file, sync, rename, sync.
func (s *Store) writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(s.path("tmp"), "")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err == nil && !s.cfg.NoSync {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return s.syncDir(filepath.Dir(path))
}

func (s *Store) syncDir(dir string) error {
	if s.cfg.NoSync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
