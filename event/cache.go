package event

import "slices"

// cache holds the items of some records. What was just written is kept while
// there is room; what was read for a lease pushes out what was read before.
type cache struct {
	limit int // bytes
	bytes int
	pages map[uint64]cached
	order []uint64 // as added; may name pages that are gone
}

type cached struct {
	items []*Item
	size  int
}

func (c *cache) get(seq uint64) ([]*Item, bool) {
	p, ok := c.pages[seq]
	return p.items, ok
}

// add keeps a record's items. With force it makes room.
func (c *cache) add(seq uint64, items []*Item, size int, force bool) {
	if _, ok := c.pages[seq]; ok || !force && c.bytes+size > c.limit {
		return
	}
	if c.pages == nil {
		c.pages = map[uint64]cached{}
	}
	for c.bytes+size > c.limit && len(c.order) > 0 {
		c.drop(c.order[0])
		c.order = c.order[1:]
	}
	c.pages[seq] = cached{items, size}
	c.order = append(c.order, seq)
	c.bytes += size
	if len(c.order) > 2*len(c.pages)+64 {
		c.order = slices.DeleteFunc(c.order, func(seq uint64) bool { _, ok := c.pages[seq]; return !ok })
	}
}

func (c *cache) drop(seq uint64) {
	if p, ok := c.pages[seq]; ok {
		c.bytes -= p.size
		delete(c.pages, seq)
	}
}
