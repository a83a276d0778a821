package shim

import (
	"syscall"
	"unsafe"
)

// tree answers with a detached mount of a file or folder of the machine.
func (s *server) tree(msg Reader) {
	path, attr, recursive := msg.Text(), mountAttr{set: msg.Uint()}, msg.Flag()
	fd, errno := openTree(path, recursive, attr)
	if errno != 0 {
		s.fail(path, errno)
		return
	}
	s.ok(nil, fd)
	closeFD(fd)
}

// nursery forks the nursery, whose socket is the first descriptor.
func (s *server) nursery(msg Reader, fds []int) {
	s.freezer, s.unified, s.groups = msg.Text(), msg.Text(), msg.Texts()
	pid, pidfd, errno := fork(syscall.CLONE_NEWNS, -1)
	if errno != 0 {
		s.fail("fork nursery", errno)
		return
	}
	if pid == 0 {
		n := &server{role: nursery, signals: -1}
		n.settle(fds[0], "mayfly-nursery")
		n.root(msg)
		n.serve()
	}
	var w Writer
	w.Uint(uint64(pid))
	s.ok(w, pidfd)
	closeFD(pidfd)
}

// settle makes a fresh fork the owner of its socket and of nothing else.
func (s *server) settle(socket int, name string) {
	setName(name)
	raw(syscall.SYS_DUP3, uintptr(socket), fdControl, syscall.O_CLOEXEC)
	closeFrom(fdTunnel + 1)
	raw(syscall.SYS_PRCTL, prSetPdeathsig, uintptr(syscall.SIGKILL))
}

// root builds the private root of all cells and moves into it.
func (s *server) root(msg Reader) {
	base := msg.Text()
	where, errno := s.build(base, msg)
	if errno == 0 {
		where, errno = "change root", changeRoot(base)
	}
	if errno != 0 {
		s.fail(where, errno)
		exitNow(1)
	}
	s.ok(nil)
}

func (s *server) build(base string, msg Reader) (where string, errno syscall.Errno) {
	if errno := mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); errno != 0 {
		return "make mounts private", errno
	}
	for n := msg.Uint(); n > 0; n-- {
		source, target, attr, recursive := msg.Text(), msg.Text(), msg.Uint(), msg.Flag()
		fd, errno := openTree(source, recursive, mountAttr{set: attr})
		if errno != 0 {
			return source, errno
		}
		if errno := attach(fd, base+target); errno != 0 {
			return source, errno
		}
		closeFD(fd)
	}
	return "", 0
}

// changeRoot makes dir, a mount point, the root, and drops the old one.
func changeRoot(dir string) syscall.Errno {
	if _, errno := raw(syscall.SYS_CHDIR, text(dir)); errno != 0 {
		return errno
	}
	if _, errno := raw(syscall.SYS_PIVOT_ROOT, text("."), text(".")); errno == 0 {
		_, errno = raw(syscall.SYS_UMOUNT2, text("."), syscall.MNT_DETACH)
		if errno == 0 {
			_, errno = raw(syscall.SYS_CHDIR, text("/"))
		}
		return errno
	}
	// The root of an initial ram disk cannot be exchanged, only covered.
	if errno := mount(".", "/", "", syscall.MS_MOVE, ""); errno != 0 {
		return errno
	}
	if _, errno := raw(syscall.SYS_CHROOT, text(".")); errno != 0 {
		return errno
	}
	_, errno := raw(syscall.SYS_CHDIR, text("/"))
	return errno
}

// cell forks the init of a cell into namespaces of its own. The first
// descriptor is its socket, the second, where there is one, its v2 cgroup.
func (s *server) cell(msg Reader, fds []int) {
	flags, uidMap, gidMap := msg.Uint(), msg.Text(), msg.Text()
	group := -1
	if len(fds) > 1 {
		group = fds[1]
	}
	pid, pidfd, errno := s.forkCell(flags, group)
	if errno != 0 {
		s.fail("create namespaces", errno)
		return
	}
	if pid == 0 {
		i := &server{role: initial}
		i.settle(fds[0], "mayfly-init")
		i.openTunnel()
		i.signals = childSignals()
		i.serve()
	}
	defer closeFD(pidfd)
	dir := "/proc/" + itoa(pid)
	if errno := write(dir+"/uid_map", uidMap); errno != 0 {
		s.fail("map users", errno)
		return
	}
	if errno := write(dir+"/gid_map", gidMap); errno != 0 {
		s.fail("map groups", errno)
		return
	}
	var w Writer
	w.Uint(uint64(pid))
	s.ok(w, pidfd)
}

// forkCell forks into new namespaces. Those of a cell within a cell, a hollow
// one, are made as the program's user: whoever is the owner of a user namespace
// may enter it from its parent.
func (s *server) forkCell(flags uint64, group int) (pid, pidfd int, errno syscall.Errno) {
	if s.role != initial {
		return fork(flags, group)
	}
	setEffective(s.uid)
	// The parent writes the child's maps, which the kernel allows for processes
	// that may be traced. The child ends this when it is set up.
	raw(syscall.SYS_PRCTL, prSetDumpable, 1)
	pid, pidfd, errno = fork(flags, group)
	if pid != 0 || errno != 0 {
		setEffective(s.own)
		raw(syscall.SYS_PRCTL, prSetDumpable, 0)
	}
	return pid, pidfd, errno
}

// setEffective changes the effective user alone: the real one, and with it the
// right to change back, stays.
func setEffective(uid int) {
	raw(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0))
}

// openTunnel opens the tunnel device in this process's network, as long as the
// process is still the machine's root, who alone may, where the daemon is root.
func (s *server) openTunnel() {
	if fd, errno := open("/proc/self/fd/"+itoa(fdTunnel), syscall.O_RDWR|syscall.O_NONBLOCK); errno == 0 {
		moveTo(fd, fdDevice)
	}
}

// release lets everything of this node die: what a v1 freezer holds ignores
// even SIGKILL.
func (s *server) release() {
	if s.unified != "" {
		write(s.unified+"/cgroup.kill", "1")
	}
	if s.freezer == "" {
		return
	}
	for _, name := range list(s.freezer) {
		write(s.freezer+"/"+name+"/freezer.state", "THAWED")
	}
}

// clear removes this node's cgroups as their processes end, which a daemon
// that was killed could not. It gives up after some seconds.
func (s *server) clear() {
	const tries, pause = 1000, 5e6 // ns
	for range tries {
		left := false
		for _, dir := range s.groups {
			for _, name := range list(dir) {
				if len(name) > 1 && name[0] == 'c' && name[1] >= '0' && name[1] <= '9' { // a cell's, not the kernel's
					rmdir(dir + "/" + name)
				}
			}
			errno := rmdir(dir)
			left = left || errno != 0 && errno != syscall.ENOENT
		}
		if !left {
			return
		}
		wait := syscall.Timespec{Nsec: pause}
		raw(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&wait)), 0)
	}
}

// list is the names in a folder (getdents64(2)).
func list(dir string) (names []string) {
	fd, errno := open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if errno != 0 {
		return nil
	}
	defer closeFD(fd)
	for {
		n, errno := raw(syscall.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(&inbox)), 32<<10)
		if errno != 0 || n == 0 {
			return names
		}
		_, _, names = syscall.ParseDirent(inbox[:n], -1, names)
	}
}

func itoa(n int) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}
