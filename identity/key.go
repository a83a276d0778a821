package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mayfly-cloud/mayfly"
)

// KeySize is the length of the keys that LoadKey makes, in bytes.
const KeySize = 32

// LoadKey reads the random key in the file at path, and makes it first where
// there is none. The file is readable by its owner alone; LoadKey refuses one
// that others can read, and one that is damaged: a new key in its place would
// make what was sealed with it unreadable.
func LoadKey(path string) ([]byte, error) {
	key := make([]byte, KeySize)
	rand.Read(key)
	data, err := loadOrCreate(path, key)
	if err != nil {
		return nil, err
	}
	if len(data) != KeySize {
		return nil, mayfly.Errorf(mayfly.Invalid, "read key", "%s holds %d bytes, a key has %d; restore the file from a backup", path, len(data), KeySize)
	}
	return data, nil
}

// loadOrCreate returns the content of a file that only its owner may read, which
// is first if there is none yet. Of several processes that create it at once,
// all return the same content.
func loadOrCreate(path string, first []byte) ([]byte, error) {
	data, err := readPrivate(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if err := writePrivate(path, first); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return readPrivate(path)
}

func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, mayfly.Errorf(mayfly.Invalid, "read key", "%s can be read by others (mode %04o); run: chmod 600 %s", path, mode, path)
	}
	return os.ReadFile(path)
}

// writePrivate creates path whole or not at all: a linked temporary file.
func writePrivate(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
