//go:build !linux

package wasm

// region is memory that grows from Go's heap.
type region struct{ b []byte }

func newRegion(size uint64) region { return region{make([]byte, size)} }

func (r region) clear(n int) { clear(r.b[:n]) }

func (r region) free() {}
