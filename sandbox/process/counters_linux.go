package process

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// memoryEvery is for how long a reading of a cell's memory is good: usage is
// asked for at the end of every call, and to read memory takes as long as a
// short call's whole way. Processor time is always read.
const memoryEvery = 20 * time.Millisecond

// counters are the files of a group that count, kept open: to open one takes
// five times as long as to read it. The zero counters are ready to use.
type counters struct {
	mu     sync.Mutex
	opened bool         // guarded by mu
	files  [3]int       // guarded by mu; descriptors, -1 where there is no such file
	memory mayfly.Bytes // guarded by mu; as last read, as peak
	peak   mayfly.Bytes
	read   time.Time // guarded by mu; when memory was
	buf    [512]byte // guarded by mu
}

// What counters.files has.
const (
	memoryNow = iota
	memoryPeak
	processorTime
)

// open opens the files of g. c.mu is held.
func (c *counters) open(g *group) {
	c.opened = true
	memory, now, peak := g.dir("memory"), "memory.usage_in_bytes", "memory.max_usage_in_bytes"
	if g.h.v2["memory"] {
		now, peak = "memory.current", "memory.peak"
	}
	c.files = [3]int{openCounter(memory, now), openCounter(memory, peak), openCounter(g.unified(), "cpu.stat")}
}

func openCounter(dir, name string) int {
	if dir == "" {
		return -1
	}
	fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// content is the beginning of a file, valid until the next call. c.mu is held.
func (c *counters) content(file int) []byte {
	if c.files[file] < 0 {
		return nil
	}
	n, err := unix.Pread(c.files[file], c.buf[:], 0)
	if err != nil {
		return nil
	}
	return c.buf[:n]
}

func number(b []byte) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// close gives the descriptors back; from then on nothing is counted.
func (c *counters) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, fd := range c.files {
		if c.opened && fd >= 0 {
			unix.Close(fd)
		}
		c.files[i] = -1
	}
	c.opened = true
}

// usage is what the cell used until now.
func (g *group) usage() sandbox.Usage { return g.count(0) }

// recentUsage is what the cell used; its memory may be that of a moment ago.
func (g *group) recentUsage() sandbox.Usage { return g.count(memoryEvery) }

// count reads the counters, memory where the last reading is older than age.
func (g *group) count(age time.Duration) sandbox.Usage {
	c := &g.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.opened {
		c.open(g)
	}
	if now := time.Now(); now.Sub(c.read) >= age {
		c.memory, c.peak = mayfly.Bytes(number(c.content(memoryNow))), mayfly.Bytes(number(c.content(memoryPeak)))
		c.read = now
	}
	cpu := keyed(c.content(processorTime), "usage_usec ")
	return sandbox.Usage{Memory: c.memory, MemoryPeak: c.peak, CPU: time.Duration(cpu) * time.Microsecond}
}

// keyed is the number after key, which begins a line of b.
func keyed(b []byte, key string) int64 {
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte(key)); ok {
			return number(v)
		}
	}
	return 0
}
