package shim

import (
	"syscall"
	"unsafe"
)

// loopback brings lo up; it has its address by itself.
func loopback() syscall.Errno {
	fd, errno := socket(syscall.SOCK_DGRAM)
	if errno != 0 {
		return errno
	}
	defer closeFD(fd)
	return raise(fd, "lo")
}

func socket(kind int) (int, syscall.Errno) {
	fd, errno := raw(syscall.SYS_SOCKET, syscall.AF_INET, uintptr(kind|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK), 0)
	return int(fd), errno
}

// ifreq is struct ifreq (netdevice(7)).
type ifreq struct {
	name [16]byte
	data [24]byte
}

func newIfreq(name string) *ifreq {
	r := &ifreq{}
	copy(r.name[:15], name)
	return r
}

func (r *ifreq) call(fd int, request uintptr) syscall.Errno {
	_, errno := raw(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(r)))
	return errno
}

func raise(fd int, name string) syscall.Errno {
	r := newIfreq(name)
	*(*uint16)(unsafe.Pointer(&r.data)) = syscall.IFF_UP | syscall.IFF_RUNNING
	return r.call(fd, syscall.SIOCSIFFLAGS)
}

// address is a struct sockaddr_in without a port.
func address(ip [4]byte) (a [16]byte) {
	*(*uint16)(unsafe.Pointer(&a)) = syscall.AF_INET
	copy(a[4:], ip[:])
	return a
}

// listen opens a loopback listener for each port of a list in msg.
func listen(msg Reader) (fds []int, errno syscall.Errno) {
	for n := msg.Uint(); n > 0; n-- {
		fd, errno := listener(uint16(msg.Uint()))
		if errno != 0 {
			closeAll(fds)
			return nil, errno
		}
		fds = append(fds, fd)
	}
	return fds, 0
}

func listener(port uint16) (int, syscall.Errno) {
	fd, errno := bound(syscall.SOCK_STREAM, port)
	if errno != 0 {
		return -1, errno
	}
	if _, errno = raw(syscall.SYS_LISTEN, uintptr(fd), 4096); errno != 0 {
		closeFD(fd)
		return -1, errno
	}
	return fd, 0
}

// bound is a socket with a port of the loopback.
func bound(kind int, port uint16) (int, syscall.Errno) {
	fd, errno := socket(kind)
	if errno != 0 {
		return -1, errno
	}
	one := int32(1)
	raw(syscall.SYS_SETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, uintptr(unsafe.Pointer(&one)), 4)
	a := address([4]byte{127, 0, 0, 1})
	a[2], a[3] = byte(port>>8), byte(port)
	if _, errno = raw(syscall.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&a)), 16); errno != 0 {
		closeFD(fd)
		return -1, errno
	}
	return fd, 0
}

// listens answers with loopback listeners for a list of ports.
func (s *server) listens(msg Reader) {
	fds, errno := listen(msg)
	if errno != 0 {
		s.fail("listen", errno)
		return
	}
	s.ok(nil, fds...)
	closeAll(fds)
}

// sockets answers with unconnected sockets of the cell's network, so that the
// daemon can connect to the cell's loopback without entering it.
func (s *server) sockets(msg Reader) {
	var fds []int
	for n := msg.Uint(); n > 0; n-- {
		fd, errno := socket(syscall.SOCK_STREAM)
		if errno != 0 {
			break
		}
		fds = append(fds, fd)
	}
	s.ok(nil, fds...)
	closeAll(fds)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}

// link makes the tunnel this cell's way out: device eth0 with an address, and
// the default route. It answers with the tunnel's descriptor, which carries
// the cell's packets.
func (s *server) link(msg Reader, fds []int) {
	device := fdDevice
	if len(fds) > 0 { // the daemon could open it, which this user may not
		device = fds[0]
	}
	mtu := msg.Uint()
	var ip, mask, gateway [4]byte
	for _, a := range []*[4]byte{&ip, &mask, &gateway} {
		copy(a[:], msg.Text())
	}
	where, errno := configure(device, int32(mtu), ip, mask, gateway)
	if errno != 0 {
		s.fail(where, errno)
		return
	}
	s.ok(nil, device)
	closeFD(fdDevice)
}

func configure(device int, mtu int32, ip, mask, gateway [4]byte) (where string, errno syscall.Errno) {
	const name = "eth0"
	r := newIfreq(name)
	*(*uint16)(unsafe.Pointer(&r.data)) = syscall.IFF_TUN | syscall.IFF_NO_PI
	if errno := r.call(device, syscall.TUNSETIFF); errno != 0 {
		return "make network device", errno
	}
	fd, errno := socket(syscall.SOCK_DGRAM)
	if errno != 0 {
		return "configure network", errno
	}
	defer closeFD(fd)
	a, m := newIfreq(name), newIfreq(name)
	*(*[16]byte)(a.data[:]), *(*[16]byte)(m.data[:]) = address(ip), address(mask)
	size := newIfreq(name)
	*(*int32)(unsafe.Pointer(&size.data)) = mtu
	for _, step := range []struct {
		r       *ifreq
		request uintptr
	}{{size, syscall.SIOCSIFMTU}, {a, syscall.SIOCSIFADDR}, {m, syscall.SIOCSIFNETMASK}} {
		if errno := step.r.call(fd, step.request); errno != 0 {
			return "give network address", errno
		}
	}
	if errno := raise(fd, name); errno != 0 {
		return "raise network device", errno
	}
	route := rtentry{gateway: address(gateway), dst: address([4]byte{}), mask: address([4]byte{}), flags: 1 | 2} // RTF_UP, RTF_GATEWAY
	_, errno = raw(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCADDRT, uintptr(unsafe.Pointer(&route)))
	return "set default route", errno
}

// rtentry is struct rtentry of 64-bit machines (linux/route.h).
type rtentry struct {
	_                  uint64
	dst, gateway, mask [16]byte
	flags              uint16
	_                  [62]byte
}
