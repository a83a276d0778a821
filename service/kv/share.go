package kv

import (
	"strings"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// ofStore cuts "app/store".
func ofStore(full string) (app mayfly.AppName, store string) {
	a, s, _ := strings.Cut(full, "/")
	return mayfly.AppName(a), s
}

// share refuses a transaction that grows its store where the app's quota has no
// room for that beside what the group has staged. Shards ask at once: together
// they may pass the quota by what one group of each holds.
func (d *decider) share(t *txn, growth int64) error {
	grow := growth - d.bytes[t.store]
	if grow <= 0 {
		return nil
	}
	app, _ := ofStore(t.store)
	for store, bytes := range d.bytes {
		if other, _ := ofStore(store); other == app && bytes > 0 {
			grow += bytes
		}
	}
	return d.shard.quotas.Full(app, grow)
}

// counted tells the apps' quotas what stores hold.
func (s *shard) counted(stores map[string]int64) {
	for full := range stores {
		s.count(full)
	}
}

func (s *shard) count(full string) {
	app, store := ofStore(full)
	if !s.quotas.Bounds(app) {
		return
	}
	_, bytes := s.mem.holds(full)
	s.quotas.Set(app, service.KindKV, store, bytes)
}
