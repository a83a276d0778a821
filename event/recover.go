package event

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// recovery rebuilds a shard's index from its log. It holds what it knows of
// each unfinished item until the whole log is read.
type recovery struct {
	s     *shard
	seq   uint64 // of the current record, as all until nums
	size  int
	moved bool
	keep  int64

	created int64
	nums    []uint64
	waits   map[string][]sleeper // by lane, in the log's order
	fails   map[uint64]*failure
	past    map[uint64][]Attempt
}

type sleeper struct {
	ref
	at int64
}

// recover reads the log. Nothing else uses the shard meanwhile.
func (s *shard) recover(ctx context.Context) error {
	r := &recovery{s: s, waits: map[string][]sleeper{}, fails: map[uint64]*failure{}, past: map[uint64][]Attempt{}}
	err := s.log.Scan(ctx, 0, func(seq uint64, record []byte) error {
		if s.cutAt == 0 {
			s.cutAt = seq
		}
		s.last = seq
		return r.record(seq, record)
	})
	if err != nil {
		return err
	}
	r.settle()
	return nil
}

func (r *recovery) record(seq uint64, record []byte) error {
	r.seq, r.size = seq, len(record)
	r.nums, r.moved, r.keep = r.nums[:0], false, 0
	if err := decode(record, r.s.names, r); err != nil {
		return err
	}
	r.page()
	return nil
}

// page adds the page of the puts so far. Puts come before all else in a record,
// and a record's own done entries are about them too.
func (r *recovery) page() {
	if len(r.nums) == 0 {
		return
	}
	if r.moved {
		for _, num := range r.nums {
			r.s.table.finish(num)
		}
	}
	p := newPage(r.seq, slices.Clone(r.nums), r.size)
	p.keepUntil, p.created = r.keep, r.created
	r.s.table.add(p, r.moved)
	r.nums = r.nums[:0]
}

func (r *recovery) put(it *Item) {
	s := r.s
	// A moved item's number is one that came before. Its first record may have
	// been cut off, and then it is new here.
	r.moved = r.moved || it.num < s.next
	if !s.table.has(it.num) {
		r.waits[it.lane] = append(r.waits[it.lane], sleeper{ref{it.num, hashKey(it.Key)}, millis(it.At)})
	}
	s.next = max(s.next, it.num+1)
	if len(r.nums) == 0 {
		r.created = millis(it.Created)
	}
	r.nums = append(r.nums, it.num)
	r.keep = max(r.keep, it.until)
	if it.until > s.dedup[it.lane+"\x00"+it.Dedup].until {
		s.dedup[it.lane+"\x00"+it.Dedup] = first{itemID(s.index, it.num, it.salt), it.until, true}
	}
	if it.tries > 0 {
		r.fails[it.num] = &failure{num: it.num, at: millis(it.At), tries: it.tries}
		r.past[it.num] = it.history
	}
}

func (r *recovery) fail(f *failure) {
	r.page()
	if !r.s.table.has(f.num) {
		return
	}
	r.fails[f.num] = f
	r.past[f.num] = append(r.past[f.num], f.last)
}

func (r *recovery) done(num uint64) {
	r.page()
	r.s.table.finish(num)
	delete(r.fails, num)
	delete(r.past, num)
}

func (r *recovery) seen(x *seen) {
	x.durable = true
	r.s.dedup[x.lane+"\x00"+x.dedup] = x.first
	r.s.table.keep(r.seq, x.until, r.size)
}

// settle lets every unfinished item wait in its lane.
func (r *recovery) settle() {
	s := r.s
	now := time.Now().UnixMilli()
	for name, waits := range r.waits {
		waits = slices.DeleteFunc(waits, func(w sleeper) bool { return !s.table.has(w.num) })
		if len(waits) == 0 {
			continue
		}
		slices.SortFunc(waits, func(a, b sleeper) int { return cmp.Compare(a.num, b.num) })
		l := s.lane(name)
		for _, w := range waits {
			l.total++
			if f := r.fails[w.num]; f != nil {
				r.failed(l, w, f, now)
			} else if w.at > now {
				l.sleep(w.ref, w.at)
			} else {
				l.fresh.push(w.ref)
			}
		}
		if l.fresh.len()+l.urgent.len() > 0 {
			l.signal()
		}
	}
}

// failed puts an item that failed before back in its place of its key.
func (r *recovery) failed(l *Lane, w sleeper, f *failure, now int64) {
	f.key = w.key
	l.fails[w.num] = f
	history := r.past[w.num]
	l.history[w.num] = history[max(0, len(history)-maxHistory):]
	if w.key != 0 && l.keys[w.key] == nil {
		l.keys[w.key] = &keyed{holder: w.num}
	}
	switch k := l.keys[w.key]; {
	case w.key != 0 && k.holder != w.num:
		k.behind.push(w.ref)
		l.blocked++
	case f.at > now:
		l.sleep(w.ref, f.at)
	default:
		l.urgent.push(w.ref)
	}
}
