package bucket

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/pkg/xattr"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
)

// opening keeps two constructors of this process apart: versitygw's changes the
// working folder and prints to standard output.
var opening sync.Mutex

// openFiles makes versitygw's file backend for absolute bucket folders.
// Metadata is in extended attributes where the file system has them, else in
// files beside.
func openFiles(dir, folders string) (backend.Backend, error) {
	versions, err := mirror(dir, "versions", folders)
	if err != nil {
		return nil, err
	}
	var store meta.MetadataStorer = meta.XattrMeta{}
	if !attributes(folders) {
		sidecar, err := mirror(dir, "metadata", folders)
		if err != nil {
			return nil, err
		}
		if store, err = meta.NewSideCar(sidecar); err != nil {
			return nil, err
		}
	}
	opening.Lock()
	defer opening.Unlock()
	restore, err := hold()
	if err != nil {
		return nil, err
	}
	files, err := posix.New(root(), store, posix.PosixOpts{
		VersioningDir:       versions,
		ForceNoObjLockFile:  true, // one process; its locks are in memory
		CopyObjectThreshold: maxCopy,
		Concurrency:         256,
	})
	return files, errors.Join(err, restore())
}

// root is the folder that versitygw makes the working folder: where the system
// has a name for the one it is, that.
func root() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/cwd"
	}
	return os.TempDir()
}

// hold keeps the working folder, and standard output from a line that versitygw
// prints there; the returned function puts both back.
func hold() (restore func() error, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	stdout := os.Stdout
	os.Stdout = null
	return func() error {
		os.Stdout = stdout
		if runtime.GOOS == "linux" {
			return null.Close()
		}
		return errors.Join(null.Close(), os.Chdir(dir))
	}, nil
}

// attributes reports whether files of a folder can have extended attributes.
func attributes(folder string) bool {
	f, err := os.CreateTemp(folder, ".probe-*")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return xattr.FSet(f, "user.mayfly", []byte("1")) == nil
}

// mirror makes a folder in which versitygw can put the absolute path of a
// bucket: DIR/KIND/tree/ABSOLUTE PATH leads to DIR/KIND/data, wherever the data
// folder is moved to.
func mirror(dir, kind, folders string) (tree string, err error) {
	data := filepath.Join(dir, kind, "data")
	tree = filepath.Join(dir, kind, "tree")
	link := filepath.Join(tree, folders)
	if err := errors.Join(os.MkdirAll(data, 0o700), os.RemoveAll(tree), os.MkdirAll(filepath.Dir(link), 0o700)); err != nil {
		return "", fmt.Errorf("make folder for %s: %w", kind, err)
	}
	return tree, os.Symlink(data, link)
}
