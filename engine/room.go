package engine

import "github.com/mayfly-cloud/mayfly"

// reserve is what stays free on the disk of the embedded server's store: a stream
// whose write failed for want of space takes no more writes (see mend), so that
// none is begun which could fail. What removes records may use half of it.
const reserve = 16 * mayfly.MiB

// room returns an Unavailable error where a write of so many bytes would leave
// less than the reserve.
func (e *Engine) room(op string, size int) error {
	return e.leaves(op, reserve+mayfly.Bytes(size))
}

// roomToRemove is room for what removes records.
func (e *Engine) roomToRemove(op string) error { return e.leaves(op, reserve/2) }

func (e *Engine) leaves(op string, least mayfly.Bytes) error {
	if e.cfg.Dir == "" {
		return nil
	}
	free, ok := e.free(e.cfg.Dir)
	if !ok || free >= least {
		return nil
	}
	return mayfly.Errorf(mayfly.Unavailable, op, "the disk of %s is full (%s free), nothing was accepted", e.cfg.Dir, free)
}
