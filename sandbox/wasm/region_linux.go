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

// page is the one of which the machine's memory is made, where pages are asked
// about, and divides linear memory's.
const page = 4096

// clearPages clears b where few pages of it exist.
func clearPages(b []byte) bool {
	if len(b) > lookedAt || unix.Getpagesize() != page {
		return false
	}
	var all [lookedAt / page]byte
	exists := all[:(len(b)+page-1)/page]
	if _, _, err := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&exists[0]))); err != 0 {
		return false
	}
	return bytes.Count(exists, []byte{1}) <= clearMost && clearKnown(b, exists)
}

// clearKnown clears the pages that exist by hand and gives up the others: one
// that is in swap does not exist, and has what was written to it.
func clearKnown(b, exists []byte) bool {
	for from := 0; from < len(exists); {
		to := from + 1
		for to < len(exists) && exists[to] == exists[from] {
			to++
		}
		part := b[from*page : min(len(b), to*page)]
		if exists[from] == 1 {
			clear(part)
		} else if unix.Madvise(part, unix.MADV_DONTNEED) != nil {
			return false
		}
		from = to
	}
	return true
}

func (r region) free() {
	if r.b != nil {
		_ = unix.Munmap(r.b) // of a mapping of our own
	}
}
