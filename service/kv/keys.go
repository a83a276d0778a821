package kv

import "slices"

// keyList is a sorted set of keys in blocks, so that an insertion moves one
// block's keys at most.
type keyList struct {
	blocks [][]string // none is empty; each sorted, and below the next
}

const blockSize = 512

// find is the block that holds key or would.
func (l *keyList) find(key string) int {
	i, found := slices.BinarySearchFunc(l.blocks, key, func(b []string, key string) int {
		if b[0] < key {
			return -1
		}
		if b[0] == key {
			return 0
		}
		return 1
	})
	if !found && i > 0 {
		i--
	}
	return i
}

func (l *keyList) add(key string) {
	if len(l.blocks) == 0 {
		l.blocks = [][]string{{key}}
		return
	}
	b := l.find(key)
	at, found := slices.BinarySearch(l.blocks[b], key)
	if found {
		return
	}
	block := slices.Insert(l.blocks[b], at, key)
	l.blocks[b] = block
	if len(block) > blockSize {
		half := len(block) / 2
		l.blocks[b] = slices.Clone(block[:half])
		l.blocks = slices.Insert(l.blocks, b+1, slices.Clone(block[half:]))
	}
}

func (l *keyList) remove(key string) {
	if len(l.blocks) == 0 {
		return
	}
	b := l.find(key)
	at, found := slices.BinarySearch(l.blocks[b], key)
	if !found {
		return
	}
	l.blocks[b] = slices.Delete(l.blocks[b], at, at+1)
	if len(l.blocks[b]) == 0 {
		l.blocks = slices.Delete(l.blocks, b, b+1)
	}
}

// from calls fn with the keys that are not below key, in order, until it
// returns false.
func (l *keyList) from(key string, fn func(string) bool) {
	if len(l.blocks) == 0 {
		return
	}
	b := l.find(key)
	at, _ := slices.BinarySearch(l.blocks[b], key)
	for ; b < len(l.blocks); b, at = b+1, 0 {
		for _, k := range l.blocks[b][at:] {
			if !fn(k) {
				return
			}
		}
	}
}
