package pool

import (
	"runtime"
	"sync"
	"time"
)

// Processor time is looked at over a window of at least window, and no longer
// than old.
const (
	window = 100 * time.Millisecond
	old    = time.Second
)

// More instances are of use where at least so much of one processor is free, and
// at least such a share of all.
const (
	leastFree  = 0.6
	leastShare = 0.1
)

// processors tells whether the machine's processors have time left. The zero
// value is ready to use.
type processors struct {
	mu    sync.Mutex
	since time.Time // guarded by mu; begin of the window
	free  float64   // guarded by mu; seconds of idle processors until then
	all   float64
	left  bool // guarded by mu; over the last whole window
}

// idle reports whether processors had time left over the last window. Where
// nobody asked lately it does not know, and says no.
func (p *processors) idle(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	age := now.Sub(p.since)
	if age < window {
		return p.left
	}
	free, all := processorTime()
	p.left = age < old && all > p.all && (free-p.free)/(all-p.all) > max(leastFree/float64(runtime.NumCPU()), leastShare)
	p.since, p.free, p.all = now, free, all
	return p.left
}
