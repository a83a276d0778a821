package prom

import "syscall"

// watchDisk adds how much of the data folder's disk is free.
func (m *Metrics) watchDisk() {
	m.Collect("mayfly_data_free_ratio", "Free share of the disk with the data folder.", false, nil, func(emit func(float64, ...string)) {
		var s syscall.Statfs_t
		if syscall.Statfs(m.cfg.Dir, &s) == nil && s.Blocks > 0 {
			emit(float64(s.Bavail) / float64(s.Blocks))
		}
	})
}
