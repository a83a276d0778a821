package kv

import (
	"context"
	"time"
)

// entryOverhead is an estimate of what an operation takes in a record beside
// its key and its value. It only decides when to clean.
const entryOverhead = 96

// clean moves what still counts from the beginning of the log to its end, and
// cuts the beginning off, while more than half of the log is dead. Only the
// writer calls it. A failure leaves the log as it was; the next write tries
// again.
func (s *shard) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	for !s.stale && s.dirty() {
		if !s.cleanHead(ctx) {
			return
		}
	}
}

func (s *shard) dirty() bool {
	s.mem.mu.RLock()
	defer s.mem.mu.RUnlock()
	return s.total > 2*(s.mem.live+int64(s.mem.entries)*entryOverhead)+s.slack
}

// cleanHead cleans about groupBytes of the log and reports whether it did.
func (s *shard) cleanHead(ctx context.Context) bool {
	log := s.log.Load()
	limit := s.changes.first(s.lastSeq) // undelivered changes stay
	record := beginRecord(time.Now())
	var ops []operation
	var read int64
	n := 0
	for n < len(s.sizes) && s.sizes[n].seq < limit && (n == 0 || read+s.sizes[n].size <= groupBytes) {
		old, err := log.Read(ctx, s.sizes[n].seq)
		if err != nil {
			return false
		}
		if err := decodeRecord(old, func(op *operation) error {
			if s.counts(op, s.sizes[n].seq) {
				op.kind, op.changed = opMoved, false
				ops = append(ops, *op)
				record = appendOp(record, op)
			}
			return nil
		}); err != nil {
			return false
		}
		read += s.sizes[n].size
		n++
	}
	if n == 0 || len(record) > log.MaxRecord() {
		return false
	}
	if s.cursor > 0 {
		op := operation{kind: opCursor, revision: s.cursor}
		ops, record = append(ops, op), appendOp(record, &op)
	}
	if len(ops) > 0 {
		if err := s.append(ctx, log, record, ops); err != nil {
			return false
		}
	}
	next := s.lastSeq
	if n < len(s.sizes) {
		next = s.sizes[n].seq
	}
	if err := log.Truncate(ctx, next); err != nil {
		return false
	}
	s.total -= read
	s.sizes = append([]recordSize(nil), s.sizes[n:]...)
	return true
}

// counts says whether the value of an operation at seq is the current one.
func (s *shard) counts(op *operation, seq uint64) bool {
	if op.kind != opPut && op.kind != opMoved {
		return false
	}
	s.mem.mu.RLock()
	defer s.mem.mu.RUnlock()
	e := s.mem.lookup(op.store, op.key)
	return e != nil && e.revision == op.revision && e.seq == seq
}
