package prom

import (
	"log/slog"
	"sync"
	"time"
)

// clock gives the times of samples. They never go back, which the database could
// not take: when the machine's clock went back, they go on from the newest, a
// tenth slower than time passes, until the clock has caught up. Rates are then
// too high by a tenth, and nobody's alerts are blind.
type clock struct {
	log *slog.Logger

	mu     sync.Mutex
	asked  time.Time // guarded by mu; when it was asked last
	newest time.Time // guarded by mu; what it said, without a monotonic reading
	ahead  bool      // guarded by mu; of the machine's clock
}

// slow is how fast the time of samples goes while it is ahead.
const slow = 0.9

// at is the time of a sample that is taken now.
func (c *clock) at(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := now.Round(0)
	// The monotonic clock tells what has passed, where now has its reading.
	passed := max(0, now.Sub(c.asked))
	if ahead := c.newest.Sub(t); ahead > 0 {
		t = c.newest.Add(time.Duration(slow * float64(passed)))
		if !c.ahead && ahead > time.Second {
			c.ahead = true
			c.log.Warn("the machine's clock went back; metrics go on from their newest sample, a tenth slower until the clock has caught up", "by", ahead.Round(time.Second))
		}
	} else {
		c.ahead = false
	}
	c.asked, c.newest = now, t
	return t
}

// begin says what the database has already.
func (c *clock) begin(newest, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.newest = now, newest
}

// At is the time of the newest samples, for who asks what holds now. It is now,
// but where the machine's clock went back.
func (m *Metrics) At(now time.Time) time.Time { return m.clock.at(now) }
