package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Options say how a source becomes a bundle.
type Options struct {
	Build   string        // shell command, run in a copy of the source; "" for none
	Timeout time.Duration // of the build; default 10 minutes
	Env     []string      // of the build; default this process's without the platform's own
	Output  io.Writer     // gets what the build prints, as it comes; may be nil
	Started func()        // called before the build command runs; may be nil

	As   string // the name that a single file gets; default its own
	Exec bool   // a single file becomes executable
	Raw  bool   // an archive stays one file, such as a container image
}

// errChanged is what a source that changes while it is read gives.
var errChanged = errors.New("changed while it was being packed")

// Pack makes a bundle of a folder, an archive (.zip, .tar, .tar.gz, .tgz,
// .tar.zst) or a single file, and returns the one that the store has where
// nothing changed. Errors about the source are Invalid or TooLarge, Unavailable
// where its build needs a program that is not there.
func (s *Store) Pack(ctx context.Context, src string, o Options) (Bundle, error) {
	for try := 1; ; try++ {
		b, err := s.pack(ctx, src, o)
		if errors.Is(err, errChanged) && try < 3 {
			continue
		}
		if err != nil {
			return Bundle{}, packError(src, err)
		}
		return b, nil
	}
}

func packError(src string, err error) error {
	code := mayfly.CodeOf(err)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errChanged) {
		code = mayfly.Invalid
	}
	return mayfly.Errorf(code, "pack "+filepath.Base(src), "%w", err)
}

func (s *Store) pack(ctx context.Context, src string, o Options) (Bundle, error) {
	info, err := os.Stat(src)
	if err != nil {
		return Bundle{}, err
	}
	kind := archiveKind(src)
	switch {
	case info.IsDir():
		return s.packDir(ctx, src, o)
	case kind != "" && !o.Raw:
		tmp, err := s.temp()
		if err != nil {
			return Bundle{}, err
		}
		defer func() { _ = os.RemoveAll(tmp) }()
		if err := unpackFile(ctx, src, kind, tmp, s.cfg); err != nil {
			return Bundle{}, err
		}
		return s.packDir(ctx, tmp, o)
	case o.Build != "":
		return Bundle{}, mayfly.Errorf(mayfly.Invalid, "", "a build needs a folder or an archive; the source is a single file")
	}
	return s.packFile(src, info, o)
}

func (s *Store) packFile(src string, info fs.FileInfo, o Options) (Bundle, error) {
	if !info.Mode().IsRegular() {
		return Bundle{}, mayfly.Errorf(mayfly.Invalid, "", "it is neither a file nor a folder")
	}
	hash, err := s.hashes.of(src, info)
	if err != nil {
		return Bundle{}, err
	}
	name := o.As
	if name == "" {
		name = filepath.Base(src)
	}
	return s.commit(listing{{Path: name, Size: info.Size(), Exec: o.Exec || executable(info), Hash: hash, from: src}})
}

func (s *Store) packDir(ctx context.Context, src string, o Options) (Bundle, error) {
	own, err := ignoreIn(src)
	if err != nil {
		return Bundle{}, err
	}
	rules := slices.Concat(neverPackedRules, notBundledRules, own)
	if o.Build != "" {
		return s.packBuilt(ctx, src, rules, o)
	}
	l, err := s.list(ctx, src, rules)
	if err != nil {
		return Bundle{}, err
	}
	return s.commit(l)
}

var (
	neverPackedRules = mustIgnore(neverPacked...)
	notBundledRules  = mustIgnore(notBundled...)
)

func executable(info fs.FileInfo) bool { return info.Mode()&0o111 != 0 }

// list is the files of a folder that rules do not leave out, hashed and sorted.
func (s *Store) list(ctx context.Context, dir string, rules ignore) (listing, error) {
	var l listing
	var size int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return errors.Join(err, ctx.Err())
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if rules.skips(rel, e.IsDir()) || (e.IsDir() && s.excluded(path)) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() {
			return ctx.Err()
		}
		f, err := s.describe(path, rel, e)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s %w", rel, errChanged)
		}
		if err != nil {
			return err
		}
		l = append(l, f)
		if size += f.Size; len(l) > 4*s.cfg.MaxFiles || mayfly.Bytes(size) > 4*s.cfg.MaxSize {
			return fs.SkipAll // far too much: check says so, with what is known by now
		}
		return nil
	})
	l.sort()
	return l, err
}

// excluded reports whether a folder is one that never belongs to a bundle: the
// store itself or the daemon's data.
func (s *Store) excluded(path string) bool {
	return slices.ContainsFunc(append([]string{s.cfg.Dir}, s.cfg.Exclude...), func(dir string) bool {
		if filepath.Base(dir) != filepath.Base(path) {
			return false
		}
		a, err1 := os.Stat(dir)
		b, err2 := os.Stat(path)
		return err1 == nil && err2 == nil && os.SameFile(a, b)
	})
}

func (s *Store) describe(path, rel string, e fs.DirEntry) (file, error) {
	f := file{Path: rel, from: path}
	switch {
	case strings.ContainsRune(rel, 0):
		return f, mayfly.Errorf(mayfly.Invalid, "", "the name %q holds a NUL", rel)
	case e.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		f.Link = filepath.ToSlash(target)
		return f, err
	case !e.Type().IsRegular():
		return f, mayfly.Errorf(mayfly.Invalid, "", "%s is neither a file, a folder nor a link; leave it out in %s", rel, ignoreFile)
	}
	info, err := e.Info()
	if err != nil {
		return f, err
	}
	f.Size, f.Exec = info.Size(), executable(info)
	f.Hash, err = s.hashes.of(path, info)
	return f, err
}
