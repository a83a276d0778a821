package shim

import (
	"syscall"
	"unsafe"
)

// program is what exec needs, as the kernel wants it: between fork and exec
// nothing is allocated.
type program struct {
	path, dir  uintptr
	argv, envp []uintptr
	fds        []int // for descriptors 0, 1, 2, 3 …; -1: /dev/null
	limits     []limit
	filter     []byte // struct sock_filter, 8 bytes each
	report     int    // where a failure is written
	uid, gid   int
	scoped     uint64 // Landlock scopes to restrict to; 0: none
}

// limit is a resource and its bound.
type limit struct {
	resource int
	bound    [2]uint64
}

// Steps between fork and exec, in order.
var steps = [...]string{"arrange descriptors", "set limits", "drop privileges", "restrict by Landlock", "install system call filter", StepEnter, StepRun}

// exec equips the cell and starts the program. Descriptors of the message:
// what furnish takes, standard output and error where flagged, then those for
// 3 and up. It answers with the program's process id here, its pidfd, and the
// listeners asked for.
func (s *server) exec(msg Reader, fds []int) {
	fds, where, errno := s.furnish(&msg, fds)
	if errno != 0 {
		s.fail(where, errno)
		return
	}
	p := &program{uid: s.uid, gid: s.gid}
	p.path, p.dir = text(msg.Text()), text(msg.Text())
	p.argv, p.envp = vector(msg.Texts()), vector(msg.Texts())
	p.arrange(msg.Flag(), msg.Flag(), fds)
	for n := msg.Uint(); n > 0; n-- {
		res, bound := int(msg.Uint()), msg.Uint()
		p.limits = append(p.limits, limit{res, [2]uint64{bound, bound}})
	}
	p.filter = []byte(msg.Text())
	p.scoped = msg.Uint()
	listeners, errno := listen(msg)
	if errno != 0 {
		s.fail("listen for the program", errno)
		return
	}
	defer closeAll(listeners)
	pid, pidfd, where, errno := p.start()
	if errno != 0 {
		s.fail(where, errno)
		return
	}
	s.program = pid
	var w Writer
	w.Uint(uint64(pid))
	s.ok(w, append([]int{pidfd}, listeners...)...)
	closeFD(pidfd)
}

// arrange sets which descriptor becomes which.
func (p *program) arrange(stdout, stderr bool, fds []int) {
	p.fds = []int{-1, -1, -1}
	for i, given := range []bool{false, stdout, stderr} {
		if given && len(fds) > 0 {
			p.fds[i], fds = fds[0], fds[1:]
		}
	}
	p.fds = append(p.fds, fds...)
}

// vector is a list of texts as the kernel wants it.
func vector(list []string) []uintptr {
	v := make([]uintptr, len(list)+1)
	for i, s := range list {
		v[i] = text(s)
	}
	return v
}

// start forks and waits until the child runs the program or has failed.
func (p *program) start() (pid, pidfd int, where string, errno syscall.Errno) {
	var pipe [2]int32
	if _, errno := raw(syscall.SYS_PIPE2, uintptr(unsafe.Pointer(&pipe)), syscall.O_CLOEXEC); errno != 0 {
		return 0, -1, "make pipe", errno
	}
	null, errno := open("/dev/null", syscall.O_RDWR)
	if errno != 0 {
		return 0, -1, "open /dev/null", errno
	}
	for i, fd := range p.fds {
		if fd < 0 {
			p.fds[i] = null
		}
	}
	p.report = int(pipe[1])
	pid, pidfd, errno = fork(0, -1)
	if errno == 0 && pid == 0 {
		p.child()
	}
	closeFD(null)
	closeFD(int(pipe[1]))
	defer closeFD(int(pipe[0]))
	if errno != 0 {
		return 0, -1, "fork", errno
	}
	var failure [2]uint32
	n, _ := raw(syscall.SYS_READ, uintptr(pipe[0]), uintptr(unsafe.Pointer(&failure)), 8)
	if n == 8 {
		closeFD(pidfd)
		return 0, -1, steps[failure[0]], syscall.Errno(failure[1])
	}
	return pid, pidfd, "", 0
}

// child becomes the program. It never returns.
func (p *program) child() {
	for i, step := range [...]func(*program) syscall.Errno{
		(*program).descriptors, (*program).limit, (*program).drop, (*program).landlock, (*program).filterCalls, (*program).enter, (*program).run,
	} {
		if errno := step(p); errno != 0 {
			failure := [2]uint32{uint32(i), uint32(errno)}
			raw(syscall.SYS_WRITE, uintptr(p.report), uintptr(unsafe.Pointer(&failure)), 8)
			exitNow(127)
		}
	}
}

// descriptors moves each to its place, first out of the way of all places.
func (p *program) descriptors() syscall.Errno {
	const above = 400
	for i, fd := range p.fds {
		r, errno := raw(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, above)
		if errno != 0 {
			return errno
		}
		p.fds[i] = int(r)
	}
	r, errno := raw(syscall.SYS_FCNTL, uintptr(p.report), syscall.F_DUPFD_CLOEXEC, above)
	if errno != 0 {
		return errno
	}
	p.report = int(r)
	for i, fd := range p.fds {
		if _, errno := raw(syscall.SYS_DUP3, uintptr(fd), uintptr(i), 0); errno != 0 {
			return errno
		}
	}
	_, errno = raw(sysCloseRange, uintptr(len(p.fds)), uintptr(^uint32(0)), closeRangeCloexec)
	return errno
}

func (p *program) limit() syscall.Errno {
	for i := range p.limits {
		l := &p.limits[i]
		if _, errno := raw(syscall.SYS_PRLIMIT64, 0, uintptr(l.resource), uintptr(unsafe.Pointer(&l.bound)), 0); errno != 0 {
			return errno
		}
	}
	return 0
}

// drop gives up every privilege for good.
func (p *program) drop() syscall.Errno {
	raw(syscall.SYS_SETSID)
	for c := range uintptr(lastCapability + 1) {
		raw(syscall.SYS_PRCTL, prCapBSetDrop, c)
	}
	raw(syscall.SYS_PRCTL, prCapAmbient, prCapAmbientClear, 0, 0, 0)
	if _, errno := raw(syscall.SYS_SETRESGID, uintptr(p.gid), uintptr(p.gid), uintptr(p.gid)); errno != 0 {
		return errno
	}
	if _, errno := raw(syscall.SYS_SETRESUID, uintptr(p.uid), uintptr(p.uid), uintptr(p.uid)); errno != 0 {
		return errno
	}
	header := [2]uint32{0x20080522, 0} // _LINUX_CAPABILITY_VERSION_3, this thread
	var none [6]uint32
	if _, errno := raw(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none))); errno != 0 {
		return errno
	}
	setMask(0)
	_, errno := raw(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0)
	return errno
}

// landlock restricts to the scopes that the kernel knows: no signals and no
// abstract sockets out of the cell (landlock(7)). It handles no access to
// files, for that would forbid renames between folders; mounts do that part.
func (p *program) landlock() syscall.Errno {
	if p.scoped == 0 {
		return 0
	}
	attr := [3]uint64{2: p.scoped} // handled_access_fs, handled_access_net, scoped
	fd, errno := raw(sysLandlockCreate, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return errno
	}
	_, errno = raw(sysLandlockRestrict, fd, 0)
	closeFD(int(fd))
	return errno
}

func (p *program) filterCalls() syscall.Errno {
	if len(p.filter) == 0 {
		return 0
	}
	prog := struct {
		n      uint16
		filter *byte
	}{uint16(len(p.filter) / 8), &p.filter[0]}
	_, errno := raw(sysSeccomp, seccompSetFilter, 0, uintptr(unsafe.Pointer(&prog)))
	return errno
}

func (p *program) enter() syscall.Errno {
	_, errno := raw(syscall.SYS_CHDIR, p.dir)
	return errno
}

func (p *program) run() syscall.Errno {
	_, errno := raw(syscall.SYS_EXECVE, p.path, uintptr(unsafe.Pointer(&p.argv[0])), uintptr(unsafe.Pointer(&p.envp[0])))
	return errno
}
