package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// cpuTime is what a process used so far, itself alone, in user and system mode.
// It says more than a rate where others use the machine too.
func cpuTime(pid int) time.Duration {
	_, rest, ok := strings.Cut(readText(fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const tick = time.Second / 100 // USER_HZ, the same on all of Linux's machines
	return time.Duration(user+system) * tick
}

// descendants are all processes below pid.
func descendants(pid int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			parent := int(statusKiB(id, "PPid"))
			children[parent] = append(children[parent], id)
		}
	}
	all := children[pid]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// descendantsCPU is what the processes below pid used so far. Those that ended
// are missing.
func descendantsCPU(pid int) (sum time.Duration) {
	for _, id := range descendants(pid) {
		sum += cpuTime(id)
	}
	return sum
}

// descendantsPSS is the proportional memory, in KiB, of all processes below pid.
func descendantsPSS(pid int) (sum float64) {
	for _, id := range descendants(pid) {
		sum += rollupKiB(id, "Pss")
	}
	return sum
}

// statusKiB reads a line of /proc/PID/status; 0 where there is none.
func statusKiB(pid int, name string) float64 {
	return lineKiB(fmt.Sprintf("/proc/%d/status", pid), name)
}

func rollupKiB(pid int, name string) float64 {
	return lineKiB(fmt.Sprintf("/proc/%d/smaps_rollup", pid), name)
}

func lineKiB(path, name string) float64 {
	for line := range strings.Lines(readText(path)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			v, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return v
		}
	}
	return 0
}
