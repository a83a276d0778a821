package kv

import "github.com/mayfly-cloud/mayfly"

// Held gives what each store of all apps holds: its keys and their values, as
// quotas count them.
func (d *Driver) Held(use func(app mayfly.AppName, store string, bytes int64)) {
	for name, spec := range *d.stores.Load() {
		app, store := ofStore(name)
		_, bytes := spec.shard.mem.holds(name)
		use(app, store, bytes)
	}
}
