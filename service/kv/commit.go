package kv

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// txn is one caller's operations, all done or none.
type txn struct {
	store   string // "app/store"
	spec    *storeSpec
	ops     []Op
	cause   string                  // the traceparent of the write; "" where none is known
	hops    int                     // functions that the cause went through
	cursor  uint64                  // a delivered revision to note, instead of ops
	expired []*entry                // entries whose time is up, instead of ops
	listens func(store string) bool // of expired
	results []Result
	err     error
	done    chan struct{} // closed when results and err are set
}

// groupBytes is how large a record grows before the rest waits for the next.
const groupBytes = 1 << 20

// commit queues t and waits for it. Where ctx ends first t may still be done.
func (s *shard) commit(ctx context.Context, t *txn) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	t.done = make(chan struct{})
	s.q.Lock()
	s.pending = append(s.pending, t)
	if !s.busy {
		s.busy = true
		go s.drain()
	}
	s.q.Unlock()
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return mayfly.Errorf(mayfly.Timeout, "write to key-value store", "the write is not acknowledged; it may still happen: %w", ctx.Err())
	}
}

// drain is the writer: it works until nothing is pending.
func (s *shard) drain() {
	for {
		s.q.Lock()
		group := s.pending
		s.pending = nil
		if len(group) == 0 {
			s.busy = false
			s.idle.Broadcast()
			s.q.Unlock()
			return
		}
		s.q.Unlock()
		for len(group) > 0 {
			group = group[s.write(group):]
		}
		s.clean()
	}
}

// wait returns when the writer has ended.
func (s *shard) wait() {
	s.q.Lock()
	defer s.q.Unlock()
	for s.busy {
		s.idle.Wait()
	}
}

// write decides and appends a part of the group as one record, tells its
// writers, and returns how many it was.
func (s *shard) write(group []*txn) (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	log := s.log.Load()
	if s.stale {
		if err := s.catchUp(ctx, log); err != nil {
			return finish(group, err)
		}
		s.stale = false
	}
	d := decider{shard: s, ctx: ctx, now: time.Now(), staged: map[string]*entry{}, bytes: map[string]int64{}, revision: s.revision}
	record := beginRecord(d.now)
	empty := len(record)
	for n < len(group) && (n == 0 || len(record) < groupBytes) {
		t := group[n]
		n++
		var ops []operation
		if ops, t.err = d.decide(t); t.err != nil {
			continue
		}
		grown := record
		for i := range ops {
			grown = appendOp(grown, &ops[i])
		}
		if len(grown) > log.MaxRecord() {
			if len(d.ops) > 0 { // alone it may fit: next time
				n--
				break
			}
			t.err = mayfly.Errorf(mayfly.TooLarge, "write to key-value store", "the batch takes %d bytes with the values it replaces, the limit is %d", len(grown), log.MaxRecord())
			continue
		}
		record = grown
		d.stage(ops)
	}
	if len(record) > empty {
		if err := s.append(ctx, log, record, d.ops); err != nil {
			return finish(group[:n], err)
		}
		s.counted(d.bytes)
	}
	return finish(group[:n], nil)
}

// finish tells the writers of a group; err is for those that have none yet.
func finish(group []*txn, err error) int {
	for _, t := range group {
		if t.err == nil {
			t.err = err
		}
		close(t.done)
	}
	return len(group)
}

// append makes a record durable, then visible.
func (s *shard) append(ctx context.Context, log Log, record []byte, ops []operation) error {
	seq, err := log.Append(ctx, record)
	if err != nil {
		s.stale = true
		return fmt.Errorf("append to key-value shard %d: %w", s.index, err)
	}
	var changed []pendingChange
	s.mem.mu.Lock()
	for i := range ops {
		s.take(&ops[i], seq)
		if ops[i].changed {
			changed = append(changed, pendingChange{seq, ops[i].revision})
		}
	}
	s.mem.mu.Unlock()
	s.grow(seq, record)
	s.changes.add(changed, s.cursor)
	s.watch.tell(ops)
	return nil
}

// decider evaluates transactions against memory and against what the earlier
// ones of the same group do.
type decider struct {
	shard    *shard
	ctx      context.Context
	now      time.Time
	ops      []operation       // of all transactions so far
	staged   map[string]*entry // by store and key; nil where deleted
	bytes    map[string]int64  // by store: growth
	revision uint64
}

func stagedKey(store, key string) string { return store + "\x00" + key }

// stage makes a decided transaction the base of the next.
func (d *decider) stage(ops []operation) {
	for i := range ops {
		op := &ops[i]
		d.revision = max(d.revision, op.revision)
		if op.kind == opCursor {
			continue
		}
		old := d.current(nil, op.store, op.key)
		if old != nil {
			d.bytes[op.store] -= old.cost()
		}
		var e *entry
		if op.kind == opPut {
			e = staged(op)
			d.bytes[op.store] += e.cost()
		}
		d.staged[stagedKey(op.store, op.key)] = e
	}
	d.ops = append(d.ops, ops...)
}

func staged(op *operation) *entry {
	return &entry{key: op.key, mime: op.mime, value: op.value, size: len(op.value), revision: op.revision, expires: op.expires, cached: true}
}

// current is the entry of a key, also one whose time is up, as the operations in
// own and those staged leave it.
func (d *decider) current(own map[string]*entry, store, key string) *entry {
	if e, ok := own[key]; ok {
		return e
	}
	if e, ok := d.staged[stagedKey(store, key)]; ok {
		return e
	}
	d.shard.mem.mu.RLock()
	defer d.shard.mem.mu.RUnlock()
	e := d.shard.mem.lookup(store, key)
	if e == nil {
		return nil
	}
	copied := *e
	return &copied
}

// decide turns a transaction into operations or refuses it whole.
func (d *decider) decide(t *txn) ([]operation, error) {
	switch {
	case t.cursor != 0:
		return []operation{{kind: opCursor, revision: t.cursor}}, nil
	case t.expired != nil:
		return d.expire(t)
	}
	var ops []operation
	own := map[string]*entry{}
	growth := d.bytes[t.store]
	revision := d.revision
	t.results = make([]Result, len(t.ops))
	for i := range t.ops {
		o := &t.ops[i]
		cur := d.current(own, t.store, o.Key)
		alive := cur
		if !cur.live(d.now) {
			alive = nil
		}
		op, err := d.one(o, alive, t.spec, &t.results[i])
		if err != nil {
			return nil, err
		}
		if op == nil {
			continue
		}
		revision++
		op.store, op.key, op.revision, op.changed = t.store, o.Key, revision, t.spec.listened
		if op.changed {
			op.cause, op.hops = t.cause, t.hops
			if err := d.before(op, alive); err != nil {
				return nil, err
			}
		}
		if cur != nil {
			growth -= cur.cost()
		}
		own[o.Key] = nil
		if op.kind == opPut {
			own[o.Key] = staged(op)
			growth += own[o.Key].cost()
			t.results[i].Revision = revision
		}
		ops = append(ops, *op)
	}
	return ops, d.quota(t, growth)
}

// one is the operation of one Op on a key whose live entry is cur; nil where
// there is nothing to do.
func (d *decider) one(o *Op, cur *entry, spec *storeSpec, r *Result) (*operation, error) {
	var revision uint64
	if cur != nil {
		revision = cur.revision
		r.Found = true
	}
	r.Revision = revision
	if o.If != nil && *o.If != revision {
		return nil, mayfly.Errorf(mayfly.Conflict, "write key "+o.Key, "the key has revision %d, not %d as the condition says", revision, *o.If)
	}
	switch o.Kind {
	case Put:
		return &operation{kind: opPut, mime: o.ContentType, value: o.Value, expires: expiry(d.now, o.TTL, spec.ttl)}, nil
	case Increment:
		return d.increment(o, cur, spec, r)
	case Delete:
		if cur != nil {
			return &operation{kind: opDelete}, nil
		}
	case Check:
	}
	return nil, nil
}

// increment keeps the end of life of a number that is there.
func (d *decider) increment(o *Op, cur *entry, spec *storeSpec, r *Result) (*operation, error) {
	op := &operation{kind: opPut, mime: "application/json", expires: expiry(d.now, o.TTL, spec.ttl)}
	n := int64(0)
	if cur != nil {
		data, err := d.value(cur, spec.name, o.Key)
		if err != nil {
			return nil, err
		}
		if n, err = strconv.ParseInt(string(data), 10, 64); err != nil {
			return nil, mayfly.Errorf(mayfly.Conflict, "increment key "+o.Key, "its value is not a whole number")
		}
		if o.TTL == nil {
			op.expires = cur.expires
		}
	}
	if sum := n + o.By; (sum > n) == (o.By > 0) {
		r.Number = sum
	} else {
		return nil, mayfly.Errorf(mayfly.Conflict, "increment key "+o.Key, "%d and %d pass the range of 64 bits", n, o.By)
	}
	op.value = strconv.AppendInt(nil, r.Number, 10)
	return op, nil
}

func expiry(now time.Time, ttl *time.Duration, standard time.Duration) int64 {
	life := standard
	if ttl != nil {
		life = *ttl
	}
	if life <= 0 {
		return 0
	}
	return now.Add(life).UnixMilli()
}

// before notes the value that a change replaces.
func (d *decider) before(op *operation, cur *entry) error {
	if cur == nil {
		return nil
	}
	old, err := d.value(cur, op.store, op.key)
	if err != nil {
		return err
	}
	op.old, op.oldMIME, op.oldRev = old, cur.mime, cur.revision
	return nil
}

func (d *decider) value(e *entry, store, key string) ([]byte, error) {
	if e.cached || e.size == 0 {
		return e.value, nil
	}
	return d.shard.fetch(d.ctx, e.seq, store, key, e.revision)
}

func (d *decider) quota(t *txn, growth int64) error {
	if err := d.share(t, growth); err != nil {
		return err
	}
	if t.spec.quota <= 0 || growth <= d.bytes[t.store] {
		return nil
	}
	_, used := d.shard.mem.holds(t.store)
	if used+growth > t.spec.quota {
		return mayfly.Errorf(mayfly.Quota, "write to key-value store", "store %s holds %d bytes and may hold %d; delete keys or raise its quota", t.store, used, t.spec.quota)
	}
	return nil
}

// expire deletes the entries of t that are still as they were.
func (d *decider) expire(t *txn) (ops []operation, err error) {
	revision := d.revision
	for _, e := range t.expired {
		cur := d.current(nil, e.store.name, e.key)
		if cur == nil || cur.revision != e.revision {
			continue
		}
		revision++
		op := operation{kind: opExpire, store: e.store.name, key: e.key, revision: revision, changed: t.listens(e.store.name)}
		if op.changed {
			if err := d.before(&op, cur); err != nil {
				return nil, err
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}
