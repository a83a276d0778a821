package shim

import (
	"syscall"
	"unsafe"
)

var (
	inbox   [MaxMessage + 16]byte
	control [1100]byte // room for the 253 descriptors that a message may carry
)

// receive waits for a message. It reports false when the other end is gone.
// Text in msg is copied when read, so that inbox may be used again.
func receive(socket int) (msg Reader, fds []int, ok bool) {
	iov := syscall.Iovec{Base: &inbox[0]}
	iov.SetLen(len(inbox))
	h := syscall.Msghdr{Iov: &iov, Iovlen: 1, Control: &control[0]}
	h.SetControllen(len(control))
	var n uintptr
	for {
		var errno syscall.Errno
		n, errno = raw(syscall.SYS_RECVMSG, uintptr(socket), uintptr(unsafe.Pointer(&h)), syscall.MSG_CMSG_CLOEXEC)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n == 0 {
			return nil, nil, false
		}
		break
	}
	if cmsgs, err := syscall.ParseSocketControlMessage(control[:h.Controllen]); err == nil {
		for _, c := range cmsgs {
			got, _ := syscall.ParseUnixRights(&c)
			fds = append(fds, got...)
		}
	}
	msg = inbox[:n]
	if msg[0] == OpLarge && len(fds) > 0 {
		return readLarge(msg[1:], fds)
	}
	return msg, fds, true
}

// readLarge maps the memory file that holds a long message.
func readLarge(head Reader, fds []int) (Reader, []int, bool) {
	size := head.Uint()
	addr, errno := raw(syscall.SYS_MMAP, 0, uintptr(size), syscall.PROT_READ, syscall.MAP_PRIVATE, uintptr(fds[0]), 0)
	closeFD(fds[0])
	if errno != 0 || size == 0 {
		return nil, nil, false
	}
	// The mapping stays: a cell gets few such messages in its life.
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), int(size)), fds[1:], true
}

// send writes a message with descriptors. An error means that the other end is
// gone, which the next receive reports.
func send(socket int, msg Writer, fds []int) {
	iov := syscall.Iovec{Base: &msg[0]}
	iov.SetLen(len(msg))
	h := syscall.Msghdr{Iov: &iov, Iovlen: 1}
	if len(fds) > 0 {
		rights := syscall.UnixRights(fds...)
		h.Control = &rights[0]
		h.SetControllen(len(rights))
	}
	raw(syscall.SYS_SENDMSG, uintptr(socket), uintptr(unsafe.Pointer(&h)), syscall.MSG_NOSIGNAL)
}
