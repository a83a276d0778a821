package event

import (
	"context"
	"slices"
	"time"
)

// State is what an item is doing.
type State string

const (
	Available State = "ready"    // could be taken now
	Sleeping  State = "delayed"  // sent for a later time
	Backoff   State = "backoff"  // failed; waits for the next attempt
	Behind    State = "ordered"  // waits for an earlier item of its key
	Leased    State = "running"  // a receiver has it
	Halted    State = "paused"   // its lane is paused
	Finished  State = "finished" // done, dead or cancelled
)

// Waiting is an unfinished item and why it waits.
type Waiting struct {
	Item
	State    State
	Attempts int       // that failed
	Until    time.Time // of a lease, a delay or a backoff
	By       string    // who leases it
	BehindID string    // the item that holds its key
	Poisoned int       // how often that one failed
	History  []Attempt
}

// Stats count a lane's items.
type Stats struct {
	Total   int // unfinished
	Ready   int
	Leased  int
	Delayed int // sleeping or in backoff
	Blocked int // behind another of their key
	Failing int // of all, those that failed at least once
	Paused  bool
	Oldest  time.Time // when the record of the oldest item was written; zero where empty
}

// LaneName is the name of the lane that the item is in.
func (w *Waiting) LaneName() string { return w.lane }

// Stats counts the lane's items.
func (l *Lane) Stats() Stats {
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	return Stats{
		Total: l.total, Leased: len(l.leases), Delayed: l.asleep, Blocked: l.blocked, Failing: len(l.fails), Paused: l.paused,
		Ready: max(0, l.total-len(l.leases)-l.asleep-l.blocked), Oldest: l.oldest(),
	}
}

// oldest is when the first of the unfinished items was accepted.
func (l *Lane) oldest() time.Time {
	var created int64
	consider := func(num uint64) bool {
		p, _ := l.shard.table.find(num)
		if p != nil && (created == 0 || p.created < created) {
			created = p.created
		}
		return p != nil
	}
	for num := range l.leases {
		consider(num)
	}
	for num := range l.fails {
		consider(num)
	}
	for _, list := range []*deque{&l.urgent, &l.fresh} {
		for _, r := range list.all() {
			if consider(r.num) {
				break
			}
		}
	}
	return fromMillis(created)
}

// Peek describes up to n unfinished items: first those that are leased or
// failed, then those that wait, in order.
func (l *Lane) Peek(ctx context.Context, n int) ([]*Waiting, error) {
	l.shard.mu.Lock()
	refs := l.some(n)
	l.shard.mu.Unlock()
	return l.describeAll(ctx, refs)
}

// eachPage is how many items Each reads at once.
const eachPage = 256

// Each visits the items that are unfinished now, in the order of Peek, and a part
// of them in memory at a time. It ends at the first error of visit and returns
// it.
func (l *Lane) Each(ctx context.Context, visit func(*Waiting) error) error {
	l.shard.mu.Lock()
	refs := l.some(l.total)
	l.shard.mu.Unlock()
	for part := range slices.Chunk(refs, eachPage) {
		items, err := l.describeAll(ctx, part)
		if err != nil {
			return err
		}
		for _, w := range items {
			if err := visit(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// describeAll describes those of the items that are unfinished.
func (l *Lane) describeAll(ctx context.Context, refs []ref) ([]*Waiting, error) {
	s := l.shard
	nums := make([]uint64, len(refs))
	for i, r := range refs {
		nums[i] = r.num
	}
	items, err := s.load(ctx, nums)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UnixMilli()
	var out []*Waiting
	for _, it := range items {
		if it != nil && s.table.has(it.num) {
			out = append(out, l.describe(it, now))
		}
	}
	return out, nil
}

// some returns up to n unfinished items.
func (l *Lane) some(n int) []ref {
	seen := map[uint64]bool{}
	var refs []ref
	add := func(r ref) bool {
		if len(refs) < n && !seen[r.num] && l.shard.table.has(r.num) {
			seen[r.num] = true
			refs = append(refs, r)
		}
		return len(refs) < n
	}
	for _, h := range l.leases {
		add(h.ref)
	}
	for num, f := range l.fails {
		add(ref{num, f.key})
	}
	lists := []*deque{&l.urgent, &l.fresh}
	for _, k := range l.keys {
		lists = append(lists, &k.behind)
	}
	for _, list := range lists {
		for _, r := range list.all() {
			if !add(r) {
				return refs
			}
		}
	}
	for _, d := range l.shard.due {
		if d.lane == l && !add(d.ref) {
			break
		}
	}
	return refs
}

func (l *Lane) describe(it *Item, now int64) *Waiting {
	w := &Waiting{Item: *it, State: Available, History: l.history[it.num]}
	if f := l.fails[it.num]; f != nil {
		w.Attempts = f.tries
		w.Until = fromMillis(f.at)
	} else {
		w.Until = it.At
	}
	key := hashKey(it.Key)
	k := l.keys[key]
	switch h := l.leases[it.num]; {
	case h != nil:
		w.State, w.Until, w.By = Leased, fromMillis(h.until), h.by
	case key != 0 && k != nil && k.holder != it.num:
		w.State, w.BehindID = Behind, l.idOf(k.holder)
		if f := l.fails[k.holder]; f != nil {
			w.Poisoned, w.Until = f.tries, fromMillis(f.at)
		}
	case w.Until.UnixMilli() > now && w.Attempts > 0:
		w.State = Backoff
	case w.Until.UnixMilli() > now:
		w.State = Sleeping
	case l.paused:
		w.State = Halted
	}
	return w
}

// idOf is the id of an item whose record is cached, "" of another.
func (l *Lane) idOf(num uint64) string {
	p, i := l.shard.table.find(num)
	if p == nil {
		return ""
	}
	if items, ok := l.shard.cache.get(p.seq); ok {
		return items[i].ID
	}
	return ""
}

// Purge finishes every item that is not leased and returns how many.
func (l *Lane) Purge() int {
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	n := 0
	for _, r := range l.some(l.total) {
		if l.leases[r.num] == nil && l.finish(r) {
			n++
		}
	}
	return n
}
