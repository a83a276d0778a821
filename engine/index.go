package engine

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-cloud/mayfly"
)

// Index is the config bucket in memory, kept by one watcher. Reads take no
// network hop; a write returns when the index has reached its revision, so that
// a process reads its own writes.
type Index struct {
	bucket *Bucket
	done   chan struct{} // closed when the watcher's goroutine has ended

	applying sync.Mutex // held while one entry is taken in

	mu      sync.RWMutex
	watch   jetstream.KeyWatcher // guarded by mu; follow reads from it, or has read the one before to its end
	entries map[string]Entry     // guarded by mu
	keys    []string             // guarded by mu; sorted
	seen    uint64               // guarded by mu; the last revision applied
	waiters map[chan struct{}]uint64
	hooks   map[int]hook // guarded by mu
	next    int          // guarded by mu
}

// Entry is a key's value. Value must not be written to.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// Change is a write or a removal of a key.
type Change struct {
	Entry
	Deleted bool
}

type hook struct {
	prefix string
	fn     func(Change)
}

func openIndex(ctx context.Context, b *Bucket) (*Index, error) {
	x := &Index{
		bucket: b, done: make(chan struct{}),
		entries: map[string]Entry{}, waiters: map[chan struct{}]uint64{}, hooks: map[int]hook{},
	}
	if err := x.read(ctx); err != nil {
		return nil, err
	}
	go x.follow()
	return x, nil
}

// read watches the bucket and takes in all that is there.
func (x *Index) read(ctx context.Context) error {
	// The watcher outlives ctx, which bounds the first read alone.
	watch, err := x.bucket.kv.WatchAll(context.WithoutCancel(ctx))
	if err != nil {
		return problem("watch "+x.bucket.name, err)
	}
	for {
		select {
		case entry, ok := <-watch.Updates():
			if !ok {
				return mayfly.Errorf(mayfly.Unavailable, "open engine", "the config bucket cannot be watched")
			}
			if entry == nil { // all that was there has been read
				x.mu.Lock()
				defer x.mu.Unlock()
				x.watch = watch
				return nil
			}
			x.apply(entry)
		case <-ctx.Done():
			_ = watch.Stop()
			return ctx.Err()
		}
	}
}

// again watches anew, where the server has forgotten the watcher. No write may be
// under way.
func (x *Index) again(ctx context.Context) error {
	ctx, cancel := x.bucket.engine.call(ctx)
	defer cancel()
	x.mu.RLock()
	old := x.watch
	x.mu.RUnlock()
	if err := x.read(ctx); err != nil {
		return err
	}
	return old.Stop()
}

func (x *Index) follow() {
	defer close(x.done)
	for last := jetstream.KeyWatcher(nil); ; {
		x.mu.RLock()
		watch := x.watch
		x.mu.RUnlock()
		if watch == last {
			return
		}
		for entry := range watch.Updates() {
			if entry != nil {
				x.apply(entry)
			}
		}
		last = watch
	}
}

// apply takes one entry in that is newer than all before, tells hooks, then wakes
// writers: a writer that returns knows that the hooks have run.
func (x *Index) apply(entry jetstream.KeyValueEntry) {
	x.applying.Lock()
	defer x.applying.Unlock()
	x.mu.RLock()
	seen := x.seen
	x.mu.RUnlock()
	if entry.Revision() <= seen {
		return
	}
	c := Change{
		Entry:   Entry{Key: entry.Key(), Value: entry.Value(), Revision: entry.Revision()},
		Deleted: entry.Operation() != jetstream.KeyValuePut,
	}
	x.mu.Lock()
	x.set(c)
	var hooks []hook
	for _, h := range x.hooks {
		if strings.HasPrefix(c.Key, h.prefix) {
			hooks = append(hooks, h)
		}
	}
	x.mu.Unlock()
	for _, h := range hooks {
		h.fn(c)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen = c.Revision
	for ch, rev := range x.waiters {
		if rev <= x.seen {
			close(ch)
			delete(x.waiters, ch)
		}
	}
}

func (x *Index) set(c Change) {
	i, found := slices.BinarySearch(x.keys, c.Key)
	switch {
	case c.Deleted && found:
		delete(x.entries, c.Key)
		x.keys = slices.Delete(slices.Clone(x.keys), i, i+1)
	case !c.Deleted:
		x.entries[c.Key] = c.Entry
		if !found && i == len(x.keys) { // in place: readers hold shorter slices
			x.keys = append(x.keys, c.Key)
		} else if !found {
			x.keys = slices.Insert(slices.Clone(x.keys), i, c.Key)
		}
	}
}

// Get returns a key's value, which must not be written to.
func (x *Index) Get(key string) (value []byte, rev uint64, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.entries[key]
	return e.Value, e.Revision, ok
}

// List yields the entries whose keys begin with prefix, in the keys' order. A
// key that is removed meanwhile is left out.
func (x *Index) List(prefix string) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		x.mu.RLock()
		keys := x.keys
		x.mu.RUnlock()
		i, _ := slices.BinarySearch(keys, prefix)
		for ; i < len(keys) && strings.HasPrefix(keys[i], prefix); i++ {
			x.mu.RLock()
			e, ok := x.entries[keys[i]]
			x.mu.RUnlock()
			if ok && !yield(e) {
				return
			}
		}
	}
}

// Put writes a value whose last revision is rev; rev 0 means that the key must
// not exist. It returns a Conflict error where the revision is another, and
// returns when this index has the write.
func (x *Index) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	rev, err := x.bucket.Put(ctx, key, value, rev)
	if err != nil {
		return 0, err
	}
	return rev, x.reach(ctx, rev)
}

// Delete removes a key whose last revision is rev, 0 for any, and returns when
// this index has no such key.
func (x *Index) Delete(ctx context.Context, key string, rev uint64) error {
	_, before, _ := x.Get(key)
	if err := x.bucket.Delete(ctx, key, rev); err != nil {
		return err
	}
	for {
		x.mu.RLock()
		entry, there := x.entries[key]
		seen := x.seen
		x.mu.RUnlock()
		if !there || entry.Revision != before {
			return nil
		}
		if err := x.reach(ctx, seen+1); err != nil {
			return err
		}
	}
}

// reach waits until the index has applied the revision.
func (x *Index) reach(ctx context.Context, rev uint64) error {
	ctx, cancel := x.bucket.engine.call(ctx)
	defer cancel()
	x.mu.Lock()
	if x.seen >= rev {
		x.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	x.waiters[ch] = rev
	x.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-x.done:
		return mayfly.Errorf(mayfly.Unavailable, "write config", "the engine is closing")
	case <-ctx.Done():
		x.mu.Lock()
		delete(x.waiters, ch)
		x.mu.Unlock()
		return mayfly.Errorf(mayfly.Timeout, "write config", "the index did not reach revision %d in time: %w", rev, ctx.Err())
	}
}

// History returns the values that a key had, oldest first, the last five kept.
func (x *Index) History(ctx context.Context, key string) ([]Change, error) {
	ctx, cancel := x.bucket.engine.call(ctx)
	defer cancel()
	entries, err := x.bucket.kv.History(ctx, key)
	if err != nil {
		return nil, x.bucket.problem("read", key, err)
	}
	var out []Change
	for _, e := range entries {
		out = append(out, Change{
			Entry:   Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision()},
			Deleted: e.Operation() != jetstream.KeyValuePut,
		})
	}
	return out, nil
}

// Watch calls fn for each later change of a key that begins with prefix, one
// at a time and in order. fn must be quick and must not write to the index. The
// returned function ends it.
func (x *Index) Watch(prefix string, fn func(Change)) (stop func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	id := x.next
	x.next++
	x.hooks[id] = hook{prefix, fn}
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.hooks, id)
	}
}

func (x *Index) close() {
	x.mu.RLock()
	watch := x.watch
	x.mu.RUnlock()
	_ = watch.Stop()
	<-x.done
}
