package process

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process/shim"
)

// image changes the cell's root to an overlay of an image's. The program's
// changes go to memory, at most size, and end with the cell.
func (c *cell) image(ctx context.Context, root string, size mayfly.Bytes) error {
	tree, err := c.imageTree(ctx, root)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	var w shim.Writer
	w.Uint(uint64(c.users.prog))
	w.Uint(uint64(c.users.gid))
	w.Uint(uint64(size))
	names := []string{"hosts", "hostname", "resolv.conf"}
	w.Uint(uint64(len(names)))
	for _, name := range names {
		w.Text("/etc/" + name)
		w.Text(etcFiles[name])
	}
	c.imaged = true
	_, err = c.control.ask(ctx, shim.OpImage, w, tree)
	return err
}

// imageTree is a mount of an image's root whose owners are the cell's users,
// where the file system can do so; elsewhere the files belong to nobody, who
// cannot be the program.
func (c *cell) imageTree(ctx context.Context, root string) (int, error) {
	const attr = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	if !c.nursery.root {
		return c.nursery.tree(ctx, root, attr, -1)
	}
	users, err := os.Open("/proc/" + strconv.Itoa(c.pid) + "/ns/user")
	if err != nil {
		return -1, err
	}
	defer users.Close()
	tree, err := c.nursery.tree(ctx, root, attr, int(users.Fd()))
	if errors.Is(err, unix.EINVAL) {
		return c.nursery.tree(ctx, root, attr, -1)
	}
	return tree, err
}

// imageUser finds who an image's "uid[:gid]", or name, is. Root where it says
// nothing.
func imageUser(root, spec string) (uid, gid int, err error) {
	if spec == "" {
		return 0, 0, nil
	}
	user, group, grouped := strings.Cut(spec, ":")
	uid, gid, err = lookUp(root, "passwd", user, 3)
	if err == nil && grouped {
		gid, _, err = lookUp(root, "group", group, 2)
	}
	if err == nil && (uid < 0 || uid > 65535 || gid < 0 || gid > 65535) {
		err = mayfly.Errorf(mayfly.Invalid, "start image", "user %q is out of range: ids go to 65535", spec)
	}
	return uid, gid, err
}

// lookUp finds a number or name in /etc/passwd or /etc/group of an image. The
// second result is the field with number second, the user's group.
func lookUp(root, file, name string, second int) (id, other int, err error) {
	number, numErr := strconv.Atoi(name)
	content := readWithin(root, filepath.Join("etc", file))
	for line := range strings.Lines(content) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) <= second {
			continue
		}
		if f[0] == name || numErr == nil && f[2] == name {
			id, _ = strconv.Atoi(f[2])
			other, _ = strconv.Atoi(f[second])
			return id, other, nil
		}
	}
	if numErr == nil {
		return number, 0, nil
	}
	return 0, 0, mayfly.Errorf(mayfly.Invalid, "start image", "the image has no %q in its /etc/%s", name, file)
}

// readWithin reads a small file of an image without following links out of it.
func readWithin(root, name string) string {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return ""
	}
	defer dir.Close()
	f, err := dir.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(b)
}
