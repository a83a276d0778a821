package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets of one sixty-fourth of their size, as
// HdrHistogram does: a quantile is off by at most 1.6 %.
type histogram struct {
	counts [buckets]uint64
	total  uint64
	max    time.Duration
}

const (
	subBits = 6
	buckets = (64 - subBits) << subBits
)

func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// bucketTop is the largest value of bucket i.
func bucketTop(i int) uint64 {
	if i < 2<<subBits {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return (uint64(i-shift<<subBits)+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile is the duration that share p of the values does not pass.
func (h *histogram) quantile(p float64) time.Duration {
	want := max(1, uint64(p*float64(h.total)+0.5))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= want {
			return min(time.Duration(bucketTop(i)), h.max)
		}
	}
	return h.max
}
