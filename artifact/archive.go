package artifact

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/mayfly-cloud/mayfly"
)

// archiveKind is "zip" or "tar" where the name says that a file is one.
func archiveKind(name string) string {
	name = strings.ToLower(name)
	if strings.HasSuffix(name, ".zip") {
		return "zip"
	}
	for _, suffix := range []string{".tar", ".tar.gz", ".tgz", ".tar.zst"} {
		if strings.HasSuffix(name, suffix) {
			return "tar"
		}
	}
	return ""
}

func unpackFile(ctx context.Context, src, kind, dir string, cfg Config) error {
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer f.Close()
	if kind == "zip" {
		return unpackZip(ctx, f, dir, cfg)
	}
	return Unpack(ctx, f, dir, cfg)
}

// extractor writes an archive's entries below a folder. Whatever their names
// and links say, nothing outside it is touched: every access goes through
// os.Root.
type extractor struct {
	ctx  context.Context
	root *os.Root
	cfg  Config
	left int64 // bytes that may still be written
	n    int

	links map[string]string // made so far, by path
}

func extract(ctx context.Context, dir string, cfg Config, walk func(*extractor) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	cfg = cfg.WithDefaults()
	x := &extractor{ctx: ctx, root: root, cfg: cfg, left: int64(cfg.MaxSize), links: map[string]string{}}
	if err := walk(x); err != nil {
		return err
	}
	for name := range x.links {
		if err := staysInside(x.links, name); err != nil {
			return err
		}
	}
	return nil
}

// name is an entry's path, refused where it leads out.
func (x *extractor) name(raw string) (string, error) {
	if err := x.ctx.Err(); err != nil {
		return "", err
	}
	if x.n++; x.n > 2*x.cfg.MaxFiles {
		return "", mayfly.Errorf(mayfly.TooLarge, "", "the archive has more than %d entries", 2*x.cfg.MaxFiles)
	}
	name := path.Clean(strings.TrimSuffix(raw, "/"))
	if !filepath.IsLocal(name) || strings.ContainsAny(raw, "\x00\\") {
		return "", mayfly.Errorf(mayfly.Invalid, "", "the archive has an entry %q, whose path leads out of it", raw)
	}
	return name, nil
}

func (x *extractor) folder(name string) error {
	if err := x.parent(name); err != nil {
		return err
	}
	return x.root.MkdirAll(name, 0o755)
}

func (x *extractor) file(name string, mode fs.FileMode, r io.Reader) error {
	if err := x.parent(name); err != nil {
		return err
	}
	perm := fs.FileMode(0o644)
	if mode&0o111 != 0 {
		perm = 0o755
	}
	f, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		return mayfly.Errorf(mayfly.Invalid, "", "the archive has %q twice", name)
	}
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q cannot be written: %w", name, err)
	}
	n, err := io.Copy(f, io.LimitReader(r, x.left+1))
	x.left -= n
	if x.left < 0 {
		err = mayfly.Errorf(mayfly.TooLarge, "", "the archive unpacks to more than %s", x.cfg.MaxSize)
	} else if err != nil {
		err = mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q is damaged: %w", name, err)
	}
	return errors.Join(err, f.Chmod(perm), f.Close())
}

// parent makes the folders above an entry, and refuses one that would be
// written through a link: its own links would be checked at the wrong place.
func (x *extractor) parent(name string) error {
	for up := path.Dir(name); up != "."; up = path.Dir(up) {
		if _, isLink := x.links[up]; isLink {
			return mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q goes through the link %q", name, up)
		}
	}
	dir := path.Dir(name)
	if dir == "." {
		return nil
	}
	if err := x.root.MkdirAll(dir, 0o755); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q cannot be written: %w", name, err)
	}
	return nil
}

func (x *extractor) link(name, target string) error {
	if path.IsAbs(target) {
		return escapes(name, target)
	}
	if err := x.parent(name); err != nil {
		return err
	}
	if err := x.root.Symlink(target, name); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "", "the archive's link %q cannot be made: %w", name, err)
	}
	x.links[name] = target
	return nil
}

// hard makes a hard link as a copy of an entry that came before.
func (x *extractor) hard(name, target string) error {
	target, err := x.name(target)
	if err != nil {
		return err
	}
	src, err := x.root.Open(target)
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q links to %q, which does not come before it", name, target)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q links to %q, which is no file", name, target)
	}
	return x.file(name, info.Mode(), src)
}

// Unpack extracts a tar stream (plain, gzip or zstd) below dir, which exists.
// cfg bounds it. Entries whose path or link leads out of dir are refused, as
// are devices; what was extracted by then is left in dir.
func Unpack(ctx context.Context, r io.Reader, dir string, cfg Config) error {
	plain, done, err := decompress(r)
	if err != nil {
		return err
	}
	defer done()
	return extract(ctx, dir, cfg, func(x *extractor) error {
		tr := tar.NewReader(plain)
		for {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return mayfly.Errorf(mayfly.Invalid, "", "it is not a tar archive, or damaged: %w", err)
			}
			if err := x.tarEntry(h, tr); err != nil {
				return err
			}
		}
	})
}

func (x *extractor) tarEntry(h *tar.Header, r io.Reader) error {
	name, err := x.name(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return x.folder(name)
	case tar.TypeReg:
		return x.file(name, h.FileInfo().Mode(), r)
	case tar.TypeSymlink:
		return x.link(name, h.Linkname)
	case tar.TypeLink:
		return x.hard(name, h.Linkname)
	case tar.TypeXGlobalHeader:
		return nil
	}
	return mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q is neither a file, a folder nor a link", h.Name)
}

// decompress looks at the first bytes of a stream. maxWindow bounds what zstd
// may allocate for a stream from outside.
func decompress(r io.Reader) (io.Reader, func(), error) {
	const maxWindow = 64 << 20
	br := bufio.NewReader(r)
	head, _ := br.Peek(4)
	switch {
	case len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b:
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, mayfly.Errorf(mayfly.Invalid, "", "it is not gzip, or damaged: %w", err)
		}
		return z, func() { _ = z.Close() }, nil
	case string(head) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, mayfly.Errorf(mayfly.Invalid, "", "it is not zstd, or damaged: %w", err)
		}
		return z, z.Close, nil
	}
	return br, func() {}, nil
}

func unpackZip(ctx context.Context, f *os.File, dir string, cfg Config) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "", "it is not a zip archive, or damaged: %w", err)
	}
	return extract(ctx, dir, cfg, func(x *extractor) error {
		for _, e := range z.File {
			if err := x.zipEntry(e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (x *extractor) zipEntry(e *zip.File) error {
	name, err := x.name(e.Name)
	if err != nil {
		return err
	}
	mode := e.Mode()
	if mode.IsDir() || strings.HasSuffix(e.Name, "/") {
		return x.folder(name)
	}
	r, err := e.Open()
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q cannot be read: %w", e.Name, err)
	}
	defer r.Close()
	switch {
	case mode&fs.ModeSymlink != 0:
		target, err := io.ReadAll(io.LimitReader(r, 4096))
		if err != nil {
			return fmt.Errorf("read the link %s: %w", e.Name, err)
		}
		return x.link(name, string(target))
	case !mode.IsRegular():
		return mayfly.Errorf(mayfly.Invalid, "", "the archive's entry %q is neither a file, a folder nor a link", e.Name)
	}
	return x.file(name, mode, r)
}
