package event

import (
	"container/heap"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Limits of one record: few enough items that a page stays cheap to read for
// one of them, and bytes that a server takes in one message.
const (
	recordItems = 512
	recordBytes = 512 << 10
)

// A log is rewritten when it holds this much, and four times what is needed.
const (
	rewriteAbove = 64 << 20
	rewriteRatio = 4
	rewriteItems = 256
)

const truncateEvery = time.Second

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

// batch is what one record will hold.
type batch struct {
	puts  []*put
	moves []*Item
	fails []*failure
	done  []uint64
	seen  []*seen
	items []*Item // of puts, or moves
}

// cut takes from what waits as much as fits in one record.
func (s *shard) cut(moves []*Item) *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &batch{}
	bytes, n := 0, 0
	for _, it := range moves {
		if s.table.has(it.num) { // not finished meanwhile
			b.moves = append(b.moves, it)
			bytes += putSize(it)
		}
	}
	b.items = b.moves
	for len(moves) == 0 && n < len(s.puts) {
		p := s.puts[n]
		if n > 0 && (bytes+p.bytes > recordBytes || len(b.items)+len(p.items) > recordItems) {
			break
		}
		b.items = append(b.items, p.items...)
		bytes += p.bytes
		n++
	}
	b.puts, s.puts = s.puts[:n:n], s.puts[n:]
	if bytes > recordBytes { // one large item is a record of its own
		return b
	}
	n = min(len(s.fails), 256)
	b.fails, s.fails = s.fails[:n:n], s.fails[n:]
	n = min(len(s.done), 16384)
	b.done, s.done = s.done[:n:n], s.done[n:]
	if len(s.done)+len(s.fails) == 0 {
		s.settle = 0
	}
	return b
}

func (b *batch) encode() []byte {
	size := 64 + len(b.fails)*300 + len(b.done)*6 + len(b.seen)*150
	for _, it := range b.items {
		size += putSize(it)
	}
	record := make([]byte, 1, size)
	record[0] = recordVersion
	for _, it := range b.items {
		record = appendPut(record, it)
	}
	for _, f := range b.fails {
		record = appendFail(record, f)
	}
	if len(b.done) > 0 {
		record = appendDone(record, b.done)
	}
	for _, x := range b.seen {
		record = appendSeen(record, x)
	}
	return record
}

// write writes records until nothing waits. It reports false where the engine
// refused; puts that wait are then told so, the rest is kept.
func (s *shard) write(ctx context.Context, moves []*Item) bool {
	for {
		b := s.cut(moves)
		moves = nil
		if len(b.items)+len(b.fails)+len(b.done) > 0 {
			record := b.encode()
			seq, err := s.log.Append(context.WithoutCancel(ctx), record)
			if err != nil {
				s.refused(b, err)
				return false
			}
			s.written(b, seq, len(record))
		}
		for _, p := range b.puts {
			p.err <- nil
		}
		if !s.waits() {
			return true
		}
	}
}

// written takes a durable record into the index.
func (s *shard) written(b *batch, seq uint64, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = seq
	if len(b.items) == 0 {
		return
	}
	s.enter(b.items, seq, size, len(b.moves) > 0)
	if len(b.moves) > 0 {
		return
	}
	now := time.Now().UnixMilli()
	for _, it := range b.items {
		s.lane(it.lane).admit(it, now)
	}
	if len(s.due) > 0 && (s.nextDue == 0 || s.due[0].at < s.nextDue) {
		s.kick()
	}
}

// enter adds a record's page to the table. Items that were moved are cleared
// in the page where they were before.
func (s *shard) enter(items []*Item, seq uint64, size int, moved bool) {
	nums := make([]uint64, len(items))
	var finished []uint64
	var keep int64
	for i, it := range items {
		if it.until > 0 && !moved {
			s.dedup[it.lane+"\x00"+it.Dedup] = first{it.ID, it.until, true}
		}
		nums[i] = it.num
		keep = max(keep, it.until)
		if moved && s.table.finish(it.num) == nil {
			finished = append(finished, it.num)
		}
	}
	p := newPage(seq, nums, size)
	p.keepUntil, p.created = keep, millis(items[0].Created)
	s.table.add(p, moved)
	for _, num := range finished {
		s.table.finish(num)
	}
	s.cache.add(seq, items, size, false)
}

func (s *shard) refused(b *batch, err error) {
	s.slog.Error("events cannot be written", "log", s.log.Name(), "error", err, "sends refused", len(b.puts))
	s.mu.Lock()
	s.fails = append(b.fails, s.fails...)
	s.done = append(b.done, s.done...)
	if len(s.done)+len(s.fails) > 0 {
		s.settle = time.Now().Add(time.Second).UnixMilli()
	}
	refused := append(b.puts, s.puts...)
	s.puts = nil
	for _, p := range refused {
		for _, it := range p.items {
			if it.until > 0 {
				delete(s.dedup, it.lane+"\x00"+it.Dedup)
			}
		}
	}
	s.mu.Unlock()
	for _, p := range refused {
		p.err <- err
	}
}

// drain refuses what comes from now on and writes what came.
func (s *shard) drain(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.write(ctx, nil)
}

// tidy cuts the log's front off, or moves what keeps too much of it.
func (s *shard) tidy(ctx context.Context) {
	s.mu.Lock()
	now := time.Now().UnixMilli()
	for key, f := range s.dedup {
		if f.until <= now {
			delete(s.dedup, key)
		}
	}
	cut := s.table.cut(s.last+1, now)
	was := s.cutAt
	var old []uint64
	all, needed := s.table.weigh()
	heavy := all > s.rewrite && all > rewriteRatio*needed
	if heavy {
		old = s.table.oldest(rewriteItems)
	}
	s.mu.Unlock()
	if heavy {
		s.repeat(ctx, now)
	}
	if cut > was {
		if err := s.log.Truncate(ctx, cut); err != nil {
			if ctx.Err() == nil {
				s.slog.Warn("a log cannot be cut", "log", s.log.Name(), "error", err)
			}
			return
		}
		s.mu.Lock()
		s.cutAt = cut
		s.mu.Unlock()
	}
	if len(old) > 0 {
		s.move(ctx, old)
	}
}

// repeat writes the deduplication ids that still count again, so that the
// records which had them are not kept for that.
func (s *shard) repeat(ctx context.Context, now int64) {
	s.mu.Lock()
	var all []*seen
	for key, f := range s.dedup {
		if lane, dedup, _ := strings.Cut(key, "\x00"); f.until > now && f.durable {
			all = append(all, &seen{lane, dedup, f})
		}
	}
	s.mu.Unlock()
	var kept []*page
	for part := range slices.Chunk(all, 1000) {
		record := (&batch{seen: part}).encode()
		seq, err := s.log.Append(context.WithoutCancel(ctx), record)
		if err != nil {
			return // the records that have them are still kept
		}
		p := &page{seq: seq, size: len(record)}
		for _, x := range part {
			p.keepUntil = max(p.keepUntil, x.until)
		}
		kept = append(kept, p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.unkeep()
	for _, p := range kept {
		s.table.keep(p.seq, p.keepUntil, p.size)
		s.last = p.seq
	}
}

// move puts items again, so that the log before them can be cut off.
func (s *shard) move(ctx context.Context, nums []uint64) {
	items, err := s.load(ctx, nums)
	if err != nil {
		s.slog.Warn("old items cannot be read", "log", s.log.Name(), "error", err)
		return
	}
	var moves []*Item
	s.mu.Lock()
	bytes := 0
	for _, it := range items {
		if it == nil {
			continue
		}
		if bytes += putSize(it); bytes > recordBytes && len(moves) > 0 {
			break
		}
		moved := *it
		if l := s.lanes[it.lane]; l != nil && l.fails[it.num] != nil {
			f := l.fails[it.num]
			moved.At, moved.tries, moved.history = fromMillis(f.at), f.tries, l.history[it.num]
		}
		moves = append(moves, &moved)
	}
	s.mu.Unlock()
	if len(moves) > 0 {
		s.write(ctx, moves)
	}
}

// fill reads the bodies of leases. What was cancelled meanwhile is left out.
func (s *shard) fill(ctx context.Context, leases []*Lease) ([]*Lease, error) {
	if len(leases) == 0 {
		return nil, nil
	}
	nums := make([]uint64, len(leases))
	for i, le := range leases {
		nums[i] = le.ref.num
	}
	items, err := s.load(ctx, nums)
	if err != nil {
		for _, le := range leases {
			le.Release(time.Now().Add(time.Second))
		}
		return nil, err
	}
	for i, le := range leases {
		if items[i] != nil {
			le.Item = *items[i]
		} else if le.Done() { // else it was cancelled meanwhile
			s.slog.Error("an item is not in the log any more", "log", s.log.Name(), "lane", le.lane.name, "number", le.ref.num)
		}
	}
	return slices.DeleteFunc(leases, func(le *Lease) bool { return le.ID == "" }), nil
}

// load returns the items of numbers, nil for one that is finished.
func (s *shard) load(ctx context.Context, nums []uint64) ([]*Item, error) {
	items := make([]*Item, len(nums))
	type miss struct {
		i   int
		seq uint64
	}
	var misses []miss
	s.mu.Lock()
	for i, num := range nums {
		p, at := s.table.find(num)
		if p == nil {
			continue
		}
		if page, ok := s.cache.get(p.seq); ok {
			items[i] = page[at]
		} else {
			misses = append(misses, miss{i, p.seq})
		}
	}
	s.mu.Unlock()
	var page *pageItems
	for _, m := range misses {
		if page == nil || page.seq != m.seq {
			var err error
			if page, err = s.read(ctx, m.seq); err != nil {
				return nil, err
			}
		}
		items[m.i] = page.by[nums[m.i]]
	}
	return items, nil
}

// read reads one record from the log into the cache.
func (s *shard) read(ctx context.Context, seq uint64) (*pageItems, error) {
	record, err := s.log.Read(ctx, seq)
	if mayfly.CodeOf(err) == mayfly.NotFound {
		return &pageItems{seq: seq}, nil // finished and cut off meanwhile
	}
	if err != nil {
		return nil, err
	}
	page := &pageItems{seq: seq, by: map[uint64]*Item{}, index: s.index}
	if err := decode(record, map[string]string{}, page); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "read "+s.log.Name(), "record %d: %w", seq, err)
	}
	s.mu.Lock()
	s.cache.add(seq, page.items, len(record), true)
	s.mu.Unlock()
	return page, nil
}

// pageItems collects the items of one record.
type pageItems struct {
	seq   uint64
	index int
	items []*Item
	by    map[uint64]*Item
}

func (p *pageItems) put(it *Item) {
	it.ID = itemID(p.index, it.num, it.salt)
	p.items = append(p.items, it)
	p.by[it.num] = it
}
func (p *pageItems) fail(*failure) {}
func (p *pageItems) done(uint64)   {}
func (p *pageItems) seen(*seen)    {}
