package daemon

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/pkg/xattr"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/service/sql"
)

// A backup is a compressed tar of a data folder as a kill would leave it at one
// moment, without what is made again: a head, the files by their names below
// the folder, and an end that says how many they are.
//
// All writes to the engine wait while it is made: control state, secrets,
// key-value stores, queues and events are of that moment. Databases are copied
// meanwhile, each at one of its commits. Objects are copied before the notes of
// writes to them, so that an object in the backup whose event is not has its
// note, from which a restored node makes the event.
const (
	backupHead   = "mayfly-backup.json"
	backupEnd    = "mayfly-backup-end.json"
	backupFormat = 1
)

// head is a backup's first entry.
type head struct {
	Format  int              `json:"format"`
	Version string           `json:"version"` // of the program that made it
	Created time.Time        `json:"created"`
	Apps    []mayfly.AppName `json:"apps"`
}

// end is its last one.
type end struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// backups is the API's operation.
type backups struct {
	n         *Node
	databases *sql.Driver
}

func (b backups) Register(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "backup", Method: http.MethodGet, Path: "/v1/backup", Tags: []string{"Node"},
		Summary: "Everything that the node keeps, as a compressed tar; writes wait while it is made",
	}, b.serve)
}

func (b backups) serve(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
	if who := mayfly.CallerFrom(ctx); who.Kind != mayfly.CallerAdmin {
		return nil, mayfly.Errorf(mayfly.Denied, "back up", "only the administrator may make a backup: all keys and secrets are in it")
	}
	if b.n.cfg.NATS != "" {
		return nil, mayfly.Errorf(mayfly.Invalid, "back up", "this node's state is in an external NATS; back it up with: nats account backup")
	}
	file, size, err := b.make(ctx)
	if errors.Is(err, syscall.ENOSPC) {
		return nil, mayfly.Errorf(mayfly.Unavailable, "back up", "the node's disk has no room for a backup, which is made in %s before it is sent; make room there", b.n.cfg.path("tmp"))
	}
	if err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer os.Remove(file.Name())
		defer file.Close()
		hc.SetHeader("Content-Type", "application/zstd")
		hc.SetHeader("Content-Length", strconv.FormatInt(size, 10)) // one that ends early is seen to
		_, _ = file.WriteTo(hc.BodyWriter())
	}}, nil
}

// make writes a backup to a file, so that writes do not wait for a client. The
// caller closes and removes it.
func (b backups) make(ctx context.Context) (_ *os.File, size int64, err error) {
	dir := b.n.cfg.path("tmp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, err
	}
	file, err := os.CreateTemp(dir, "backup-*")
	if err != nil {
		return nil, 0, err
	}
	if err = b.write(ctx, file); err == nil {
		size, err = file.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	return file, size, nil
}

func (b backups) write(ctx context.Context, w io.Writer) error {
	packed, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	a := &archive{ctx: ctx, tar: tar.NewWriter(packed), root: b.n.cfg.Data, linked: map[string]string{}}
	err = b.hold(a)
	return errors.Join(err, a.tar.Close(), packed.Close())
}

// hold fills the archive while no write to the engine goes on.
func (b backups) hold(a *archive) error {
	release := b.n.engine.Hold()
	defer release()
	if b.n.cfg.Durability == "fast" {
		time.Sleep(time.Second) // the server writes its buffers meanwhile
	}
	h := head{Format: backupFormat, Version: b.n.cfg.Version, Created: time.Now().UTC(), Apps: []mayfly.AppName{}}
	for _, app := range b.n.control.State().Apps() {
		h.Apps = append(h.Apps, app.Name)
	}
	if err := a.note(backupHead, h); err != nil {
		return err
	}
	for _, part := range []string{"engine", "artifacts", "buckets/buckets", "buckets/versions/data", "buckets/metadata/data", "buckets/intents", "buckets/accounts", "buckets/keys", "alerts", "audit"} {
		if err := a.tree(part); err != nil {
			return err
		}
	}
	for _, name := range []string{"root.key", "admin-token", "buckets/node.key", "meter/journal"} {
		if err := a.file(name); err != nil {
			return err
		}
	}
	if err := sql.Copy(a.ctx, b.n.cfg.path("meter", "usage.db"), b.n.cfg.path("tmp"), func(f *os.File) error { return a.copied("meter/usage.db", f) }); err != nil {
		return err
	}
	if err := b.databases.Copies(a.ctx, func(name string, f *os.File) error { return a.copied("databases/"+name, f) }); err != nil {
		return err
	}
	return a.note(backupEnd, a.end)
}

// archive is a backup that is being written.
type archive struct {
	ctx    context.Context
	tar    *tar.Writer
	root   string            // the data folder
	linked map[string]string // the first name of each file that has several
	end    end
}

func (a *archive) note(name string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(data))})
	}
	if err == nil {
		_, err = a.tar.Write(data)
	}
	return err
}

// tree adds a folder with all that is in it; nothing where it is missing.
func (a *archive) tree(name string) error {
	return filepath.WalkDir(filepath.Join(a.root, filepath.FromSlash(name)), func(file string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		}
		rel, err := filepath.Rel(a.root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case rel == "artifacts/tmp":
			return fs.SkipDir
		case strings.HasPrefix(rel, "engine/") && !engine.Copied(rel):
			return nil
		}
		return a.file(rel)
	})
}

// file adds one entry of the data folder, with its extended attributes: the
// metadata of objects is in them.
func (a *archive) file(name string) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	file := filepath.Join(a.root, filepath.FromSlash(name))
	info, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return a.header(name, file, info, "")
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return a.header(name, file, info, to)
	case !info.Mode().IsRegular():
		return nil
	}
	if id := identityOf(info); id != "" {
		if first := a.linked[id]; first != "" {
			a.end.Files++
			return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: first})
		}
		a.linked[id] = name
	}
	return a.content(name, file)
}

// content adds a file as long as it is when it is opened: logs may grow.
func (a *archive) content(name, file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := a.header(name, file, info, ""); err != nil {
		return err
	}
	return a.data(f, info.Size())
}

func (a *archive) data(r io.Reader, size int64) error {
	n, err := io.CopyN(a.tar, r, size)
	a.end.Bytes += n
	return err
}

// copied adds a file that stands for another.
func (a *archive) copied(name string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	a.end.Files++
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}
	if err := a.tar.WriteHeader(h); err != nil {
		return err
	}
	return a.data(f, info.Size())
}

// attribute is the prefix under which tar keeps extended attributes.
const attribute = "SCHILY.xattr."

func (a *archive) header(name, file string, info fs.FileInfo, link string) error {
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Format = name, tar.FormatPAX
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
	if info.IsDir() {
		h.Name += "/"
	} else {
		a.end.Files++
	}
	if link == "" && strings.HasPrefix(path.Clean(name), "buckets/") {
		h.PAXRecords = attributesOf(file)
	}
	return a.tar.WriteHeader(h)
}

// attributesOf are a file's own attributes, none where there cannot be any.
func attributesOf(file string) map[string]string {
	names, err := xattr.LList(file)
	if err != nil {
		return nil
	}
	records := map[string]string{}
	for _, name := range slices.Sorted(slices.Values(names)) {
		if value, err := xattr.LGet(file, name); err == nil && strings.HasPrefix(name, "user.") {
			records[attribute+name] = string(value)
		}
	}
	return records
}
