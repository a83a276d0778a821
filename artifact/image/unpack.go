package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/mayfly-cloud/mayfly"
)

const (
	maxSize  = int64(16 * mayfly.GiB) // of an image, unpacked
	maxFiles = 2_000_000
	maxLinks = 255 // of one path

	whiteout = ".wh."
	opaque   = ".wh..wh..opq"

	maxOwner = 65535 // ids that a cell has; what is beyond belongs to nobody
	nobody   = 65534
)

// unpack writes the layers of an image into dir, an empty folder.
func unpack(ctx context.Context, img *Image, dir string) error {
	layers, err := img.Layers()
	if err != nil {
		return invalid(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack image: %w", err)
	}
	defer root.Close()
	u := &unpacker{ctx: ctx, root: root, left: maxSize, files: maxFiles, owners: os.Geteuid() == 0, modes: map[string]fs.FileMode{".": 0o755}}
	for i, layer := range layers {
		if err := u.layer(layer); err != nil {
			return invalid(fmt.Errorf("layer %d: %w", i+1, err))
		}
	}
	if dir := img.Config.WorkingDir; dir != "" {
		if at, err := u.resolve(clean(dir), true); err == nil {
			_ = root.MkdirAll(at, 0o755) // where the image has a file in its place, the start says so
		}
	}
	return u.finish()
}

func invalid(err error) error {
	if code := mayfly.CodeOf(err); code == mayfly.TooLarge || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var path *fs.PathError
	if errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpack image: %w", err)
	}
	return mayfly.Errorf(mayfly.Invalid, "unpack image", "%w", err)
}

// unpacker applies layers. Its paths are relative to the root, without a link in
// any folder of them: resolve makes them.
type unpacker struct {
	ctx    context.Context
	root   *os.Root
	left   int64 // bytes that may still be written
	files  int   // entries that may still be made
	owners bool  // the daemon may give files away

	modes map[string]fs.FileMode // of folders, set at the end: one may forbid to write
	made  map[string]bool        // by this layer
}

// layer applies one layer and checks it against its digest.
func (u *unpacker) layer(l v1.Layer) error {
	want, err := l.DiffID()
	if err != nil {
		return err
	}
	rc, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer rc.Close()
	sum := sha256.New()
	stream := io.TeeReader(rc, sum)
	u.made = map[string]bool{}
	if err := u.entries(tar.NewReader(stream)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(stream, maxSize)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); want.Algorithm != "sha256" || got != want.Hex {
		return fmt.Errorf("its content is sha256:%s, not %s", got, want)
	}
	return nil
}

func (u *unpacker) entries(r *tar.Reader) error {
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if u.files--; u.files < 0 {
			return mayfly.Errorf(mayfly.TooLarge, "unpack image", "the image has more than %d files", maxFiles)
		}
		if err := u.entry(h, r); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// clean is a path below the root, as ".." at the root is the root.
func clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	if strings.Contains(h.Name, "\x00") || path.IsAbs(h.Name) && strings.Contains(h.Name, "..") || strings.HasPrefix(path.Clean(h.Name), "..") {
		return errors.New("the path leads out of the image")
	}
	name := clean(h.Name)
	if name == "" {
		u.modes["."] = mode(h)
		return u.own(".", h)
	}
	dir, err := u.parent(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if base == opaque {
		return u.clearFolder(dir)
	}
	if gone, is := strings.CutPrefix(base, whiteout); is {
		return u.whiteOut(path.Join(dir, gone), gone)
	}
	at := path.Join(dir, base)
	if err := u.make(at, h, r); err != nil {
		return err
	}
	u.made[at] = true
	return nil
}

// make writes one entry in the place of what was there.
func (u *unpacker) make(at string, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(at, h)
	case tar.TypeReg:
		return u.file(at, h, r)
	case tar.TypeSymlink:
		if err := u.remove(at); err != nil {
			return err
		}
		if err := u.root.Symlink(h.Linkname, at); err != nil {
			return err
		}
		return u.own(at, h)
	case tar.TypeLink:
		return u.hardLink(at, h)
	}
	return nil // devices, pipes
}

func (u *unpacker) folder(at string, h *tar.Header) error {
	st, err := u.root.Lstat(at)
	if err == nil && !st.IsDir() {
		if err := u.remove(at); err != nil {
			return err
		}
	}
	if err != nil || !st.IsDir() {
		if err := u.root.Mkdir(at, 0o755); err != nil {
			return err
		}
	}
	u.modes[at] = mode(h)
	return u.own(at, h)
}

func (u *unpacker) file(at string, h *tar.Header, r io.Reader) error {
	if err := u.remove(at); err != nil {
		return err
	}
	if u.left -= h.Size; u.left < 0 {
		return mayfly.Errorf(mayfly.TooLarge, "unpack image", "the image is larger than %s", mayfly.Bytes(maxSize))
	}
	f, err := u.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close(), u.own(at, h)); err != nil {
		return err
	}
	// After the owner: giving a file away clears bits of its mode.
	return errors.Join(u.root.Chmod(at, mode(h)), u.root.Chtimes(at, time.Time{}, h.ModTime))
}

// hardLink makes another name of a file of the image.
func (u *unpacker) hardLink(at string, h *tar.Header) error {
	target, err := u.resolve(clean(h.Linkname), false)
	if err != nil {
		return err
	}
	st, err := u.root.Lstat(target)
	if err != nil {
		return fmt.Errorf("the link's target: %w", err)
	}
	if st.IsDir() {
		return errors.New("a hard link to a folder")
	}
	if target == at {
		return nil
	}
	if err := u.remove(at); err != nil {
		return err
	}
	return u.root.Link(target, at)
}

// mode is an entry's, without set-user-id and set-group-id. Folders keep the
// sticky bit.
func mode(h *tar.Header) fs.FileMode {
	m := h.FileInfo().Mode()
	return m.Perm() | m&fs.ModeSticky
}

func (u *unpacker) own(at string, h *tar.Header) error {
	if !u.owners {
		return nil
	}
	return u.root.Lchown(at, owner(h.Uid), owner(h.Gid))
}

func owner(id int) int {
	if id < 0 || id > maxOwner {
		return nobody
	}
	return id
}

// parent resolves a folder, and makes what is missing of it.
func (u *unpacker) parent(dir string) (string, error) {
	at, err := u.resolve(clean(dir), true)
	if err != nil {
		return "", err
	}
	if at == "." {
		return at, nil
	}
	if st, err := u.root.Lstat(at); err == nil && st.IsDir() {
		return at, nil
	}
	return at, u.root.MkdirAll(at, 0o755)
}

// resolve replaces the links in a path by what they point to, within the root;
// the last element's only where last is set. What does not exist stays as it is.
func (u *unpacker) resolve(name string, last bool) (string, error) {
	at, rest := ".", parts(name)
	for links := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		if rest[0] == ".." {
			at, rest = path.Dir(at), rest[1:]
			continue
		}
		rest = rest[1:]
		st, err := u.root.Lstat(next)
		if err != nil || st.Mode()&fs.ModeSymlink == 0 || len(rest) == 0 && !last {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", errors.New("too many links in the path")
		}
		target, err := u.root.Readlink(next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			at = "."
		}
		rest = append(parts(target), rest...)
	}
	return at, nil
}

// parts are a path's elements, in which ".." is left.
func parts(p string) []string {
	var out []string
	for _, e := range strings.Split(p, "/") {
		if e != "" && e != "." {
			out = append(out, e)
		}
	}
	return out
}

// remove deletes what is at a path, whatever it is.
func (u *unpacker) remove(at string) error {
	if at == "." {
		return errors.New("the root of the image cannot be replaced")
	}
	st, err := u.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && st.IsDir() {
		for dir := range u.modes {
			if dir == at || strings.HasPrefix(dir, at+"/") {
				delete(u.modes, dir)
			}
		}
	}
	return u.root.RemoveAll(at)
}

// whiteOut deletes what lower layers have at a path.
func (u *unpacker) whiteOut(at, name string) error {
	if name == "" || name == "." || name == ".." || strings.HasPrefix(name, ".wh.") {
		return nil // of a storage driver's own, such as .wh..wh.plnk
	}
	if u.made[at] {
		return nil
	}
	return u.remove(at)
}

// clearFolder deletes what lower layers have in a folder, and keeps what this
// layer made.
func (u *unpacker) clearFolder(dir string) error {
	names, err := u.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		at := path.Join(dir, name)
		st, err := u.root.Lstat(at)
		if err != nil {
			return err
		}
		switch {
		case st.IsDir() && u.madeWithin(at):
			err = u.clearFolder(at)
		case !u.made[at]:
			err = u.remove(at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) list(dir string) ([]string, error) {
	f, err := u.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (u *unpacker) madeWithin(dir string) bool {
	if u.made[dir] {
		return true
	}
	for at := range u.made {
		if strings.HasPrefix(at, dir+"/") {
			return true
		}
	}
	return false
}

// finish sets the modes of folders, the deepest first. A daemon that is not root
// keeps its own access, without which it could not delete them.
func (u *unpacker) finish() error {
	dirs := make([]string, 0, len(u.modes))
	for dir := range u.modes {
		dirs = append(dirs, dir)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(dirs)))
	for _, dir := range dirs {
		m := u.modes[dir]
		if !u.owners {
			m |= 0o700
		}
		if err := u.root.Chmod(dir, m); err != nil {
			return fmt.Errorf("unpack image: %w", err)
		}
	}
	return nil
}
