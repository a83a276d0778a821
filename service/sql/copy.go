package sql

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// folderIn makes a folder of its own in tmp, which is made where it is missing:
// SQLite's files are for everyone to read.
func folderIn(tmp string) (string, error) {
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(tmp, "database-*")
}

// copyOf makes a consistent copy of a database's file in tmp, without stopping
// writers. The copy has no name any more; the caller closes it.
func copyOf(ctx context.Context, file, tmp string) (*os.File, error) {
	dir, err := folderIn(tmp)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // what is open stays readable
	name := filepath.Join(dir, filepath.Base(file))
	c, err := connect(ctx, file, false, pages(0)) // it writes the copy only
	if err != nil {
		return nil, err
	}
	_, err = c.own(ctx, "VACUUM INTO ?", name)
	if err = errors.Join(err, c.Close()); err != nil {
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
		if err := Copy(ctx, file, d.cfg.Tmp, func(f *os.File) error { return each(filepath.ToSlash(name), f) }); err != nil {
			return err
		}
	}
	return nil
}

// Copy calls use with a consistent copy of an SQLite file, made in tmp, which is
// gone when use returns.
func Copy(ctx context.Context, file, tmp string, use func(copied *os.File) error) error {
	copied, err := copyOf(ctx, file, tmp)
	if err != nil {
		return err
	}
	defer copied.Close()
	return use(copied)
}
