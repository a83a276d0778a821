package kv

import (
	"strings"
	"sync"
)

// Event is one write as a watcher sees it.
type Event struct {
	Key     string
	Deleted bool
	Value   Value // of a put
}

// watchBuffer is how many events a watcher may be behind before it is ended.
const watchBuffer = 256

// watcher receives the events of one store below a prefix.
type watcher struct {
	store, prefix string
	events        chan Event // closed when the watcher fell behind
}

// watchers is who watches a shard.
type watchers struct {
	mu  sync.Mutex
	all map[*watcher]struct{} // guarded by mu
}

func (w *watchers) add(store, prefix string) (events <-chan Event, stop func()) {
	one := &watcher{store: store, prefix: prefix, events: make(chan Event, watchBuffer)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[*watcher]struct{}{}
	}
	w.all[one] = struct{}{}
	return one.events, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, one)
	}
}

// tell hands operations to those who watch, and ends a watcher that is behind:
// it can list the store and watch again.
func (w *watchers) tell(ops []operation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) == 0 {
		return
	}
	for i := range ops {
		if op := &ops[i]; op.kind == opPut || op.kind == opDelete || op.kind == opExpire {
			w.one(op)
		}
	}
}

func (w *watchers) one(op *operation) {
	e := Event{Key: op.key, Deleted: op.kind != opPut}
	if e.Value = (Value{Revision: op.revision}); op.kind == opPut {
		e.Value = staged(op).head()
	}
	for one := range w.all {
		if one.store != op.store || !strings.HasPrefix(op.key, one.prefix) {
			continue
		}
		select {
		case one.events <- e:
		default:
			close(one.events)
			delete(w.all, one)
		}
	}
}
