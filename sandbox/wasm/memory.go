package wasm

import "github.com/tetratelabs/wazero/experimental"

// memory is the allocator of linear memories. A worker has one instance at a
// time, whose memory keeps its place as it grows: nothing is copied, and nothing
// but what the module touched is ever made or cleared. One goroutine uses it.
type memory struct {
	limit   uint64 // bytes that a linear memory may reach
	kept    region // of the last instance, cleared
	refused bool   // the last instance wanted more than the limit
}

var _ experimental.MemoryAllocator = (*memory)(nil)

// Allocate is called for each instance.
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	most = min(most, m.limit)
	m.refused = false
	l := &linear{memory: m, region: m.kept}
	m.kept = region{}
	if uint64(len(l.region.b)) != most {
		l.region.free()
		l.region = newRegion(most)
	}
	return l
}

// linear is the memory of one instance.
type linear struct {
	memory *memory
	region region
	used   int // bytes that were ever part of it
}

// Reallocate grows the memory; nil says that there is no more.
func (l *linear) Reallocate(size uint64) []byte {
	if size > uint64(len(l.region.b)) {
		l.memory.refused = true
		return nil
	}
	l.used = max(l.used, int(size))
	return l.region.b[:size:size]
}

// Free keeps the region for the next instance.
func (l *linear) Free() {
	l.region.clear(l.used)
	l.memory.kept.free()
	l.memory.kept, l.region = l.region, region{}
}
