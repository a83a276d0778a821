package event

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Lane is the items for one receiver. All of its fields but the names belong to
// its shard's lock.
type Lane struct {
	name  string
	shard *shard
	ready chan struct{} // holds a token while there may be something to take

	fresh   deque               // came in order
	urgent  deque               // their turn came before: retries, the next of a key
	keys    map[uint64]*keyed   // keys of which an item is leased or failed
	leases  map[uint64]*holding // by number
	fails   map[uint64]*failure
	history map[uint64][]Attempt
	total   int // unfinished items
	asleep  int // of them in the shard's heap, their time not come
	blocked int // of them behind another of their key
	paused  bool
}

// keyed is a key that is busy. Invariant: every other item of the key waits in
// behind, or in fresh at a later place than all of behind.
type keyed struct {
	holder uint64 // the item that is leased, failed or next
	behind deque
}

type holding struct {
	ref   ref
	token uint64
	until int64
	since int64
	by    string
}

var keySeed = maphash.MakeSeed()

func hashKey(key string) uint64 {
	if key == "" {
		return 0
	}
	return maphash.String(keySeed, key) | 1
}

func newLane(s *shard, name string) *Lane {
	return &Lane{
		name: name, shard: s, ready: make(chan struct{}, 1),
		keys: map[uint64]*keyed{}, leases: map[uint64]*holding{}, fails: map[uint64]*failure{}, history: map[uint64][]Attempt{},
	}
}

// Name is the lane's name.
func (l *Lane) Name() string { return l.name }

// Ready holds a token while there may be something to take. A receiver that
// took a token and leaves something behind need not give it back: Take does.
func (l *Lane) Ready() <-chan struct{} { return l.ready }

func (l *Lane) signal() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// SetPaused stops or resumes what Take gives.
func (l *Lane) SetPaused(paused bool) {
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	l.paused = paused
	if !paused {
		l.signal()
	}
}

// admit lets an item that is durable in. It is called with the shard's lock.
func (l *Lane) admit(it *Item, now int64) {
	l.total++
	r := ref{it.num, hashKey(it.Key)}
	if at := millis(it.At); at > now {
		l.sleep(r, at)
		return
	}
	l.fresh.push(r)
	l.signal()
}

func (l *Lane) sleep(r ref, at int64) {
	l.asleep++
	l.shard.due.add(due{at: at, ref: r, lane: l})
}

// wake is called when a sleeping item's time has come.
func (l *Lane) wake(r ref) {
	l.asleep--
	if !l.shard.table.has(r.num) {
		return
	}
	if k := l.keys[r.key]; r.key != 0 && k != nil && k.holder != r.num {
		k.behind.push(r)
		l.blocked++
		return
	}
	if l.fails[r.num] != nil {
		l.urgent.push(r)
	} else {
		l.fresh.push(r)
	}
	l.signal()
}

// next is the item to lease next; false where nothing can be leased.
func (l *Lane) next() (ref, bool) {
	for l.urgent.len()+l.fresh.len() > 0 && !l.paused {
		var r ref
		if l.urgent.len() > 0 {
			r = l.urgent.pop()
		} else {
			r = l.fresh.pop()
		}
		if !l.shard.table.has(r.num) {
			continue
		}
		if r.key == 0 {
			return r, true
		}
		k := l.keys[r.key]
		switch {
		case k == nil:
			l.keys[r.key] = &keyed{holder: r.num}
			return r, true
		case k.holder == r.num:
			return r, true
		}
		k.behind.push(r)
		l.blocked++
	}
	return ref{}, false
}

// release makes the next item of a key the one whose turn it is.
func (l *Lane) release(r ref) {
	k := l.keys[r.key]
	if r.key == 0 || k == nil || k.holder != r.num {
		return
	}
	for k.behind.len() > 0 {
		next := k.behind.pop()
		l.blocked--
		if l.shard.table.has(next.num) {
			k.holder = next.num
			l.urgent.push(next)
			l.signal()
			return
		}
	}
	delete(l.keys, r.key)
}

// Take leases up to n items to by for the time given, without waiting. Each
// must be ended by Done, Fail or Release, or its lease ends by itself, within a
// second of its time, and counts as a failed attempt.
func (l *Lane) Take(ctx context.Context, n int, visibility time.Duration, by string) ([]*Lease, error) {
	s := l.shard
	now := time.Now().UnixMilli()
	var leases []*Lease
	s.mu.Lock()
	for len(leases) < n {
		r, ok := l.next()
		if !ok {
			break
		}
		leases = append(leases, l.hold(r, now, visibility, by))
	}
	if !l.paused && l.urgent.len()+l.fresh.len() > 0 {
		l.signal()
	}
	s.mu.Unlock()
	return s.fill(ctx, leases)
}

func (l *Lane) hold(r ref, now int64, visibility time.Duration, by string) *Lease {
	s := l.shard
	s.token++
	h := &holding{ref: r, token: s.token, until: now + visibility.Milliseconds(), since: now, by: by}
	l.leases[r.num] = h
	return l.leaseOf(h)
}

// leaseOf makes the lease of a holding, without its item.
func (l *Lane) leaseOf(h *holding) *Lease {
	le := &Lease{lane: l, ref: h.ref, token: h.token, Attempt: 1, Until: fromMillis(h.until), since: h.since, History: l.history[h.ref.num]}
	if f := l.fails[h.ref.num]; f != nil {
		le.Attempt = f.tries + 1
	}
	return le
}

// lapse ends the leases whose time is up.
func (l *Lane) lapse(now int64) {
	for _, h := range l.leases {
		if h.until <= now {
			l.fail(h, 0, Attempt{At: fromMillis(now), Error: "the lease of " + h.by + " ended without an answer"})
		}
	}
}

// fail ends a lease with a counted attempt. at is 0 or when to try again.
func (l *Lane) fail(h *holding, at int64, last Attempt) {
	delete(l.leases, h.ref.num)
	f := l.fails[h.ref.num]
	if f == nil {
		f = &failure{num: h.ref.num, key: h.ref.key}
		l.fails[h.ref.num] = f
	}
	if len(last.Error) > maxReason {
		last.Error = last.Error[:maxReason]
	}
	f.at, f.tries, f.last = at, f.tries+1, last
	l.remember(f)
	entry := *f
	l.shard.fails = append(l.shard.fails, &entry)
	l.shard.settled()
	l.again(h.ref, at)
}

func (l *Lane) remember(f *failure) {
	history := append(l.history[f.num][:len(l.history[f.num]):len(l.history[f.num])], f.last)
	if len(history) > maxHistory {
		history = history[len(history)-maxHistory:]
	}
	l.history[f.num] = history
}

// again puts an item back to wait for its turn, in its place of the key.
func (l *Lane) again(r ref, at int64) {
	if at > time.Now().UnixMilli() {
		l.sleep(r, at)
		l.shard.alarm(at)
		return
	}
	l.urgent.push(r)
	l.signal()
}

// finish removes an item for good. It reports whether it was unfinished.
func (l *Lane) finish(r ref) bool {
	s := l.shard
	p := s.table.finish(r.num)
	if p == nil {
		return false
	}
	if p.live == 0 {
		s.cache.drop(p.seq)
	}
	delete(l.leases, r.num)
	delete(l.fails, r.num)
	delete(l.history, r.num)
	l.total--
	l.release(r)
	s.done = append(s.done, r.num)
	s.settled()
	return true
}

// Put accepts items: all of them, durably, or none. It fills their ids.
func (l *Lane) Put(ctx context.Context, items ...*Item) error { return l.shard.put(ctx, l, items) }

// Lease is an item that a receiver holds.
type Lease struct {
	Item
	Attempt int // 1 for the first
	Until   time.Time
	since   int64
	History []Attempt // of the failures before

	lane  *Lane
	ref   ref
	token uint64
}

// Token tells this lease from an earlier one of the same item.
func (le *Lease) Token() uint64 { return le.token }

// Received is when the lease began.
func (le *Lease) Received() time.Time { return fromMillis(le.since) }

// Since is from when on the item waited for this delivery: since it was
// accepted, or since the attempt before failed.
func (le *Lease) Since() time.Time {
	if n := len(le.History); n > 0 {
		return le.History[n-1].At
	}
	return le.Created
}

// Lane is where the item is.
func (le *Lease) Lane() *Lane { return le.lane }

func (le *Lease) with(fn func(h *holding)) bool {
	s := le.lane.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	h := le.lane.leases[le.ref.num]
	if h == nil || h.token != le.token {
		return false
	}
	fn(h)
	return true
}

// Done finishes the item. It reports false where the lease had ended and the
// item is another's; the work was then done twice, or will be.
func (le *Lease) Done() bool {
	return le.with(func(h *holding) { le.lane.finish(h.ref) })
}

// Fail counts an attempt; the item is offered again at the time given, the zero
// time for at once.
func (le *Lease) Fail(at time.Time, last Attempt) bool {
	return le.with(func(h *holding) { le.lane.fail(h, millis(at), last) })
}

// Release gives the item back without counting an attempt.
func (le *Lease) Release(at time.Time) bool {
	return le.with(func(h *holding) {
		delete(le.lane.leases, h.ref.num)
		le.lane.again(h.ref, millis(at))
	})
}

// Extend makes the lease last for the time given from now.
func (le *Lease) Extend(visibility time.Duration) bool {
	return le.with(func(h *holding) {
		h.until = time.Now().Add(visibility).UnixMilli()
	})
}

// Held returns an open lease by the id of its item and its token, for receivers
// that answer in another request. It returns a Conflict error where the lease
// ended, NotFound where the item is finished.
func (l *Lane) Held(ctx context.Context, id string, token uint64) (*Lease, error) {
	le, err := l.held(id, token)
	if err != nil {
		return nil, err
	}
	items, err := l.shard.load(ctx, []uint64{le.ref.num})
	if err != nil {
		return nil, err
	}
	if items[0] == nil || items[0].ID != id {
		return nil, mayfly.Errorf(mayfly.NotFound, "find message", "there is no message %s; it may have been dealt with already", id)
	}
	le.Item = *items[0]
	return le, nil
}

func (l *Lane) held(id string, token uint64) (*Lease, error) {
	s := l.shard
	index, num, ok := parseID(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || index != s.index || !s.table.has(num) {
		return nil, mayfly.Errorf(mayfly.NotFound, "find message", "there is no message %s; it may have been dealt with already", id)
	}
	h := l.leases[num]
	if h == nil || h.token != token {
		return nil, mayfly.Errorf(mayfly.Conflict, "find message", "the lease of message %s has ended; it will be, or was, given to another receiver", id)
	}
	return l.leaseOf(h), nil
}
