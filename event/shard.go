package event

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// What was finished or failed is written with the next put, or after a moment:
// a write of its own for each would halve what the disk can take in.
const (
	settleAfter = 5 * time.Millisecond
	settleMost  = 1024
)

// shard is one log and its index. One goroutine (run) writes the log.
type shard struct {
	index int
	log   Log
	slog  *slog.Logger
	names map[string]string // of lanes, as decoded; used by the goroutine that decodes, under load

	wakeup chan struct{}

	mu      sync.Mutex
	lanes   map[string]*Lane // guarded by mu, as all below
	table   table
	cache   cache
	due     dueHeap
	nextDue int64 // the alarm of run's timer; 0 none
	rewrite int   // rewriteAbove, but in tests
	next    uint64
	token   uint64
	last    uint64 // sequence number of the last record
	cutAt   uint64 // the log was cut before it
	settle  int64  // Unix ms at which done and fails are written; 0 none waits
	closed  bool

	puts  []*put
	fails []*failure
	done  []uint64
	dedup map[string]first
}

// put is one call of Put that waits for its record.
type put struct {
	items []*Item
	bytes int
	err   chan error
}

// first is an item with a deduplication id.
type first struct {
	id      string
	until   int64
	durable bool // its item was written
}

func newShard(index int, log Log, cacheBytes int, logger *slog.Logger) *shard {
	return &shard{
		index: index, log: log, slog: logger, names: map[string]string{}, wakeup: make(chan struct{}, 1),
		lanes: map[string]*Lane{}, dedup: map[string]first{}, cache: cache{limit: cacheBytes}, next: 1, rewrite: rewriteAbove,
		token: uint64(time.Now().UnixNano()), // leases of an earlier process have other tokens
	}
}

func (s *shard) lane(name string) *Lane {
	l := s.lanes[name]
	if l == nil {
		l = newLane(s, name)
		s.lanes[name] = l
	}
	return l
}

// kick tells run that there is something to write.
func (s *shard) kick() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// settled tells run that done or fails has something, with the lock held.
func (s *shard) settled() {
	switch {
	case len(s.done)+len(s.fails) >= settleMost:
		s.settle = 1
	case s.settle == 0:
		s.settle = time.Now().Add(settleAfter).UnixMilli()
	default:
		return
	}
	s.alarm(s.settle)
}

// alarm tells run that something is due at a time, with the lock held.
func (s *shard) alarm(at int64) {
	if s.nextDue == 0 || at < s.nextDue {
		s.kick()
	}
}

// put queues items for the next record and waits until it is durable.
func (s *shard) put(ctx context.Context, l *Lane, items []*Item) error {
	p := &put{err: make(chan error, 1)}
	now := time.Now()
	for _, it := range items {
		if it.Created.IsZero() {
			it.Created = now
		}
		it.lane = l.name
		if size := putSize(it); size > s.log.MaxRecord() {
			return mayfly.Errorf(mayfly.TooLarge, "send", "an item of %d bytes is more than the engine takes in one message (%d)", len(it.Body), s.log.MaxRecord())
		} else if p.bytes += size; p.bytes > s.log.MaxRecord() {
			return mayfly.Errorf(mayfly.TooLarge, "send", "a batch of more than %d bytes is not accepted at once; send it in parts", s.log.MaxRecord())
		}
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return mayfly.Errorf(mayfly.Unavailable, "send", "the platform is shutting down")
	}
	for _, it := range items {
		s.number(it, now)
		if !it.Duplicate {
			p.items = append(p.items, it)
		}
	}
	s.puts = append(s.puts, p)
	s.mu.Unlock()
	s.kick()
	select {
	case err := <-p.err:
		return err
	case <-ctx.Done():
		return mayfly.Errorf(mayfly.Timeout, "send", "the items may or may not have been accepted: %w", ctx.Err())
	}
}

// number gives an item its number and id, or those of the item it repeats.
func (s *shard) number(it *Item, now time.Time) {
	if it.Dedup != "" && it.Window > 0 {
		key := it.lane + "\x00" + it.Dedup
		if f, ok := s.dedup[key]; ok && f.until > now.UnixMilli() {
			it.ID, it.Duplicate = f.id, true
			return
		}
		it.until = now.Add(it.Window).UnixMilli()
	}
	it.num, it.salt = s.next, newSalt()
	s.next++
	it.ID = itemID(s.index, it.num, it.salt)
	if it.until > 0 {
		s.dedup[it.lane+"\x00"+it.Dedup] = first{it.ID, it.until, false}
	}
}

// run writes records and wakes what is due, until ctx ends; then it writes what
// is left.
func (s *shard) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	tick := time.NewTicker(truncateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.drain(context.WithoutCancel(ctx))
			return nil
		case <-s.wakeup:
		case <-timer.C:
		case <-tick.C:
			s.lapse()
			s.tidy(ctx)
		}
		// Where the engine refuses, what must be written stays and is tried
		// again with the next put or tick.
		if s.waits() {
			s.write(ctx, nil)
		}
		timer.Reset(s.fire())
	}
}

// waits reports whether a record should be written now.
func (s *shard) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && len(s.fails)+len(s.done) > 0 {
		return true
	}
	return len(s.puts) > 0 || s.settle > 0 && s.settle <= time.Now().UnixMilli()
}

// fire wakes all that is due and returns how long until the next.
func (s *shard) fire() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UnixMilli()
	for len(s.due) > 0 && s.due[0].at <= now {
		d := heap.Pop(&s.due).(due)
		d.lane.wake(d.ref)
	}
	s.nextDue = s.settle
	if len(s.due) > 0 && (s.nextDue == 0 || s.due[0].at < s.nextDue) {
		s.nextDue = s.due[0].at
	}
	if s.nextDue == 0 {
		return time.Hour
	}
	return time.Until(fromMillis(s.nextDue)) + time.Millisecond
}

// lapse ends the leases whose time is up.
func (s *shard) lapse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UnixMilli()
	for _, l := range s.lanes {
		if len(l.leases) > 0 {
			l.lapse(now)
		}
	}
}
