package kv

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// pendingChange says where an undelivered change is.
type pendingChange struct {
	seq, revision uint64
}

// changeQueue is a shard's undelivered changes in order, each by its place in
// the log.
type changeQueue struct {
	mu    sync.Mutex
	queue []pendingChange // guarded by mu
	wake  func()          // called after an addition; may be nil
}

// add appends the changes above the cursor, and drops those at or below it.
func (q *changeQueue) add(changes []pendingChange, cursor uint64) {
	if len(changes) == 0 && cursor == 0 {
		return
	}
	q.mu.Lock()
	for _, c := range changes {
		if c.revision > cursor {
			q.queue = append(q.queue, c)
		}
	}
	q.drop(cursor)
	q.mu.Unlock()
	if len(changes) > 0 && q.wake != nil {
		q.wake()
	}
}

// drop removes what is delivered. mu is held.
func (q *changeQueue) drop(cursor uint64) {
	n := 0
	for n < len(q.queue) && q.queue[n].revision <= cursor {
		n++
	}
	q.queue = q.queue[n:]
	if len(q.queue) == 0 {
		q.queue = nil
	}
}

// first is the record of the oldest undelivered change, or after where none is
// left; the record after itself is never cleaned.
func (q *changeQueue) first(after uint64) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) > 0 {
		return min(q.queue[0].seq, after)
	}
	return after
}

// head is the records of the next changes, at most n, and their last revision.
func (q *changeQueue) head(n int) (seqs []uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.queue {
		if len(seqs) > 0 && seqs[len(seqs)-1] == c.seq {
			continue
		}
		if len(seqs) == n {
			break
		}
		seqs = append(seqs, c.seq)
	}
	return seqs
}

// deliverRecords is how many records are delivered before the cursor is noted.
const deliverRecords = 64

// deliver hands the shard's changes to sink, oldest first, until none is left or
// one fails.
func (s *shard) deliver(ctx context.Context, sink func(context.Context, service.KVChange) error) error {
	for {
		seqs := s.changes.head(deliverRecords)
		if len(seqs) == 0 {
			return nil
		}
		delivered, err := s.deliverThese(ctx, seqs, sink)
		if delivered > 0 {
			if err := s.commit(ctx, &txn{cursor: delivered}); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

func (s *shard) deliverThese(ctx context.Context, seqs []uint64, sink func(context.Context, service.KVChange) error) (delivered uint64, err error) {
	log := s.log.Load()
	for _, seq := range seqs {
		record, err := log.Read(ctx, seq)
		if err != nil {
			return delivered, fmt.Errorf("read changes of key-value shard %d: %w", s.index, err)
		}
		err = decodeRecord(record, func(op *operation) error {
			if !op.changed {
				return nil
			}
			cause, _ := mayfly.ParseTrace(op.cause, "") // none begins a trace
			if err := sink(mayfly.WithHops(mayfly.WithTrace(ctx, cause), op.hops), s.change(op)); err != nil {
				return err
			}
			delivered = op.revision
			return nil
		})
		if err != nil {
			return delivered, fmt.Errorf("deliver changes of key-value shard %d: %w", s.index, err)
		}
	}
	return delivered, nil
}

func (s *shard) change(op *operation) service.KVChange {
	app, store, _ := strings.Cut(op.store, "/")
	c := service.KVChange{
		ID:  fmt.Sprintf("kv-%d-%d", s.index, op.revision),
		App: mayfly.AppName(app), Store: store, Key: op.key,
		Event: string(Delete), Expired: op.kind == opExpire, Revision: op.revision, Time: op.time,
	}
	if op.kind == opPut {
		c.Event = string(Put)
		c.Value = &service.KVValue{Data: op.value, ContentType: op.mime, Revision: op.revision}
	}
	if op.oldRev != 0 {
		c.Old = &service.KVValue{Data: op.old, ContentType: op.oldMIME, Revision: op.oldRev}
	}
	return c
}

// expire deletes what is past its time, in steps.
func (s *shard) expire(ctx context.Context, listens func(string) bool) error {
	for {
		s.mem.mu.Lock()
		due := s.mem.due(time.Now(), 256)
		s.mem.mu.Unlock()
		if len(due) == 0 {
			return nil
		}
		if err := s.commit(ctx, &txn{expired: due, listens: listens}); err != nil {
			s.mem.mu.Lock()
			for _, e := range due {
				if !e.gone {
					s.mem.again(e)
				}
			}
			s.mem.mu.Unlock()
			return err
		}
	}
}
