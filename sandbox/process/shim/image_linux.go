package shim

import "syscall"

// ownFolders of a cell stay where they are in an image's root.
var ownFolders = [...]string{"/dev", "/proc", "/tmp", "/run/secrets"}

// image changes the cell's root to an overlay of an image's, the first
// descriptor, and takes the user that the program will be.
func (s *server) image(msg Reader, fds []int) {
	s.uid, s.gid = int(msg.Uint()), int(msg.Uint())
	if len(fds) == 0 {
		s.fail("image", syscall.EINVAL)
		return
	}
	if where, errno := overlay(fds[0], int(msg.Uint())); errno != 0 {
		s.fail(where, errno)
		return
	}
	for n := msg.Uint(); n > 0; n-- {
		name, content := msg.Text(), msg.Text()
		if errno := replace(imageRoot+name, content); errno != 0 {
			s.fail("write "+name, errno)
			return
		}
	}
	if where, errno := moveIn(); errno != 0 {
		s.fail(where, errno)
		return
	}
	s.ok(nil)
}

// Where an image is put together.
const (
	imageDir   = "/run/image"
	imageLower = imageDir + "/lower"
	imageUpper = imageDir + "/rw/upper"
	imageWork  = imageDir + "/rw/work"
	imageRoot  = imageDir + "/root"
)

// overlay mounts the image below a temporary folder of size bytes.
func overlay(tree, size int) (where string, errno syscall.Errno) {
	for _, dir := range []string{imageDir, imageLower, imageDir + "/rw", imageRoot} {
		if errno := mkdir(dir, 0o755); errno != 0 {
			return "make " + dir, errno
		}
	}
	if errno := attach(tree, imageLower); errno != 0 {
		return "mount image", errno
	}
	const quiet = syscall.MS_NOSUID | syscall.MS_NODEV
	if errno := mount("tmpfs", imageDir+"/rw", "tmpfs", quiet, "mode=755,size="+itoa(size)); errno != 0 {
		return "mount the image's changes", errno
	}
	mkdir(imageUpper, 0o755)
	mkdir(imageWork, 0o755)
	options := "lowerdir=" + imageLower + ",upperdir=" + imageUpper + ",workdir=" + imageWork
	errno = mount("overlay", imageRoot, "overlay", quiet, options+",userxattr")
	if errno == syscall.EINVAL {
		errno = mount("overlay", imageRoot, "overlay", quiet, options)
	}
	return "mount overlay", errno
}

// replace writes a file anew, so that a link in an image leads nowhere.
func replace(path, content string) syscall.Errno {
	parents(path)
	raw(syscall.SYS_UNLINKAT, atFDCWD, text(path), 0)
	fd, errno := open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW)
	if errno != 0 {
		return errno
	}
	defer closeFD(fd)
	_, errno = raw(syscall.SYS_WRITE, uintptr(fd), text(content), uintptr(len(content)))
	return errno
}

// moveIn shows the cell's own folders in the image's root and makes it the
// cell's root.
func moveIn() (where string, errno syscall.Errno) {
	for _, dir := range ownFolders {
		fd, errno := openTree(dir, true, mountAttr{})
		if errno != 0 {
			return "show " + dir, errno
		}
		parents(imageRoot + dir + "/")
		errno = attach(fd, imageRoot+dir)
		closeFD(fd)
		if errno != 0 {
			return "show " + dir, errno
		}
	}
	return "change to the image's root", changeRoot(imageRoot)
}
