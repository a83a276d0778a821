package kv

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// Log is where a shard's records are. The engine's logs are Logs.
type Log interface {
	Append(ctx context.Context, record []byte) (seq uint64, err error) // durable when it returns
	Read(ctx context.Context, seq uint64) ([]byte, error)              // NotFound where it was truncated
	Scan(ctx context.Context, from uint64, fn func(seq uint64, record []byte) error) error
	Truncate(ctx context.Context, before uint64) error
	MaxRecord() int
}

// commitTimeout bounds one append; a writer that gave up does not stop it.
const commitTimeout = 30 * time.Second

// shard is one log with what it says in memory. Writers queue in pending; one
// goroutine, which lives while there is work, is the writer.
type shard struct {
	index int
	open  func(ctx context.Context) (Log, error)
	slack int64 // dead bytes that are never cleaned

	mem     *memory
	watch   watchers
	changes changeQueue
	quotas  *service.Quotas // of apps; nil: none has one

	openMu sync.Mutex
	log    atomic.Pointer[openLog]

	q       sync.Mutex
	pending []*txn     // guarded by q
	busy    bool       // guarded by q; drain runs
	idle    *sync.Cond // on q; drain ended

	// The writer's own; drain is the only goroutine that touches them once the
	// log is open.
	revision uint64
	lastSeq  uint64
	sizes    []recordSize // of the records in the log, oldest first
	total    int64        // their sum
	stale    bool         // an append failed: the log may have more than memory
	cursor   uint64       // changes up to this revision are delivered
}

type openLog struct{ Log }

type recordSize struct {
	seq  uint64
	size int64
}

func newShard(index int, open func(context.Context) (Log, error), budget, slack int64) *shard {
	s := &shard{index: index, open: open, slack: slack, mem: newMemory(budget)}
	s.idle = sync.NewCond(&s.q)
	return s
}

// ready opens the log and reads it into memory, once.
func (s *shard) ready(ctx context.Context) error {
	if s.log.Load() != nil {
		return nil
	}
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if s.log.Load() != nil {
		return nil
	}
	log, err := s.open(ctx)
	if err != nil {
		return fmt.Errorf("open key-value shard %d: %w", s.index, err)
	}
	// A failed attempt left a part in memory; reading it again is harmless but
	// for the sizes.
	s.sizes, s.total, s.lastSeq = nil, 0, 0
	if err := s.catchUp(ctx, log); err != nil {
		return err
	}
	s.log.Store(&openLog{log})
	return nil
}

// catchUp reads what the log has beyond lastSeq.
func (s *shard) catchUp(ctx context.Context, log Log) error {
	var changed []pendingChange
	err := log.Scan(ctx, s.lastSeq+1, func(seq uint64, record []byte) error {
		s.mem.mu.Lock()
		defer s.mem.mu.Unlock()
		err := decodeRecord(record, func(op *operation) error {
			s.take(op, seq)
			if op.changed {
				changed = append(changed, pendingChange{seq, op.revision})
			}
			return nil
		})
		s.grow(seq, record)
		return err
	})
	if err != nil {
		return fmt.Errorf("read key-value shard %d: %w", s.index, err)
	}
	s.changes.add(changed, s.cursor)
	return nil
}

// take applies one operation of the log to memory.
func (s *shard) take(op *operation, seq uint64) {
	s.revision = max(s.revision, op.revision)
	if op.kind == opCursor {
		s.cursor = max(s.cursor, op.revision)
		return
	}
	s.mem.set(op, seq)
}

func (s *shard) grow(seq uint64, record []byte) {
	s.lastSeq = seq
	s.total += int64(len(record))
	s.sizes = append(s.sizes, recordSize{seq, int64(len(record))})
}

// get returns a key's live value; ok is false where there is none.
func (s *shard) get(ctx context.Context, store, key string) (v Value, ok bool, err error) {
	for {
		s.mem.mu.RLock()
		e := s.mem.lookup(store, key)
		if !e.live(time.Now()) {
			s.mem.mu.RUnlock()
			return Value{}, false, nil
		}
		v = e.head()
		seq, here := e.seq, e.cached || e.size == 0
		s.mem.mu.RUnlock()
		if here {
			return v, true, nil
		}
		v.Data, err = s.fetch(ctx, seq, store, key, v.Revision)
		if mayfly.CodeOf(err) != mayfly.NotFound { // else it moved meanwhile
			return v, err == nil, err
		}
		if ctx.Err() != nil {
			return Value{}, false, ctx.Err()
		}
	}
}

// head is the entry's value. mu is held.
func (e *entry) head() Value {
	v := Value{Data: e.value, ContentType: e.mime, Revision: e.revision, Size: e.size}
	if e.expires != 0 {
		v.Expires = time.UnixMilli(e.expires)
	}
	return v
}

// fetch reads a value that is not in memory out of its record.
func (s *shard) fetch(ctx context.Context, seq uint64, store, key string, revision uint64) (value []byte, err error) {
	log := s.log.Load()
	record, err := log.Read(ctx, seq)
	if err != nil {
		return nil, err
	}
	found := false
	err = decodeRecord(record, func(op *operation) error {
		if op.revision == revision && op.store == store && op.key == key && (op.kind == opPut || op.kind == opMoved) {
			value, found = op.value, true
		}
		return nil
	})
	if err == nil && !found {
		err = mayfly.Errorf(mayfly.Internal, "read value", "record %d of shard %d does not hold the value", seq, s.index)
	}
	return value, err
}
