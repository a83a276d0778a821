package triggertest

import (
	"context"
	"errors"
	"sync"

	"github.com/mayfly-cloud/mayfly/trigger"
)

// Calls are what a trigger enqueued. It is safe for concurrent use.
type Calls struct {
	mu     sync.Mutex
	events [][]byte
	ids    []string
	fail   int
}

// Enqueue implements trigger.Enqueue.
func (c *Calls) Enqueue(_ context.Context, _ *trigger.Binding, id string, event []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail > 0 {
		c.fail--
		return errors.New("the disk is full")
	}
	c.events, c.ids = append(c.events, event), append(c.ids, id)
	return nil
}

// Fail makes the next n calls fail.
func (c *Calls) Fail(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = n
}

// Failed reports whether all calls that Fail asked for have failed.
func (c *Calls) Failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fail == 0
}

// All are the events and ids that were accepted, in order.
func (c *Calls) All() (events [][]byte, ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([][]byte(nil), c.events...), append([]string(nil), c.ids...)
}
