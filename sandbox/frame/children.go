package frame

import (
	"encoding/binary"
	"sync"
	"syscall"

	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// children are what a template was told to fork and has not reported as ended.
type children struct {
	forking sync.Mutex // one order at a time

	mu   sync.Mutex
	last uint32                          // guarded by mu
	live map[uint32]chan<- process.Ended // guarded by mu; capacity 1
}

// add names a child that is about to be forked. The channel gets its end.
func (c *children) add() (uint32, <-chan process.Ended) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		c.live = map[uint32]chan<- process.Ended{}
	}
	c.last++
	end := make(chan process.Ended, 1)
	c.live[c.last] = end
	return c.last, end
}

func (c *children) remove(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.live, id)
}

// ended takes a template's word for how a child ended. A template that lies
// ends an instance of its own.
func (c *children) ended(f *Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.live[f.ID]
	if end == nil || len(f.Body) != 4 {
		return
	}
	delete(c.live, f.ID)
	status := syscall.WaitStatus(binary.LittleEndian.Uint32(f.Body))
	e := process.Ended{Code: status.ExitStatus()}
	if status.Signaled() {
		e = process.Ended{Code: -1, Signal: status.Signal().String()}
	}
	end <- e
}
