package control

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/manifest"
)

// Source is an app's folder. Close frees what Receive made.
type Source struct {
	Dir    string
	packed bool // functions are ready below packedDir
	temp   bool
}

// packedDir is where a sent app has its functions' files, by function.
const packedDir = "mayfly.functions"

// Local is the source in a folder of this machine.
func Local(dir string) *Source { return &Source{Dir: dir} }

// Receive unpacks what Send wrote into a fresh folder below tmp. Close the
// source when done.
func Receive(ctx context.Context, r io.Reader, tmp string) (*Source, error) {
	dir, err := os.MkdirTemp(tmp, "received-")
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "receive an app", "%w", err)
	}
	s := &Source{Dir: dir, temp: true}
	if err := artifact.Unpack(ctx, r, dir, artifact.Config{MaxSize: 4 * mayfly.GiB, MaxFiles: 200_000}); err != nil {
		return nil, errors.Join(mayfly.Errorf(mayfly.CodeOf(err), "receive an app", "%w", err), s.Close())
	}
	_, err = os.Stat(filepath.Join(dir, packedDir))
	s.packed = err == nil
	return s, nil
}

// Close removes what Receive unpacked. It may be called twice.
func (s *Source) Close() error {
	if !s.temp {
		return nil
	}
	return os.RemoveAll(s.Dir)
}

func (s *Source) open() (*manifest.Document, error) {
	if s.packed {
		return manifest.OpenPacked(s.Dir)
	}
	return manifest.Open(s.Dir)
}

// isReference reports whether a container's source names an image in a
// registry: it is not written as a path, and there is no file or folder of that
// name in the app.
func (s *Source) isReference(fn *mayfly.Function) bool {
	if fn.Runtime != mayfly.Container || manifest.IsPath(fn.Source) {
		return false
	}
	_, err := os.Stat(s.path(fn))
	return err != nil
}

func (s *Source) path(fn *mayfly.Function) string {
	return filepath.Join(s.Dir, filepath.FromSlash(fn.Source))
}

// bundle packs one function of the source.
func (s *Source) bundle(ctx context.Context, store *artifact.Store, images *images, name mayfly.FunctionName, fn *mayfly.Function, o artifact.Options) (artifact.Bundle, error) {
	switch {
	case s.isReference(fn) && !s.has(name):
		return images.bundle(ctx, store, fn.Source)
	case s.packed:
		return store.Pack(ctx, s.packedPath(name), artifact.Options{})
	case fn.Runtime == mayfly.Container:
		return store.Pack(ctx, s.path(fn), artifact.Options{Raw: true})
	case s.temp && fn.Build != "":
		return artifact.Bundle{}, mayfly.Errorf(mayfly.Invalid, "", "a node runs no build of an app that it is sent; mayfly deploy builds before it sends")
	}
	o.Build = fn.Build
	if fn.Runtime == mayfly.Binary {
		o.Exec = true
		if fn.Handler == "bootstrap" {
			o.As = fn.Handler
		}
	}
	return store.Pack(ctx, s.path(fn), o)
}

func (s *Source) packedPath(name mayfly.FunctionName) string {
	return filepath.Join(s.Dir, packedDir, string(name))
}

// has reports whether the source was received with a function's files.
func (s *Source) has(name mayfly.FunctionName) bool {
	_, err := os.Stat(s.packedPath(name))
	return s.packed && err == nil
}

// images gets the images that manifests name by reference.
type images struct {
	from Images

	mu    sync.Mutex
	known map[string]string // digests of bundles by reference; guarded by mu; nil: nothing is remembered
}

// bundle is the bundle of an image. Where images are remembered, a reference is
// looked up once.
func (im *images) bundle(ctx context.Context, store *artifact.Store, ref string) (artifact.Bundle, error) {
	if im == nil || im.from == nil {
		return artifact.Bundle{}, mayfly.Errorf(mayfly.Invalid, "", "there is no image file or folder %s", ref)
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	if b, err := store.Bundle(im.known[ref]); err == nil {
		return b, nil
	}
	dir, err := os.MkdirTemp("", "mayfly-image-")
	if err != nil {
		return artifact.Bundle{}, err
	}
	defer os.RemoveAll(dir)
	if err := im.from.Fetch(ctx, ref, dir); err != nil {
		return artifact.Bundle{}, err
	}
	b, err := store.Pack(ctx, dir, artifact.Options{})
	if err == nil && im.known != nil {
		im.known[ref] = b.Digest
	}
	return b, err
}

// Send writes an app as a compressed tar for Receive on another machine: its
// manifest, the files that it refers to, and each function's files after its
// build, which runs here. Images that it names by reference are left to the
// other machine. store caches bundles on this one.
func Send(ctx context.Context, dir string, store *artifact.Store, w io.Writer, progress func(Progress)) error {
	src := Local(dir)
	doc, err := src.open()
	if err != nil {
		return err
	}
	local := &mayfly.Manifest{App: doc.Manifest.App, Functions: maps.Clone(doc.Manifest.Functions)}
	maps.DeleteFunc(local.Functions, func(_ mayfly.FunctionName, fn *mayfly.Function) bool { return src.isReference(fn) })
	bundles, failed := (&packer{store: store, parallel: 2, report: newReport(progress)}).all(ctx, src, local)
	if err := allOf(ctx, failed); err != nil {
		return err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	tw := tar.NewWriter(z)
	err = sendFiles(ctx, tw, doc)
	for _, name := range slices.Sorted(maps.Keys(bundles)) {
		if err == nil {
			b := bundles[name]
			err = store.WriteTar(ctx, tw, b.Digest, b.Dir, path.Join(packedDir, string(name))+"/")
		}
	}
	return errors.Join(err, tw.Close(), z.Close())
}

// sendFiles adds the manifest and what it refers to.
func sendFiles(ctx context.Context, tw *tar.Writer, doc *manifest.Document) error {
	files := []string{doc.File}
	for _, t := range doc.Manifest.Topics {
		if t.Schema != "" {
			files = append(files, t.Schema)
		}
	}
	for _, db := range doc.Manifest.Databases {
		for name := range db.MigrationFiles {
			files = append(files, path.Join(filepath.ToSlash(db.Migrations), name))
		}
	}
	// The folder is there even where no function is.
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: packedDir + "/", Mode: 0o755}); err != nil {
		return err
	}
	for i, name := range files {
		files[i] = path.Clean(filepath.ToSlash(name))
	}
	slices.Sort(files)
	for _, name := range slices.Compact(files) {
		data, err := os.ReadFile(filepath.Join(doc.Dir, filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("send %s: %w", name, err)
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644}
		if err := errors.Join(ctx.Err(), tw.WriteHeader(h)); err != nil {
			return err
		}
		if _, err := tw.Write(data); err != nil {
			return err
		}
	}
	return nil
}
