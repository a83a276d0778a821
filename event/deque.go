package event

import "container/heap"

// ref is an item that waits: its number, and a hash of its key (0: none).
type ref struct{ num, key uint64 }

// deque is a first-in, first-out list of refs.
type deque struct {
	refs []ref
	head int
}

func (d *deque) len() int { return len(d.refs) - d.head }

func (d *deque) push(r ref) { d.refs = append(d.refs, r) }

func (d *deque) pop() ref {
	r := d.refs[d.head]
	d.head++
	if d.head > 64 && d.head > len(d.refs)/2 {
		n := copy(d.refs, d.refs[d.head:])
		d.refs, d.head = d.refs[:n], 0
		if cap(d.refs) > 1024 && n < cap(d.refs)/4 {
			d.refs = append(make([]ref, 0, n+n/2), d.refs...)
		}
	}
	return r
}

func (d *deque) all() []ref { return d.refs[d.head:] }

// due is an item that sleeps.
type due struct {
	at   int64 // Unix ms
	ref  ref
	lane *Lane
}

type dueHeap []due

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].ref.num < h[j].ref.num
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = due{}
	*h = old[:len(old)-1]
	return x
}

func (h *dueHeap) add(d due) { heap.Push(h, d) }
