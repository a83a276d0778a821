package shim

import (
	"syscall"
	"unsafe"
)

// System calls that package syscall has no number for. From 424 on they are
// the same on every architecture.
const (
	sysOpenTree         = 428
	sysMoveMount        = 429
	sysClone3           = 435
	sysCloseRange       = 436
	sysMountSetattr     = 442
	sysLandlockCreate   = 444
	sysLandlockRestrict = 446
)

const (
	atFDCWD     = ^uintptr(99) // -100
	atRemoveDir = 0x200
	atEmptyPath = 0x1000
	atRecursive = 0x8000

	openTreeClone      = 1
	moveMountEmptyPath = 4
	mountAttrIDMap     = 0x100000
	prSetPdeathsig     = 1
	prSetDumpable      = 4
	prSetName          = 15
	prCapBSetDrop      = 24
	prSetNoNewPrivs    = 38
	prCapAmbient       = 47
	prCapAmbientClear  = 4
	seccompSetFilter   = 1
	closeRangeCloexec  = 4
	lastCapability     = 40 // CAP_CHECKPOINT_RESTORE
	cloneIntoCgroup    = 0x200000000
	clonePidfd         = 0x1000
)

// raw calls the kernel. Pointers among a are kept alive and in place.
//
//go:uintptrescapes
func raw(trap uintptr, a ...uintptr) (uintptr, syscall.Errno) {
	var p [6]uintptr
	copy(p[:], a)
	r, _, errno := syscall.RawSyscall6(trap, p[0], p[1], p[2], p[3], p[4], p[5])
	return r, errno
}

// text is s as the kernel wants it. The memory stays where it is: it is on the
// heap, for kept holds it, and nothing is collected.
func text(s string) uintptr {
	if s == "" {
		return uintptr(unsafe.Pointer(&empty[0]))
	}
	b := make([]byte, len(s)+1)
	copy(b, s)
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

var (
	empty [1]byte
	kept  [][]byte // what the kernel may still read
)

func exitNow(code int) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0)
	}
}

func closeFD(fd int) { raw(syscall.SYS_CLOSE, uintptr(fd)) }

func setName(name string) { raw(syscall.SYS_PRCTL, prSetName, text(name)) }

func open(path string, flags int) (int, syscall.Errno) {
	fd, errno := raw(syscall.SYS_OPENAT, atFDCWD, text(path), uintptr(flags|syscall.O_CLOEXEC), 0o644)
	return int(fd), errno
}

// write replaces a small file's content, such as one below /proc.
func write(path, content string) syscall.Errno {
	fd, errno := open(path, syscall.O_WRONLY)
	if errno != 0 {
		return errno
	}
	defer closeFD(fd)
	_, errno = raw(syscall.SYS_WRITE, uintptr(fd), text(content), uintptr(len(content)))
	return errno
}

func mount(source, target, kind string, flags uintptr, data string) syscall.Errno {
	_, errno := raw(syscall.SYS_MOUNT, text(source), text(target), text(kind), flags, text(data))
	return errno
}

func mkdir(path string, mode uint32) syscall.Errno {
	_, errno := raw(syscall.SYS_MKDIRAT, atFDCWD, text(path), uintptr(mode))
	if errno == syscall.EEXIST {
		return 0
	}
	return errno
}

func rmdir(path string) syscall.Errno {
	_, errno := raw(syscall.SYS_UNLINKAT, atFDCWD, text(path), atRemoveDir)
	return errno
}

// openTree makes a detached private mount of path with attributes attr.
func openTree(path string, recursive bool, attr mountAttr) (int, syscall.Errno) {
	flags := uintptr(openTreeClone | syscall.O_CLOEXEC)
	rec := uintptr(0)
	if recursive {
		rec = atRecursive
	}
	fd, errno := raw(sysOpenTree, atFDCWD, text(path), flags|rec)
	if errno != 0 {
		return -1, errno
	}
	attr.propagation = syscall.MS_PRIVATE
	if _, errno = raw(sysMountSetattr, fd, text(""), atEmptyPath|rec, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)); errno != 0 {
		closeFD(int(fd))
		return -1, errno
	}
	return int(fd), 0
}

// mountAttr is struct mount_attr (mount_setattr(2)).
type mountAttr struct{ set, clear, propagation, userns uint64 }

// attach mounts a detached tree at target.
func attach(tree int, target string) syscall.Errno {
	_, errno := raw(sysMoveMount, uintptr(tree), text(""), atFDCWD, text(target), moveMountEmptyPath)
	return errno
}

// closeFrom closes all descriptors from first on.
func closeFrom(first int) { raw(sysCloseRange, uintptr(first), uintptr(^uint32(0)), 0) }

// moveTo makes to the only name of descriptor from.
func moveTo(from, to int) {
	if from != to {
		raw(syscall.SYS_DUP3, uintptr(from), uintptr(to), syscall.O_CLOEXEC)
		closeFD(from)
	}
}

// sigaction is the kernel's struct sigaction of amd64 and arm64.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

func setSignal(sig syscall.Signal, handler uintptr) {
	sa := sigaction{handler: handler}
	raw(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&sa)), 0, 8)
}

const (
	sigDefault = 0
	sigIgnore  = 1
)

// ignoreChildren lets the kernel reap children.
func ignoreChildren() { setSignal(syscall.SIGCHLD, sigIgnore) }

func setMask(mask uint64) {
	raw(syscall.SYS_RT_SIGPROCMASK, 2 /* SIG_SETMASK */, uintptr(unsafe.Pointer(&mask)), 0, 8)
}

// childSignals blocks every signal and returns a signalfd for SIGCHLD, whose
// place is not one that a tunnel or a message's descriptor may take.
func childSignals() int {
	setSignal(syscall.SIGCHLD, sigDefault)
	setMask(^uint64(0))
	mask := uint64(1) << (syscall.SIGCHLD - 1)
	fd, errno := raw(syscall.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&mask)), 8, syscall.O_CLOEXEC|syscall.O_NONBLOCK)
	if errno != 0 {
		exitNow(1)
	}
	moveTo(int(fd), fdSignals)
	return fdSignals
}

// cloneArgs is struct clone_args (clone(2)).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// fork is clone3 without a shared address space. The child, where pid is 0,
// has this thread only. pidfd is of the parent.
//
// The child stays pinned: the keeper's monitor asks its goroutine to yield every
// 10 ms, by a mark that the child would inherit. It would obey at its next
// function call, by waking a thread that it does not have, and never go on.
//
//go:noinline
func fork(flags uint64, cgroup int) (pid, pidfd int, errno syscall.Errno) {
	newPidfd = -1
	args := cloneArgs{flags: flags | clonePidfd, exitSignal: uint64(syscall.SIGCHLD), pidfd: uint64(uintptr(unsafe.Pointer(&newPidfd)))}
	if cgroup >= 0 {
		args.flags |= cloneIntoCgroup
		args.cgroup = uint64(cgroup)
	}
	procPin()
	r, errno := raw(sysClone3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	if r != 0 || errno != 0 {
		procUnpin()
	}
	return int(r), int(newPidfd), errno
}

// procPin and procUnpin are the runtime's, which keeps them for packages that
// name them so (go.dev/issue/67401).
//
//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

var newPidfd int32 // fork's, at a fixed address
