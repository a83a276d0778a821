package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Shared opens a store whose folder several processes may use at once, such as
// the commands of one user. Whoever is the only one there drops what interrupted
// ones left half made, and the bundles that none has packed for the time unused.
// release says that the store is not used any more.
func Shared(ctx context.Context, cfg Config, unused time.Duration) (s *Store, release func() error, err error) {
	s = newStore(cfg)
	s.shared = true
	if err := s.makeFolders(); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, mayfly.Errorf(mayfly.Internal, "open the artifact store", "%w", err)
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil { // nobody else has it
		err = s.tidy(ctx, unused)
	}
	if err := errors.Join(err, syscall.Flock(int(f.Fd()), syscall.LOCK_SH)); err != nil {
		return nil, nil, mayfly.Errorf(mayfly.Internal, "open the artifact store", "%w", errors.Join(err, f.Close()))
	}
	return s, f.Close, nil
}

// tidy needs the store for itself.
func (s *Store) tidy(ctx context.Context, unused time.Duration) error {
	left, err := filepath.Glob(s.path("tmp", "*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return err
	}
	_, err = s.Sweep(ctx, func(digest string) bool {
		dir, err := s.Dir(digest)
		if err != nil {
			return false
		}
		info, err := os.Stat(dir)
		return err == nil && time.Since(info.ModTime()) < unused
	})
	return err
}

// used notes that a bundle was packed again.
func (s *Store) used(dir string) {
	if now := time.Now(); s.shared {
		_ = os.Chtimes(dir, now, now)
	}
}
