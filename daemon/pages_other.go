//go:build !linux

package daemon

// forgetPages does nothing where the kernel has no such advice.
func forgetPages() error { return nil }
