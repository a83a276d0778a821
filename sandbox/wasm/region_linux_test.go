package wasm

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

func TestClear(t *testing.T) {
	if unix.Getpagesize() != page {
		t.Skip("pages are not asked about here")
	}
	for name, touched := range map[string][]int{
		"none":          {},
		"in the middle": {0, 70, 71, 300, 4000},
		"first":         {clearBelow / page},
		"last":          {8191},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(8192 * page)
			defer r.free()
			for _, n := range touched {
				r.b[n*page+page-1] = 1
			}
			r.clear(len(r.b))
			if n := bytes.Count(r.b, []byte{1}); n > 0 {
				t.Errorf("%d bytes are left", n)
			}
		})
	}
}

// TestClearSwapped clears pages that the kernel does not count among those that
// exist, as those in swap.
func TestClearSwapped(t *testing.T) {
	r := newRegion(4 * page)
	defer r.free()
	for i := range r.b {
		r.b[i] = 1
	}
	if !clearKnown(r.b, []byte{1, 0, 0, 1}) {
		t.Fatal("the system refuses to give pages up")
	}
	if n := bytes.Count(r.b, []byte{1}); n > 0 {
		t.Errorf("%d bytes are left", n)
	}
}
