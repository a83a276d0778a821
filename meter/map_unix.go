//go:build unix

package meter

import (
	"os"
	"syscall"
)

// mapShared maps the first size bytes of f. What is stored there is in the
// kernel's hands at once, whatever becomes of the process.
func mapShared(f *os.File, size int) ([]byte, error) {
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return mem, os.NewSyscallError("mmap", err)
}

// unmap cannot fail for a mapping that mapShared made.
func unmap(mem []byte) { _ = syscall.Munmap(mem) }
