package sql

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// copyOf makes a consistent copy of a database's file, without stopping
// writers. The caller closes and removes the copy.
func copyOf(ctx context.Context, file string) (*os.File, error) {
	tmp, err := os.CreateTemp("", "mayfly-backup-*.db")
	if err != nil {
		return nil, err
	}
	name := tmp.Name()
	_ = tmp.Close()
	_ = os.Remove(name)                           // VACUUM INTO wants no file there
	c, err := connect(ctx, file, false, pages(0)) // it writes the copy only
	if err == nil {
		_, err = c.own(ctx, "VACUUM INTO ?", name)
		_ = c.Close()
	}
	if err != nil {
		_ = os.Remove(name)
		return nil, err
	}
	return os.Open(name)
}

// Copies calls each with a consistent copy of every SQLite database there is,
// those that no app declares any more too. name is the file's below the
// service's folder; the copy is gone when each returns.
func (d *Driver) Copies(ctx context.Context, each func(name string, copied *os.File) error) error {
	files, err := filepath.Glob(filepath.Join(d.cfg.Dir, "*", "*.db"))
	if err != nil {
		return err
	}
	for _, file := range files {
		name := strings.TrimPrefix(strings.TrimPrefix(file, d.cfg.Dir), string(filepath.Separator))
		if err := Copy(ctx, file, func(f *os.File) error { return each(filepath.ToSlash(name), f) }); err != nil {
			return err
		}
	}
	return nil
}

// Copy calls use with a consistent copy of an SQLite file, which is gone when
// use returns.
func Copy(ctx context.Context, file string, use func(copied *os.File) error) error {
	copied, err := copyOf(ctx, file)
	if err != nil {
		return err
	}
	defer os.Remove(copied.Name())
	defer copied.Close()
	return use(copied)
}
