package kv

import "github.com/mayfly-cloud/mayfly"

// Held gives what each store of all apps holds: its keys and their values, as
// quotas count them.
func (d *Driver) Held(use func(app mayfly.AppName, store string, bytes int64)) {
	for name, spec := range *d.stores.Load() {
		app, store := ofStore(name)
		m := spec.shard.mem
		m.mu.RLock()
		var bytes int64
		if data := m.stores[name]; data != nil {
			bytes = data.bytes
		}
		m.mu.RUnlock()
		use(app, store, bytes)
	}
}
