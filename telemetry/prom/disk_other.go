//go:build !linux

package prom

// watchDisk adds nothing where this package does not know how to ask.
func (m *Metrics) watchDisk() {}
