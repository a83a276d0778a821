package kv

import (
	"bytes"
	"container/heap"
	"slices"
	"strings"
	"sync"
	"time"
)

// entry is a key's value in memory. Its fields change under the shard's lock;
// the bytes of a value never do.
type entry struct {
	store    *storeData
	key      string
	mime     string
	value    []byte // nil where only the log has it, or it is empty
	size     int    // of the value
	revision uint64
	expires  int64  // Unix milliseconds, 0: never
	seq      uint64 // of the record that holds it
	cached   bool   // value is in memory and counted
	gone     bool   // replaced or deleted
}

func (e *entry) live(now time.Time) bool {
	return e != nil && (e.expires == 0 || now.UnixMilli() < e.expires)
}

// cost is what an entry counts towards a quota and towards live bytes.
func (e *entry) cost() int64 { return int64(len(e.key) + e.size) }

// storeData is one store in memory.
type storeData struct {
	name    string // "app/store"
	entries map[string]*entry
	keys    keyList
	bytes   int64
}

// memory is a shard's state. Its methods need mu held, for writing unless they
// say otherwise.
type memory struct {
	mu      sync.RWMutex
	stores  map[string]*storeData // guarded by mu
	expiry  expiryHeap            // guarded by mu; may hold entries that are gone
	live    int64                 // guarded by mu; bytes that still count
	entries int                   // guarded by mu; of all stores

	budget int64    // bytes of values kept in memory
	cached int64    // guarded by mu
	ring   []*entry // guarded by mu; cached entries, oldest first; may hold others
}

func newMemory(budget int64) *memory {
	return &memory{stores: map[string]*storeData{}, budget: budget}
}

// lookup is the entry of a key, nil where there is none. Holding mu for reading
// is enough.
func (m *memory) lookup(store, key string) *entry {
	s := m.stores[store]
	if s == nil {
		return nil
	}
	return s.entries[key]
}

// holds is how many keys a store has and what they count. It takes the lock itself.
func (m *memory) holds(store string) (keys int, bytes int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if s := m.stores[store]; s != nil {
		return len(s.entries), s.bytes
	}
	return 0, 0
}

// set takes in an operation that is in the log at seq.
func (m *memory) set(op *operation, seq uint64) {
	switch op.kind {
	case opPut, opMoved:
		m.put(op, seq)
	case opDelete, opExpire:
		if old := m.lookup(op.store, op.key); old != nil && old.revision < op.revision {
			m.drop(old)
		}
	}
}

func (m *memory) put(op *operation, seq uint64) {
	old := m.lookup(op.store, op.key)
	if old != nil && old.revision > op.revision {
		return // cleaning moved what was then replaced
	}
	if old != nil {
		if old.revision == op.revision { // moved: the same value, elsewhere
			old.seq = seq
			return
		}
		m.drop(old)
	}
	s := m.stores[op.store]
	if s == nil {
		s = &storeData{name: op.store, entries: map[string]*entry{}}
		m.stores[op.store] = s
	}
	e := &entry{store: s, key: op.key, mime: op.mime, value: bytes.Clone(op.value), size: len(op.value), revision: op.revision, expires: op.expires, seq: seq}
	s.entries[op.key] = e
	s.keys.add(op.key)
	s.bytes += e.cost()
	m.live += e.cost()
	m.entries++
	if e.expires != 0 {
		heap.Push(&m.expiry, e)
	}
	m.keep(e)
	m.sweep()
}

// sweep forgets replaced and deleted entries once they outnumber the others.
func (m *memory) sweep() {
	bound := 2*m.entries + 1024
	gone := func(e *entry) bool { return e.gone }
	if len(m.ring) > bound {
		m.ring = slices.DeleteFunc(m.ring, func(e *entry) bool { return !e.cached })
	}
	if len(m.expiry) > bound {
		m.expiry = slices.DeleteFunc(m.expiry, gone)
		heap.Init(&m.expiry)
	}
}

func (m *memory) drop(e *entry) {
	e.gone = true
	delete(e.store.entries, e.key)
	e.store.keys.remove(e.key)
	e.store.bytes -= e.cost()
	m.live -= e.cost()
	m.entries--
	m.evict(e)
}

// keep counts a value that is in memory and evicts the oldest ones past the
// budget: reads do not move an entry, so that they need no write lock.
func (m *memory) keep(e *entry) {
	if e.size == 0 {
		return
	}
	e.cached = true
	m.cached += int64(e.size)
	m.ring = append(m.ring, e)
	for m.cached > m.budget && len(m.ring) > 0 {
		m.evict(m.ring[0])
		m.ring = m.ring[1:]
	}
}

func (m *memory) evict(e *entry) {
	if e.cached {
		e.cached, e.value = false, nil
		m.cached -= int64(e.size)
	}
}

// due takes out the entries whose time is up, at most n.
func (m *memory) due(now time.Time, n int) []*entry {
	var out []*entry
	for len(m.expiry) > 0 && len(out) < n && now.UnixMilli() >= m.expiry[0].expires {
		if e := heap.Pop(&m.expiry).(*entry); !e.gone {
			out = append(out, e)
		}
	}
	return out
}

// page is up to limit live entries of a store whose keys begin with prefix and
// are above after; more says that there are others. It takes the lock itself.
func (m *memory) page(store, prefix, after string, limit int, now time.Time) (out []entry, more bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.stores[store]
	if s == nil {
		return nil, false
	}
	s.keys.from(max(prefix, after), func(key string) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		e := s.entries[key]
		if key == after && after != "" || !e.live(now) {
			return true
		}
		if len(out) == limit {
			more = true
			return false
		}
		out = append(out, *e)
		return true
	})
	return out, more
}

// expiryHeap orders entries by their end.
type expiryHeap []*entry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(*entry)) }
func (h *expiryHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}

// again puts back an entry that due took out.
func (m *memory) again(e *entry) { heap.Push(&m.expiry, e) }
