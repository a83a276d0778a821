package event

import (
	"math/bits"
	"slices"
	"sort"
)

// table knows which numbers are unfinished, and in which record of the log each
// is. It holds a bit for a number.
type table struct {
	main  []*page // by first number and by sequence number alike
	moved []*page // records of items that were put again, by sequence number
	where map[uint64]*page
	live  int
}

// page is one record that holds items.
type page struct {
	seq       uint64   // in the log
	first     uint64   // number of the first item
	nums      []uint64 // of a moved page: its numbers; else they follow first
	n         int
	bits      []uint64 // set: unfinished
	live      int
	size      int
	created   int64 // Unix ms, of the first item
	keepUntil int64 // Unix ms: deduplication ids in it count until then
}

func newPage(seq uint64, nums []uint64, size int) *page {
	p := &page{seq: seq, first: nums[0], n: len(nums), live: len(nums), size: size, bits: make([]uint64, (len(nums)+63)/64)}
	for i := range nums {
		p.bits[i/64] |= 1 << (i % 64)
		if nums[i] != p.first+uint64(i) {
			p.nums = nums
		}
	}
	return p
}

// add takes a page in. Pages come in the log's order.
func (t *table) add(p *page, moved bool) {
	t.live += p.live
	if !moved && p.nums == nil {
		t.main = append(t.main, p)
		return
	}
	if t.where == nil {
		t.where = map[uint64]*page{}
	}
	t.moved = append(t.moved, p)
	for i := range p.n {
		t.where[p.num(i)] = p
	}
}

func (p *page) num(i int) uint64 {
	if p.nums != nil {
		return p.nums[i]
	}
	return p.first + uint64(i)
}

func (p *page) index(num uint64) int {
	if p.nums != nil {
		return slices.Index(p.nums, num)
	}
	return int(num - p.first)
}

// find returns the page of a number and its place there; nil where the number
// is finished or unknown.
func (t *table) find(num uint64) (*page, int) {
	p := t.where[num]
	if p == nil {
		i := sort.Search(len(t.main), func(i int) bool { return t.main[i].first > num }) - 1
		if i < 0 || num >= t.main[i].first+uint64(t.main[i].n) {
			return nil, 0
		}
		p = t.main[i]
	}
	i := p.index(num)
	if i < 0 || p.bits[i/64]&(1<<(i%64)) == 0 {
		return nil, 0
	}
	return p, i
}

func (t *table) has(num uint64) bool {
	p, _ := t.find(num)
	return p != nil
}

// finish clears a number and returns its page, nil where it was finished.
func (t *table) finish(num uint64) *page {
	p, i := t.find(num)
	if p == nil {
		return nil
	}
	p.bits[i/64] &^= 1 << (i % 64)
	p.live--
	t.live--
	delete(t.where, num)
	return p
}

// cut drops the finished pages at the front and returns the sequence number
// before which the log is not needed; next is that of the record after the last.
func (t *table) cut(next uint64, now int64) uint64 {
	needed := func(p *page) bool { return p.live > 0 || p.keepUntil > now }
	for _, list := range []*[]*page{&t.main, &t.moved} {
		i := slices.IndexFunc(*list, needed)
		if i < 0 {
			*list = nil
			continue
		}
		next = min(next, (*list)[i].seq)
		if i > 64 { // not a copy for every page
			*list = slices.Clone((*list)[i:])
		}
	}
	return next
}

// keep holds a record without items until a time.
func (t *table) keep(seq uint64, until int64, size int) {
	if n := len(t.moved); n > 0 && t.moved[n-1].seq == seq {
		t.moved[n-1].keepUntil = max(t.moved[n-1].keepUntil, until)
		return
	}
	t.moved = append(t.moved, &page{seq: seq, keepUntil: until, size: size})
}

// unkeep lets go of every page that is held for its deduplication ids alone.
func (t *table) unkeep() {
	for _, list := range [][]*page{t.main, t.moved} {
		for _, p := range list {
			p.keepUntil = 0
		}
	}
}

// weigh returns the bytes of all pages and about how many of them are needed.
func (t *table) weigh() (all, needed int) {
	for _, list := range [][]*page{t.main, t.moved} {
		for _, p := range list {
			all += p.size
			if p.n == 0 { // deduplication ids
				needed += p.size
				continue
			}
			needed += p.size * p.live / p.n
		}
	}
	return all, needed
}

// oldest returns up to n unfinished numbers of the first pages.
func (t *table) oldest(n int) []uint64 {
	var out []uint64
	for _, list := range [][]*page{t.main, t.moved} {
		for _, p := range list {
			for w, word := range p.bits {
				for ; word != 0 && len(out) < n; word &= word - 1 {
					out = append(out, p.num(w*64+bits.TrailingZeros64(word)))
				}
			}
			if len(out) >= n {
				return out
			}
		}
	}
	return out
}
