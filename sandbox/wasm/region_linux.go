package wasm

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

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

const (
	// clearBelow is up to where clearing all by hand is cheaper than asking which
	// pages exist.
	clearBelow = 256 << 10

	// clearMost is how many pages above that are cleared by hand. To clear one
	// takes a tenth of what it takes to give it back and fault it in again; but it
	// stays with the worker.
	clearMost = 1024

	// lookedAt is how much is asked about.
	lookedAt = 64 << 20
)

// clear makes the first n bytes zero.
func (r region) clear(n int) {
	kept := min(n, clearBelow)
	clear(r.b[:kept])
	if n > kept && !clearPages(r.b[kept:n]) && unix.Madvise(r.b[kept:n], unix.MADV_DONTNEED) != nil {
		clear(r.b[kept:n])
	}
}

// clearPages clears the pages of b that exist, where they are few.
func clearPages(b []byte) bool {
	const page = 4096 // of linear memory's 64 KiB, whatever the machine's
	if len(b) > lookedAt || unix.Getpagesize() != page {
		return false
	}
	var exists [lookedAt / page]byte
	count := (len(b) + page - 1) / page
	if _, _, err := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&exists[0]))); err != 0 {
		return false
	}
	if bytes.Count(exists[:count], []byte{1}) > clearMost {
		return false
	}
	for i := range count {
		if exists[i] == 1 {
			clear(b[i*page : min(len(b), (i+1)*page)])
		}
	}
	return true
}

func (r region) free() {
	if r.b != nil {
		_ = unix.Munmap(r.b) // of a mapping of our own
	}
}
