package event

import (
	"context"
	"time"
)

// Limits of one record: few enough items that a page stays cheap to read for
// one of them, and bytes that a server takes in one message.
const (
	recordItems = 512
	recordBytes = 512 << 10
)

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
