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
		last.Memory = statusKiB(string(b), "VmRSS:")
		last.MemoryPeak = max(last.MemoryPeak, statusKiB(string(b), "VmHWM:"))
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

func statusKiB(status, key string) mayfly.Bytes {
	_, rest, _ := strings.Cut(status, key)
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, " kB")), 10, 64)
	return mayfly.Bytes(n) * mayfly.KiB
}

// peakOf is the largest resident size of a process that was waited for.
func peakOf(state *os.ProcessState) mayfly.Bytes {
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		return mayfly.Bytes(ru.Maxrss) * mayfly.KiB
	}
	return 0
}
