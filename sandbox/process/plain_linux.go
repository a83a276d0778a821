package process

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

const (
	maxFiles    = 1024 * 64
	maxFileSize = 10 << 30
)

// limitPlain bounds a started process. It is best effort: the process may have
// ended already.
func limitPlain(pid int) {
	for res, n := range map[int]uint64{unix.RLIMIT_NOFILE: maxFiles, unix.RLIMIT_FSIZE: maxFileSize, unix.RLIMIT_CORE: 0} {
		unix.Prlimit(pid, res, &unix.Rlimit{Cur: n, Max: n}, nil)
	}
}

// usageOf reads /proc/PID (proc(5)); what cannot be read stays as it was.
func usageOf(pid int, last sandbox.Usage) sandbox.Usage {
	dir := "/proc/" + strconv.Itoa(pid)
	if b, err := os.ReadFile(dir + "/status"); err == nil {
		last.Memory = mayfly.Bytes(keyOf(string(b), "VmRSS:")) * mayfly.KiB
		last.MemoryPeak = max(last.MemoryPeak, mayfly.Bytes(keyOf(string(b), "VmHWM:"))*mayfly.KiB)
	}
	if b, err := os.ReadFile(dir + "/stat"); err == nil {
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 13 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			last.CPU = time.Duration(user+system) * (time.Second / 100) // USER_HZ is 100 on every Linux port of Go
		}
	}
	return last
}

// keyOf is the number after key in a file of /proc.
func keyOf(file, key string) int64 {
	_, rest, _ := strings.Cut(file, key)
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, " kB")), 10, 64)
	return n
}

// peakOf is the largest resident size of a process that was waited for.
func peakOf(state *os.ProcessState) mayfly.Bytes {
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		return mayfly.Bytes(ru.Maxrss) * mayfly.KiB
	}
	return 0
}
