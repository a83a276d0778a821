package shim

import (
	"syscall"
	"unsafe"
)

// setup makes an init's cell: its view of processes, its temporary folders,
// its loopback. It answers with the doors' listeners and the socket where names
// are asked for.
func (s *server) setup(msg Reader) {
	uid, gid := int(msg.Uint()), int(msg.Uint())
	s.uid, s.gid = int(msg.Uint()), int(msg.Uint())
	s.own = uid
	if where, errno := become(uid, gid); errno != 0 {
		s.fail(where, errno)
		return
	}
	name := msg.Text()
	if where, errno := s.mounts(); errno != 0 {
		s.fail(where, errno)
		return
	}
	write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0") // all ports are the program's
	raw(syscall.SYS_SETHOSTNAME, text(name), uintptr(len(name)))
	if errno := loopback(); errno != 0 {
		s.fail("loopback", errno)
		return
	}
	fds, errno := listen(msg)
	if errno != 0 {
		s.fail("open doors", errno)
		return
	}
	names, errno := bound(syscall.SOCK_DGRAM, 53)
	if errno != 0 {
		s.fail("open name service", errno)
		return
	}
	fds = append(fds, names)
	s.ok(nil, fds...)
	closeAll(fds)
}

// become takes a user of the cell's user namespace and keeps all of the
// capabilities that the namespace gave.
func become(uid, gid int) (where string, errno syscall.Errno) {
	raw(syscall.SYS_SETGROUPS, 0, 0) // refused where the daemon is not root, whose groups then stay
	if _, errno := raw(syscall.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return "become group", errno
	}
	if _, errno := raw(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return "become user", errno
	}
	raw(syscall.SYS_PRCTL, prSetDumpable, 0)
	raw(syscall.SYS_PRCTL, prSetPdeathsig, uintptr(syscall.SIGKILL))
	return "", 0
}

// mounts makes the mounts that a cell does not share.
func (s *server) mounts() (where string, errno syscall.Errno) {
	const quiet = syscall.MS_NOSUID | syscall.MS_NODEV
	for _, m := range []struct {
		target, kind string
		flags        uintptr
		data         string
	}{
		{"/proc", "proc", quiet | syscall.MS_NOEXEC, "hidepid=2"},
		{"/tmp", "tmpfs", quiet, "mode=1777,size=64m"},
		{"/run", "tmpfs", quiet | syscall.MS_NOEXEC, "mode=755,size=16m"},
		{"/dev/shm", "tmpfs", quiet | syscall.MS_NOEXEC, "mode=1777,size=64m"},
	} {
		if errno := mount(m.kind, m.target, m.kind, m.flags, m.data); errno != 0 {
			return "mount " + m.target, errno
		}
	}
	if errno := mkdir("/run/secrets", 0o755); errno != 0 {
		return "make /run/secrets", errno
	}
	return "", 0
}

// equip gives the cell of a running program its function's files.
func (s *server) equip(msg Reader, fds []int) {
	if _, where, errno := s.furnish(&msg, fds); errno != 0 {
		s.fail(where, errno)
		return
	}
	s.ok(nil)
}

// furnish gives the cell its function's files and hides some of the machine's.
// The first descriptors are detached mounts; it returns the others.
func (s *server) furnish(msg *Reader, fds []int) (rest []int, where string, errno syscall.Errno) {
	if size := msg.Uint(); size > 0 {
		if errno := mount("", "/tmp", "", syscall.MS_REMOUNT|syscall.MS_NOSUID|syscall.MS_NODEV, "mode=1777,size="+itoa(int(size))); errno != 0 {
			return nil, "size /tmp", errno
		}
	}
	for n := msg.Uint(); n > 0 && len(fds) > 0; n-- {
		target, folder := msg.Text(), msg.Flag()
		s.point(target, folder)
		if errno := attach(fds[0], target); errno != 0 {
			return nil, "mount " + target, errno
		}
		fds = fds[1:]
	}
	for _, path := range msg.Texts() {
		mount("/dev/null", path, "", syscall.MS_BIND, "") // not every kernel has every file
	}
	if errno := s.showSecrets(msg); errno != 0 {
		return nil, "write secrets", errno
	}
	return fds, "", 0
}

// secrets changes secrets while the program runs.
func (s *server) secrets(msg Reader) {
	if errno := s.showSecrets(&msg); errno != 0 {
		s.fail("write secrets", errno)
		return
	}
	s.ok(nil)
}

// showSecrets writes each secret to a file beside and renames it, so that whoever
// reads it gets one value or the other.
func (s *server) showSecrets(msg *Reader) syscall.Errno {
	const beside = "/run/secrets/.new"
	for n := msg.Uint(); n > 0; n-- {
		name, value := msg.Text(), msg.Text()
		if errno := s.secret(beside, value); errno != 0 {
			return errno
		}
		if _, errno := raw(syscall.SYS_RENAMEAT, atFDCWD, text(beside), atFDCWD, text("/run/secrets/"+name)); errno != 0 {
			return errno
		}
	}
	return 0
}

// point makes a mount point where the cell has none yet; elsewhere than in the
// cell's own folders the daemon has made it.
func (s *server) point(path string, folder bool) {
	if folder {
		parents(path + "/")
		return
	}
	parents(path)
	if fd, errno := open(path, syscall.O_WRONLY|syscall.O_CREAT); errno == 0 {
		closeFD(fd)
	}
}

// parents makes the folders above path, whatever can be made of them.
func parents(path string) {
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			mkdir(path[:i], 0o755)
		}
	}
}

// secret writes one file that the program alone may read.
func (s *server) secret(path, value string) syscall.Errno {
	fd, errno := open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC)
	if errno != 0 {
		return errno
	}
	defer closeFD(fd)
	if _, errno := raw(syscall.SYS_FCHMOD, uintptr(fd), 0o400); errno != 0 {
		return errno
	}
	if _, errno := raw(syscall.SYS_FCHOWN, uintptr(fd), uintptr(s.uid), uintptr(s.gid)); errno != 0 {
		return errno
	}
	if value == "" {
		return 0
	}
	n, errno := raw(syscall.SYS_WRITE, uintptr(fd), text(value), uintptr(len(value)))
	if errno == 0 && int(n) < len(value) {
		return syscall.ENOSPC
	}
	return errno
}

// wait sleeps until there is a message; it reaps meanwhile. It reports false
// where only children ended.
func (s *server) wait() bool {
	polled := [2]pollFD{{fd: fdControl, events: 1}, {fd: int32(s.signals), events: 1}}
	if _, errno := raw(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&polled[0])), 2, 0, 0, 0); errno != 0 {
		return false
	}
	if polled[1].revents != 0 {
		var info [128]byte
		raw(syscall.SYS_READ, uintptr(s.signals), uintptr(unsafe.Pointer(&info[0])), 128)
		s.reap()
	}
	return polled[0].revents != 0
}

// pollFD is struct pollfd.
type pollFD struct {
	fd              int32
	events, revents int16
}

// reap takes the ends of all children that ended. The program's ends the cell.
func (s *server) reap() {
	for {
		e, errno := wait4(syscall.WNOHANG)
		if errno != 0 || e.pid == 0 {
			return
		}
		if e.pid == s.program {
			s.finish(e)
		}
		if s.program == 0 && len(s.early) < 64 {
			s.early = append(s.early, e)
		}
	}
}

// adopt takes a process that entered the cell as its program.
func (s *server) adopt(msg Reader) {
	s.program = int(msg.Uint())
	s.ok(nil)
	for _, e := range s.early {
		if e.pid == s.program {
			s.finish(e)
		}
	}
	s.early = nil
}

// finish ends everything that the program left, tells the daemon, and exits.
func (s *server) finish(e exit) {
	raw(syscall.SYS_KILL, ^uintptr(0), uintptr(syscall.SIGKILL))
	for {
		if _, errno := wait4(0); errno == syscall.ECHILD {
			break
		}
	}
	w := Writer{EventExit}
	w.Uint(uint64(e.status))
	w.Uint(uint64(e.usage.Utime.Nano()+e.usage.Stime.Nano()) / 1000)
	w.Uint(uint64(e.usage.Maxrss))
	send(fdControl, w, nil)
	exitNow(0)
}

func wait4(options int) (exit, syscall.Errno) {
	var e exit
	pid, errno := raw(syscall.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&e.status)), uintptr(options), uintptr(unsafe.Pointer(&e.usage)))
	e.pid = int(pid)
	return e, errno
}
