//go:build !linux

package prom

// freeShare is not known where this package does not know how to ask.
func freeShare(string) (share float64, ok bool) { return 0, false }
