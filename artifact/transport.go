package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/mayfly-cloud/mayfly"
)

// Export writes a bundle as a tar stream compressed by zstd.
func (s *Store) Export(ctx context.Context, digest string, w io.Writer) error {
	dir, err := s.Dir(digest)
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	tw := tar.NewWriter(z)
	err = s.WriteTar(ctx, tw, digest, dir, "")
	return errors.Join(err, tw.Close(), z.Close())
}

// WriteTar adds a bundle's files to a tar below prefix. dir is the bundle's.
func (s *Store) WriteTar(ctx context.Context, tw *tar.Writer, digest, dir, prefix string) error {
	l, err := s.index(digest)
	if err != nil {
		return err
	}
	for _, f := range l {
		if err := errors.Join(ctx.Err(), writeEntry(tw, f, dir, prefix)); err != nil {
			return fmt.Errorf("export %s: %w", f.Path, err)
		}
	}
	return nil
}

func writeEntry(tw *tar.Writer, f file, dir, prefix string) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: prefix + f.Path, Size: f.Size, Mode: 0o644, Format: tar.FormatPAX}
	if f.Exec {
		h.Mode = 0o755
	}
	if f.Link != "" {
		h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, f.Link, 0
		return tw.WriteHeader(h)
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	src, err := os.Open(filepath.Join(dir, f.Path))
	if err != nil {
		return err
	}
	defer src.Close()
	_, err = io.Copy(tw, src)
	return err
}

// Import stores the bundle in a stream that Export wrote, and refuses one whose
// digest is not want ("" takes any).
func (s *Store) Import(ctx context.Context, r io.Reader, want string) (Bundle, error) {
	tmp, err := s.temp()
	if err != nil {
		return Bundle{}, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := Unpack(ctx, r, tmp, s.cfg); err != nil {
		return Bundle{}, mayfly.Errorf(mayfly.CodeOf(err), "import a bundle", "%w", err)
	}
	l, err := s.list(ctx, tmp, nil)
	if err != nil {
		return Bundle{}, mayfly.Errorf(mayfly.CodeOf(err), "import a bundle", "%w", err)
	}
	if got := l.digest(); want != "" && got != want {
		return Bundle{}, mayfly.Errorf(mayfly.Invalid, "import a bundle", "its digest is %s and not %s; send it again", got, want)
	}
	return s.commit(l)
}
