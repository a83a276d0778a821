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

// Bundle packs one function of the source.
func (s *Source) bundle(ctx context.Context, store *artifact.Store, images Images, name mayfly.FunctionName, fn *mayfly.Function, o artifact.Options) (artifact.Bundle, error) {
	if s.packed {
		return store.Pack(ctx, filepath.Join(s.Dir, packedDir, string(name)), artifact.Options{})
	}
	src := filepath.Join(s.Dir, filepath.FromSlash(fn.Source))
	if fn.Runtime == mayfly.Container {
		return bundleImage(ctx, store, images, src, fn.Source)
	}
	o.Build = fn.Build
	if fn.Runtime == mayfly.Binary {
		o.Exec = true
		if fn.Handler == "bootstrap" {
			o.As = fn.Handler
		}
	}
	return store.Pack(ctx, src, o)
}

// bundleImage packs an image: a file or folder of the app as it is, else what a
// registry has under that name.
func bundleImage(ctx context.Context, store *artifact.Store, images Images, src, ref string) (artifact.Bundle, error) {
	if _, err := os.Stat(src); err == nil {
		return store.Pack(ctx, src, artifact.Options{Raw: true})
	}
	if images == nil {
		return artifact.Bundle{}, mayfly.Errorf(mayfly.Invalid, "", "there is no image file or folder %s", ref)
	}
	dir, err := os.MkdirTemp("", "mayfly-image-")
	if err != nil {
		return artifact.Bundle{}, err
	}
	defer os.RemoveAll(dir)
	if err := images.Fetch(ctx, ref, dir); err != nil {
		return artifact.Bundle{}, err
	}
	return store.Pack(ctx, dir, artifact.Options{})
}

// Send writes an app as a compressed tar for Receive on another machine: its
// manifest, the files that it refers to, and each function's files after its
// build, which runs here. store caches bundles on this machine.
func Send(ctx context.Context, dir string, store *artifact.Store, images Images, w io.Writer, progress func(Progress)) error {
	src := Local(dir)
	doc, err := src.open()
	if err != nil {
		return err
	}
	bundles, err := (&packer{store: store, images: images, parallel: 2, report: newReport(progress)}).all(ctx, src, doc.Manifest)
	if err != nil {
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
