package process

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (seccomp(2)); arguments are read by their
// lower halves, which hold every value that the filter asks for.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// What the filter returns.
const (
	seccompAllow = 0x7fff0000
	seccompKill  = 0x80000000
	seccompErrno = 0x00050000
)

// namespaceFlags are the flags of clone and unshare that make namespaces.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// deniedCalls fail with EPERM in every cell. Without capabilities most of them
// would fail anyway: the filter keeps untrusted code away from their
// implementation.
var deniedCalls = append([]uint32{
	// mounts and roots
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN,
	unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_STATMOUNT, unix.SYS_LISTMOUNT,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_FANOTIFY_INIT,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
	// other processes
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	// large and often broken parts of the kernel
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	// the machine
	unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_SYSLOG, unix.SYS_ACCT, unix.SYS_VHANGUP, unix.SYS_NFSSERVCTL,
}, archCalls...)

// filter is a program for the kernel's system call filter.
type filter struct{ code []bpf.Instruction }

func (f *filter) add(code ...bpf.Instruction) { f.code = append(f.code, code...) }

// begin refuses other architectures and loads the call's number.
func (f *filter) begin() {
	f.add(
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: seccompKill},
		bpf.LoadAbsolute{Off: dataNumber, Size: 4},
		// x32 calls have bit 30 set; no other number is that large.
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 0x40000000, SkipTrue: 1},
		errnoOf(unix.ENOSYS),
	)
}

func errnoOf(e unix.Errno) bpf.RetConstant { return bpf.RetConstant{Val: seccompErrno | uint32(e)} }

// call adds body for one system call. Body ends by returning.
func (f *filter) call(number uint32, body ...bpf.Instruction) {
	f.add(bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: uint8(len(body))})
	f.add(body...)
}

func arg(i uint32) bpf.LoadAbsolute { return bpf.LoadAbsolute{Off: dataArgs + 8*i, Size: 4} }

// newFilter assembles the filter of a program. A template's children may
// besides enter the hollow cells that they were given: setns is allowed. They
// have capabilities in those until they drop them, so that netlink, by which
// networks are changed, is not.
func newFilter(template bool) ([]byte, error) {
	f := &filter{}
	allow, deny := bpf.RetConstant{Val: seccompAllow}, errnoOf(unix.EPERM)
	f.begin()
	// clone3 keeps its flags in memory, which a filter cannot read. Callers
	// fall back to clone.
	f.call(unix.SYS_CLONE3, errnoOf(unix.ENOSYS))
	namespaces := []bpf.Instruction{arg(0), bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: namespaceFlags, SkipTrue: 1}, deny, allow}
	f.call(unix.SYS_UNSHARE, namespaces...)
	// The lowest byte of clone's flags is a signal, not CLONE_NEWTIME.
	namespaces[1] = bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: namespaceFlags &^ 0xff, SkipTrue: 1}
	f.call(unix.SYS_CLONE, namespaces...)
	f.sockets(allow, deny, template)
	f.call(unix.SYS_IOCTL, arg(1),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.TIOCSTI, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.TIOCLINUX, SkipTrue: 1},
		allow, deny)
	f.call(unix.SYS_PERSONALITY, arg(0),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0xffffffff, SkipTrue: 1}, // only asks
		deny, allow)
	if !template {
		f.call(unix.SYS_SETNS, deny)
	}
	for _, number := range deniedCalls {
		f.call(number, deny)
	}
	f.add(allow)
	return f.assemble()
}

// sockets allows local, IPv4 and IPv6 sockets of streams and datagrams, and
// routing netlink, by which programs list the interfaces.
func (f *filter) sockets(allow, deny bpf.RetConstant, template bool) {
	netlink := allow
	if template {
		netlink = deny
	}
	body := []bpf.Instruction{
		arg(0),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipTrue: 10},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_NETLINK, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AF_INET6, SkipTrue: 5},
		arg(1), // the type, with flags above its lowest four bits
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: unix.SOCK_DGRAM, SkipTrue: 4, SkipFalse: 2},
		arg(2),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NETLINK_ROUTE, SkipTrue: 1},
		deny, netlink, allow,
	}
	f.call(unix.SYS_SOCKET, body...)
}

// assemble returns the program as an array of struct sock_filter.
func (f *filter) assemble() ([]byte, error) {
	code, err := bpf.Assemble(f.code)
	if err != nil {
		return nil, fmt.Errorf("assemble system call filter: %w", err)
	}
	out := make([]byte, 0, 8*len(code))
	for _, c := range code {
		out = binary.NativeEndian.AppendUint16(out, c.Op)
		out = append(out, c.Jt, c.Jf)
		out = binary.NativeEndian.AppendUint32(out, c.K)
	}
	return out, nil
}
