package sql

import (
	"context"
	"slices"
	"sync"

	"github.com/mayfly-cloud/mayfly"
)

// maxCauses is of how many writes the cause is known. Calls for the changes of
// older ones begin traces of their own, and so do those after a restart.
const maxCauses = 1024

// causes knows by whose doing changes came: the trace of each write, by the last
// change that it made. Changes are numbered in the order of the writes.
type causes struct {
	mu     sync.Mutex
	after  int64         // guarded by mu; nothing is known of changes up to this
	writes []causedWrite // guarded by mu; by upTo
}

type causedWrite struct {
	upTo  int64
	trace mayfly.Trace
	hops  int // functions that the cause went through
}

// begin forgets what is known: changes up to a position are nobody's.
func (k *causes) begin(after int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.after, k.writes = after, nil
}

// note says that the changes up to a position, from that of the write before,
// are one write's.
func (k *causes) note(upTo int64, trace mayfly.Trace, hops int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.writes); upTo <= k.after || n > 0 && upTo <= k.writes[n-1].upTo {
		return // it made none
	}
	if len(k.writes) == maxCauses {
		k.after = k.writes[0].upTo
		k.writes = slices.Delete(k.writes, 0, 1)
	}
	k.writes = append(k.writes, causedWrite{upTo, trace, hops})
}

// of is the trace of the write that made a change, and its hops; the zero Trace
// where it is not known.
func (k *causes) of(position int64) (mayfly.Trace, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i, _ := slices.BinarySearchFunc(k.writes, position, func(w causedWrite, at int64) int { return int(w.upTo - at) })
	if position <= k.after || i == len(k.writes) {
		return mayfly.Trace{}, 0
	}
	return k.writes[i].trace, k.writes[i].hops
}

// caused notes who wrote, before those who listen are told. The writer is held:
// what the log has since the last write is this one's.
func (d *database) caused(ctx context.Context, c *connection) {
	if upTo, err := c.lastChange(context.WithoutCancel(ctx)); err == nil { // else the next write takes its place
		d.causes.note(upTo, mayfly.TraceFrom(ctx), mayfly.HopsFrom(ctx))
	}
}

// lastChange is the position of the last change that the log ever had.
func (c *connection) lastChange(ctx context.Context) (int64, error) {
	return c.number(ctx, "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = '_mayfly_changes'), 0)")
}
