package engine

import "github.com/mayfly-cloud/mayfly"

// reserve is what stays free on the disk of the embedded server's store. A
// stream whose write failed for want of space takes no more writes until the
// server starts again, so that none is begun which could fail.
const reserve = 16 * mayfly.MiB

// room returns an Unavailable error where a write of so many bytes would leave
// less than the reserve.
func (e *Engine) room(op string, size int) error {
	if e.cfg.Dir == "" {
		return nil
	}
	free, ok := e.free(e.cfg.Dir)
	if !ok || free >= reserve+mayfly.Bytes(size) {
		return nil
	}
	return mayfly.Errorf(mayfly.Unavailable, op, "the disk of %s is full (%s free), nothing was accepted", e.cfg.Dir, free)
}
