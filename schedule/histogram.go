package schedule

import (
	"math"
	"time"
)

// Bins of idle times. Their minutes are those of "Serverless in the Wild"
// (ATC'20, section 4.2): 240 of one minute. The first of them is divided here,
// because a price per second must tell a function that is called every second
// from one that is called every fifty.
const (
	fineBins = 7   // within the first minute
	coarse   = 239 // minutes 2 to 240
	binCount = fineBins + coarse

	// horizon is the longest idle time with a bin of its own.
	horizon = 240 * time.Minute
)

// fineEdges are the upper edges of the fine bins.
var fineEdges = [fineBins]time.Duration{
	time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute,
}

// binOf is the bin of an idle time; binCount where it is beyond the horizon.
func binOf(d time.Duration) int {
	if d >= horizon {
		return binCount
	}
	if d >= time.Minute {
		return fineBins - 1 + int(d/time.Minute)
	}
	for i, edge := range fineEdges {
		if d < edge {
			return i
		}
	}
	return fineBins - 1
}

// binStart is the lower edge of bin i; of binCount, the horizon.
func binStart(i int) time.Duration {
	switch {
	case i == 0:
		return 0
	case i <= fineBins:
		return fineEdges[i-1]
	}
	return time.Duration(i-fineBins+1) * time.Minute
}

// binSeconds holds the width of every bin.
var binSeconds = func() (w [binCount]float64) {
	for i := range w {
		w[i] = (binStart(i+1) - binStart(i)).Seconds()
	}
	return w
}()

// histogram counts the idle times of one function. It is 512 bytes, made when
// the first idle time has been seen.
//
// Invariant: samples = the sum of count + beyond. All are halved together when
// one is full, so that the newest 65,535 count for most.
type histogram struct {
	count   [binCount]uint16
	beyond  uint16 // at or past the horizon
	samples uint32
	seconds float32 // sum of all idle times, for the mean rate of arrivals
}

func (h *histogram) add(d time.Duration) {
	slot := &h.beyond
	if b := binOf(d); b < binCount {
		slot = &h.count[b]
	}
	if *slot == math.MaxUint16 {
		h.halve()
	}
	*slot++
	h.samples++
	h.seconds += float32(d.Seconds())
}

func (h *histogram) halve() {
	h.samples = 0
	for i := range h.count {
		h.count[i] /= 2
		h.samples += uint32(h.count[i])
	}
	h.beyond /= 2
	h.samples += uint32(h.beyond)
	h.seconds /= 2
}

// quantile is the bin in which share p of the idle times within the horizon
// ends; binCount where there are none.
func (h *histogram) quantile(p float64) int {
	want := max(1, uint32(math.Ceil(p*float64(h.samples-uint32(h.beyond)))))
	var seen uint32
	for i, n := range h.count {
		if seen += uint32(n); seen >= want {
			return i
		}
	}
	return binCount
}

// binVariation is the coefficient of variation of the minutes' counts. It is 0
// for an even spread, which says nothing of the next arrival, and grows to √240
// when all arrivals fall into one bin.
func (h *histogram) binVariation() float64 {
	const n = coarse + 1
	var first, sum, squares float64
	for i, c := range h.count {
		if i < fineBins {
			first += float64(c)
			continue
		}
		sum += float64(c)
		squares += float64(c) * float64(c)
	}
	sum += first
	squares += first * first
	if sum == 0 {
		return 0
	}
	mean := sum / n
	return math.Sqrt(max(0, squares/n-mean*mean)) / mean
}
