package daemon

import (
	"bufio"
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// forgetPages takes the pages of the program's own file out of its memory.
// Starting a node touches most of the file once, three quarters of what the
// process then holds. The pages stay in the kernel's cache; one that is needed
// again is mapped again when it is touched, for about a microsecond.
func forgetPages() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	all, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	for _, m := range fileMappings(all, exe) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return os.NewSyscallError("madvise", errno)
		}
	}
	return nil
}

// mapping is a stretch of memory.
type mapping struct{ start, end uintptr }

// fileMappings are those of a file in smaps whose every page is as it is in the
// file: nothing may write to them, and nothing has, as the loader does to some of
// a program that runs at any address.
func fileMappings(smaps []byte, file string) []mapping {
	var found []mapping
	var m *mapping
	for s := bufio.NewScanner(bytes.NewReader(smaps)); s.Scan(); {
		f := bytes.Fields(s.Bytes())
		switch {
		case len(f) == 6 && bytes.IndexByte(f[0], '-') > 0:
			m = nil
			if bytes.IndexByte(f[1], 'w') < 0 && f[1][3] == 'p' && string(f[5]) == file {
				from, to, _ := bytes.Cut(f[0], []byte("-"))
				start, err1 := strconv.ParseUint(string(from), 16, 64)
				end, err2 := strconv.ParseUint(string(to), 16, 64)
				if err1 == nil && err2 == nil {
					found = append(found, mapping{uintptr(start), uintptr(end)})
					m = &found[len(found)-1]
				}
			}
		case len(f) == 5 && bytes.IndexByte(f[0], '-') > 0: // of no file
			m = nil
		case m != nil && len(f) > 1 && string(f[0]) == "Anonymous:" && string(f[1]) != "0":
			found, m = found[:len(found)-1], nil
		}
	}
	return found
}
