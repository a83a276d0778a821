package telemetry

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// intakeShards spreads callers so that they rarely meet at one lock.
const intakeShards = 4

// intake is a bounded hand-over of rows from many callers to one reader. put
// never blocks for longer than another put, and allocates only while a shard's
// slice grows to its working size.
type intake[T any] struct {
	rows  int   // most rows per shard
	bytes int64 // most bytes per shard; 0: not counted
	wake  chan<- struct{}
	shed  atomic.Int64
	shard [intakeShards]intakeShard[T]
}

type intakeShard[T any] struct {
	mu    sync.Mutex
	rows  []T   // guarded by mu
	spare []T   // guarded by mu; the slice that the reader gave back
	bytes int64 // guarded by mu
	_     [64]byte
}

func newIntake[T any](rows int, bytes int64, wake chan<- struct{}) *intake[T] {
	return &intake[T]{rows: max(1, rows/intakeShards), bytes: bytes / intakeShards, wake: wake}
}

// put hands row over, or counts it as shed. Rows that were put with the same
// shard number keep their order.
func (q *intake[T]) put(shard uint32, row T, bytes int) {
	s := &q.shard[shard%intakeShards]
	s.mu.Lock()
	if len(s.rows) >= q.rows || q.bytes > 0 && s.bytes+int64(bytes) > q.bytes {
		s.mu.Unlock()
		q.shed.Add(1)
		return
	}
	first := len(s.rows) == 0
	s.rows = append(s.rows, row)
	s.bytes += int64(bytes)
	s.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// take calls each with the rows of every shard in turn. The rows are each's
// only until it returns.
func (q *intake[T]) take(each func([]T)) {
	for i := range q.shard {
		s := &q.shard[i]
		s.mu.Lock()
		rows := s.rows
		s.rows, s.spare, s.bytes = s.spare[:0], nil, 0
		s.mu.Unlock()
		if len(rows) == 0 {
			s.giveBack(rows)
			continue
		}
		each(rows)
		clear(rows)
		s.giveBack(rows)
	}
}

// giveBack keeps a slice for the shard's next turn unless a burst made it far
// larger than ordinary.
func (s *intakeShard[T]) giveBack(rows []T) {
	if cap(rows) == 0 || cap(rows) > 4096 && len(rows) < cap(rows)/8 {
		return
	}
	s.mu.Lock()
	if s.spare == nil {
		s.spare = rows[:0]
	}
	s.mu.Unlock()
}

func anyShard() uint32 { return rand.Uint32() }

// shardOf gives the lines of one instance one shard, so that they keep their
// order. FNV-1a over the id's end, where ids differ.
func shardOf(id string) uint32 {
	h := uint32(2166136261)
	for i := max(0, len(id)-8); i < len(id); i++ {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return h ^ h>>15
}
