package daemon

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pkg/xattr"

	"github.com/mayfly-cloud/mayfly"
)

// Restored says what came out of a backup.
type Restored struct {
	Created time.Time        `json:"created"` // of the backup
	Version string           `json:"version"` // of the program that made it
	Apps    []mayfly.AppName `json:"apps"`
	Files   int              `json:"files"`
	Bytes   mayfly.Bytes     `json:"bytes"`
}

const restoring = "restore"

// Restore makes a data folder from a backup. The folder must be missing or
// empty, and nothing is in it until all of the backup was read and found whole.
func Restore(ctx context.Context, r io.Reader, data string) (*Restored, error) {
	beside, err := placeOf(data)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(beside, ".mayfly-restore-")
	if err != nil {
		return nil, unwritable(data, err)
	}
	defer os.RemoveAll(tmp)
	out, err := unpack(ctx, r, tmp)
	if err == nil {
		err = settle(tmp, data)
	}
	var known *mayfly.Error
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &known):
		return nil, err
	}
	return nil, unwritable(data, err)
}

// placeOf is the folder in which a backup is unpacked: beside the data folder, or
// in it where it is there, which may be a disk of its own.
func placeOf(data string) (string, error) {
	entries, err := os.ReadDir(data)
	switch {
	case err == nil && len(entries) > 0:
		return "", mayfly.Errorf(mayfly.Conflict, restoring, "%s is not empty; name another folder with --data", data)
	case err == nil:
		return data, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", mayfly.Errorf(mayfly.Invalid, restoring, "the data folder cannot be made: %w; name another with --data", err)
	}
	beside := filepath.Dir(data)
	if err := os.MkdirAll(beside, 0o755); err != nil {
		return "", unwritable(data, err)
	}
	return beside, nil
}

// settle makes what was unpacked the data folder, or moves it there.
func settle(tmp, data string) error {
	if filepath.Dir(tmp) != data {
		return os.Rename(tmp, data)
	}
	entries, err := os.ReadDir(tmp)
	for _, e := range entries {
		err = errors.Join(err, os.Rename(filepath.Join(tmp, e.Name()), filepath.Join(data, e.Name())))
	}
	return err
}

// unwritable is an error of the disk, not of the backup.
func unwritable(data string, err error) error {
	return mayfly.Errorf(mayfly.Unavailable, restoring, "the backup cannot be unpacked to %s: %w; make room there, or name another folder with --data", data, err)
}

// damaged is an error of the backup.
func (u *unpacking) damaged(err error) error {
	return mayfly.Errorf(mayfly.Invalid, restoring, "the backup is damaged or cut off after %d files: %w; copy it once more, or take another", u.out.Files, err)
}

// unpacking is a backup that is being read.
type unpacking struct {
	tar  *tar.Reader
	root *os.Root
	dir  string
	out  Restored
	done *end
	late []*tar.Header // folders: their modes and attributes come last
}

func unpack(ctx context.Context, r io.Reader, dir string) (*Restored, error) {
	plain, err := zstd.NewReader(r)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, restoring, "this is no backup: %w", err)
	}
	defer plain.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	u := &unpacking{tar: tar.NewReader(plain), root: root, dir: dir}
	if err := u.begin(); err != nil {
		return nil, err
	}
	for ctx.Err() == nil && u.done == nil {
		h, err := u.tar.Next()
		if err != nil {
			return nil, u.damaged(err)
		}
		if err := u.entry(h); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if u.done.Files != u.out.Files || u.done.Bytes != int64(u.out.Bytes) {
		return nil, mayfly.Errorf(mayfly.Invalid, restoring, "the backup says %d files of %s and has %d of %s", u.done.Files, mayfly.Bytes(u.done.Bytes).About(), u.out.Files, u.out.Bytes.About())
	}
	return &u.out, u.folders()
}

func (u *unpacking) begin() error {
	h, err := u.tar.Next()
	var first head
	if err == nil && h.Name == backupHead {
		err = json.NewDecoder(u.tar).Decode(&first)
	}
	switch {
	case err != nil:
		return mayfly.Errorf(mayfly.Invalid, restoring, "this is no backup, or its beginning is damaged: %w", err)
	case first.Format != backupFormat:
		return mayfly.Errorf(mayfly.Invalid, restoring, "the backup has format %d and this program knows %d; use the version that made it, %q", first.Format, backupFormat, first.Version)
	}
	u.out = Restored{Created: first.Created, Version: first.Version, Apps: first.Apps}
	return nil
}

// content is that of the entry. Its errors are damage.
type content struct{ u *unpacking }

func (c content) Read(p []byte) (int, error) {
	n, err := c.u.tar.Read(p)
	if err != nil && err != io.EOF {
		err = c.u.damaged(err)
	}
	return n, err
}

// entry makes one file. The root keeps names from leaving the folder.
func (u *unpacking) entry(h *tar.Header) error {
	name := path.Clean(h.Name)
	if name == backupEnd {
		u.done = &end{}
		return json.NewDecoder(content{u}).Decode(u.done)
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeDir {
		u.out.Files++
	}
	switch h.Typeflag {
	case tar.TypeDir:
		u.late = append(u.late, h)
		return u.root.MkdirAll(name, 0o700)
	case tar.TypeSymlink:
		return u.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return u.root.Link(path.Clean(h.Linkname), name)
	case tar.TypeReg:
		return u.file(name, h)
	}
	return mayfly.Errorf(mayfly.Invalid, restoring, "%s is of a kind that no backup has", name)
}

func (u *unpacking) file(name string, h *tar.Header) error {
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, content{u})
	u.out.Bytes += mayfly.Bytes(n)
	for record, value := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(record, attribute); ok && err == nil {
			err = xattr.FSet(f, attr, []byte(value))
		}
	}
	if err == nil {
		err = f.Chmod(h.FileInfo().Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.root.Chtimes(name, h.ModTime, h.ModTime) // objects have the time of their file
}

// folders gives folders their attributes and modes, the inner ones first.
func (u *unpacking) folders() error {
	for i := len(u.late) - 1; i >= 0; i-- {
		h := u.late[i]
		name := path.Clean(h.Name)
		for record, value := range h.PAXRecords {
			if attr, ok := strings.CutPrefix(record, attribute); ok {
				if err := xattr.LSet(filepath.Join(u.dir, filepath.FromSlash(name)), attr, []byte(value)); err != nil {
					return mayfly.Errorf(mayfly.Invalid, restoring, "%s: the file system keeps no attributes, and the backup has some: %w", name, err)
				}
			}
		}
		if err := errors.Join(u.root.Chmod(name, h.FileInfo().Mode().Perm()), u.root.Chtimes(name, h.ModTime, h.ModTime)); err != nil {
			return err
		}
	}
	return nil
}
