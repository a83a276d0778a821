package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pace is an open loop: requests leave at a rate, whether or not the replies to
// those before have come, as far as there are connections.
type pace struct {
	addr     string
	rate     int           // requests a second
	duration time.Duration // 0: until ctx ends
	request  func(n int) []byte
	reply    func(n int, began time.Time, r *reply, err error) // called by all connections; r is valid until it returns
}

// paceConnections is the most requests under way.
const paceConnections = 64

// run sends until the duration is over or ctx ends.
func (p pace) run(ctx context.Context) {
	var next atomic.Int64
	var senders sync.WaitGroup
	began := time.Now()
	for range paceConnections {
		senders.Go(func() {
			var c *wire
			defer func() { c.close() }()
			for ctx.Err() == nil {
				n := next.Add(1) - 1
				due := time.Duration(n) * time.Second / time.Duration(p.rate)
				if p.duration > 0 && due >= p.duration {
					return
				}
				pause(ctx, time.Until(began.Add(due)))
				if ctx.Err() == nil {
					c = p.once(ctx, c, int(n))
				}
			}
		})
	}
	senders.Wait()
}

// once sends one request and returns the connection for the next.
func (p pace) once(ctx context.Context, c *wire, n int) *wire {
	began := time.Now()
	var err error
	if c == nil {
		if c, err = dial(p.addr); err != nil {
			p.reply(n, began, nil, err)
			pause(ctx, 5*time.Millisecond)
			return nil
		}
	}
	r, err := c.call(p.request(n))
	p.reply(n, began, r, err)
	if err != nil {
		c.close()
		return nil
	}
	return c
}
