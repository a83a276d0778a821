package wasm

import "golang.org/x/sys/unix"

// region is address space of which pages exist once they are touched.
type region struct{ b []byte }

// newRegion reserves size bytes. Where the system refuses, the region is empty,
// and the module gets no memory.
func newRegion(size uint64) region {
	if size == 0 {
		return region{}
	}
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return region{}
	}
	return region{b}
}

// clearBelow is up to where clearing by hand is cheaper than giving pages back
// and faulting them in again.
const clearBelow = 256 << 10

// clear makes the first n bytes zero.
func (r region) clear(n int) {
	kept := min(n, clearBelow)
	clear(r.b[:kept])
	if n > kept && unix.Madvise(r.b[kept:n], unix.MADV_DONTNEED) != nil {
		clear(r.b[kept:n])
	}
}

func (r region) free() {
	if r.b != nil {
		_ = unix.Munmap(r.b) // of a mapping of our own
	}
}
