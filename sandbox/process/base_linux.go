package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// base is the folder that becomes the root of every cell: an empty tree of
// mount points, and an /etc without the machine's secrets.
type base struct {
	dir   string
	large []string // folders of the machine's /etc that are shown, not copied
}

// Users of a cell, as it sees them.
const (
	initUser    = 0
	programUser = 1000
)

// etcFiles are what a cell sees besides what the machine's /etc gives.
var etcFiles = map[string]string{
	"passwd":        "root:x:0:0:root:/:/bin/sh\nmayfly:x:1000:1000:function:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
	"group":         "root:x:0:\nmayfly:x:1000:\nnogroup:x:65534:\n",
	"hosts":         "127.0.0.1 localhost mayfly\n",
	"hostname":      "mayfly\n",
	"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n",
	"resolv.conf":   "nameserver 127.0.0.1\noptions timeout:11 attempts:2\n",
}

// etcShared are files of the machine's /etc that programs need and that hold
// no secret: how libraries are found, which authorities are trusted, what
// programs are called.
var etcShared = []string{
	"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "alternatives", "mime.types", "protocols", "services", "os-release",
	"ssl/certs", "ssl/openssl.cnf", "ssl/cert.pem", "pki/tls/certs", "pki/ca-trust/extracted", "ca-certificates", "crypto-policies",
	"python2.7", "python3", "python3.*", "java*", "perl", "php", "fonts", "magic", "terminfo", "bash.bashrc", "inputrc", "locale.conf", "locale.alias", "gai.conf", "host.conf",
}

// systemFolders are the machine's folders that cells see read-only. Where one
// is a link (as /bin to usr/bin), cells get the link.
var systemFolders = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"}

// devices are all of /dev that cells see.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// maskedFiles of /proc tell about the machine rather than the cell. Without
// privilege the worst of them cannot be read anyway.
var maskedFiles = []string{
	"/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/sched_debug", "/proc/sysrq-trigger", "/proc/timer_list",
	"/proc/interrupts", "/proc/diskstats", "/proc/zoneinfo",
}

// newBase makes the folder anew.
func newBase(dir string) (*base, error) {
	b := &base{dir: dir}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("make the root of sandboxes: %w", err)
	}
	for _, d := range []string{"", "dev", "dev/shm", "etc", "proc", "run", "sys", "tmp", "home", "var", "var/task", "var/tmp", "opt"} {
		if err := b.folder(d); err != nil {
			return nil, err
		}
	}
	links := map[string]string{"dev/fd": "/proc/self/fd", "dev/stdin": "/proc/self/fd/0", "dev/stdout": "/proc/self/fd/1", "dev/stderr": "/proc/self/fd/2", "etc/mtab": "/proc/self/mounts", "var/run": "/run"}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("make the root of sandboxes: %w", err)
		}
	}
	for _, d := range devices {
		if err := b.file("dev/"+d, nil); err != nil {
			return nil, err
		}
	}
	return b, b.fillEtc()
}

// folder makes a folder that every user can enter, whatever the umask.
func (b *base) folder(name string) error {
	path := filepath.Join(b.dir, name)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the root of sandboxes: %w", err)
	}
	return os.Chmod(path, 0o755)
}

func (b *base) file(name string, content []byte) error {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return fmt.Errorf("make the root of sandboxes: %w", err)
	}
	return os.Chmod(path, 0o644)
}

func (b *base) fillEtc() error {
	for name, content := range etcFiles {
		if err := b.file("etc/"+name, []byte(content)); err != nil {
			return err
		}
	}
	for _, pattern := range etcShared {
		found, _ := filepath.Glob("/etc/" + pattern)
		for _, path := range found {
			if err := b.share(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// share shows a file or folder of the machine: a mount makes every cell a
// little slower, many files make the start of the daemon slower.
func (b *base) share(path string) error {
	if entries, err := os.ReadDir(path); err != nil || len(entries) < 32 {
		return b.copyTree(path)
	}
	if err := b.parents(path); err != nil {
		return err
	}
	b.large = append(b.large, path)
	return b.folder(path)
}

// copyTree copies what of a tree of the machine everybody may read, at the
// same path.
func (b *base) copyTree(path string) error {
	if err := b.parents(path); err != nil {
		return err
	}
	return filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // unreadable: not for cells either
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		switch {
		case d.IsDir() && info.Mode().Perm()&0o005 != 0o005:
			return fs.SkipDir
		case d.IsDir():
			return b.folder(path)
		case info.Mode().Type() == fs.ModeSymlink:
			return b.link(path)
		case info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 && info.Size() < 16<<20:
			content, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			return b.file(path, content)
		}
		return nil
	})
}

func (b *base) link(path string) error {
	target, err := os.Readlink(path)
	if err != nil {
		return nil
	}
	if err := os.Symlink(target, filepath.Join(b.dir, path)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the root of sandboxes: %w", err)
	}
	return nil
}

func (b *base) parents(path string) error {
	dir := ""
	for part := range strings.SplitSeq(strings.Trim(filepath.Dir(path), "/"), "/") {
		dir += "/" + part
		if err := b.folder(dir); err != nil {
			return err
		}
	}
	return nil
}

// point makes the mount point for a bind where cells have none of their own.
func (b *base) point(target string, folder bool) error {
	for _, own := range []string{"/tmp/", "/run/", "/dev/shm/"} {
		if strings.HasPrefix(target, own) {
			return nil
		}
	}
	for _, shared := range systemFolders {
		if strings.HasPrefix(target, shared+"/") {
			return nil // exists there, or the mount says that it does not
		}
	}
	if err := b.parents(target); err != nil {
		return err
	}
	if folder {
		return b.folder(target)
	}
	if _, err := os.Lstat(filepath.Join(b.dir, target)); err == nil {
		return nil
	}
	return b.file(target, nil)
}

// baseMount is a mount of the nursery's root.
type baseMount struct {
	source, target string
	attr           uint64
	recursive      bool
}

// mounts lists the root itself first.
func (b *base) mounts() ([]baseMount, error) {
	const sealed = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID
	all := []baseMount{{b.dir, "", sealed, false}}
	for _, dir := range systemFolders {
		info, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		if info.Mode().Type() == fs.ModeSymlink {
			if err := b.link(dir); err != nil {
				return nil, err
			}
			continue
		}
		if err := b.parents(dir); err != nil {
			return nil, err
		}
		if err := b.folder(dir); err != nil {
			return nil, err
		}
		all = append(all, baseMount{dir, dir, sealed | unix.MOUNT_ATTR_NODEV, true})
	}
	for _, dir := range b.large {
		all = append(all, baseMount{dir, dir, sealed | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC, true})
	}
	for _, d := range devices {
		all = append(all, baseMount{"/dev/" + d, "/dev/" + d, unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC, false})
	}
	// Not read-only: the kernel lets a cell mount its own /proc only where it
	// sees one that is no less restricted.
	return append(all, baseMount{"/proc", "/proc", unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC, true}), nil
}
