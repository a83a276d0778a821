package pool

import (
	"bytes"
	"os"
	"strconv"
)

// processorTime is for how long the machine's processors did nothing, and how
// long they could have worked, since it started; in ticks (proc_stat(5)).
func processorTime() (free, all float64) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	var buf [512]byte
	n, _ := f.Read(buf[:]) // of nothing there is nothing to tell
	line, _, _ := bytes.Cut(buf[:n], []byte{'\n'})
	for i, field := range bytes.Fields(line) {
		if i == 0 || i > 8 { // guests' time is in user's
			continue
		}
		v, _ := strconv.ParseFloat(string(field), 64)
		all += v
		if i == 4 || i == 5 { // idle, iowait
			free += v
		}
	}
	return free, all
}
