package prom

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

type kind string

const (
	counter kind = "counter"
	gauge   kind = "gauge"
	exphist kind = "histogram"
)

// family is one metric with its series. Its fields are guarded by Metrics.mu.
type family struct {
	name, help string
	kind       kind
	series     map[string]*series // by label values
}

// series is one combination of label values.
type series struct {
	labels  labels.Labels
	value   float64
	hist    *expHistogram
	began   time.Time
	touched time.Time
	written bool // a sample is in the TSDB, so that its end needs a mark
	ref     storage.SeriesRef
	custom  string // the app whose own metric it is
	owner   *callSeries
}

// lastUse is when the series, or the calls it belongs to, last changed.
func (s *series) lastUse() time.Time {
	if s.owner != nil && s.owner.touched.After(s.touched) {
		return s.owner.touched
	}
	return s.touched
}

func (s *series) add(v float64, now time.Time) {
	s.value += v
	s.touched = now
}

func (s *series) set(v float64, now time.Time) {
	s.value = v
	s.touched = now
}

// expHistogram is an exponential histogram of schema 3: a bucket's bounds are
// 2^(1/8) apart.
type expHistogram struct {
	count   uint64
	sum     float64
	zero    uint64
	buckets map[int32]uint64
	sample  exemplarOf // of the slowest observation since the last scrape
}

// exemplarOf is an observation that stands for others.
type exemplarOf struct {
	trace string
	value float64
	at    time.Time
}

const (
	schema        = 3
	zeroThreshold = 1e-9
	maxBuckets    = 320
)

func (h *expHistogram) observe(v float64, trace string, at time.Time) {
	h.count++
	h.sum += v
	if v <= zeroThreshold {
		h.zero++
		return
	}
	if i := bucketOf(v); len(h.buckets) < maxBuckets || h.buckets[i] > 0 {
		h.buckets[i]++
	} else {
		h.zero++ // cannot happen for durations: 320 buckets are 40 octaves
	}
	if trace != "" && (h.sample.trace == "" || v > h.sample.value) {
		h.sample = exemplarOf{trace, v, at}
	}
}

// bucketOf is the index whose bucket (2^((i-1)/8), 2^(i/8)] holds v.
func bucketOf(v float64) int32 {
	return int32(math.Ceil(math.Log2(v)*(1<<schema) - 1e-9))
}

// native is h in the TSDB's form: spans of neighbouring buckets, and each count
// as the difference to the one before.
func (h *expHistogram) native() *histogram.Histogram {
	out := &histogram.Histogram{Schema: schema, ZeroThreshold: zeroThreshold, ZeroCount: h.zero, Count: h.count, Sum: h.sum}
	var last int32
	var before int64
	for n, i := range h.indexes() {
		switch {
		case n == 0:
			out.PositiveSpans = append(out.PositiveSpans, histogram.Span{Offset: i, Length: 1})
		case i == last+1:
			out.PositiveSpans[len(out.PositiveSpans)-1].Length++
		default:
			out.PositiveSpans = append(out.PositiveSpans, histogram.Span{Offset: i - last - 1, Length: 1})
		}
		c := int64(h.buckets[i])
		out.PositiveBuckets = append(out.PositiveBuckets, c-before)
		before, last = c, i
	}
	return out
}

func (h *expHistogram) indexes() []int32 {
	out := make([]int32, 0, len(h.buckets))
	for i := range h.buckets {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// below counts the observations of at most 2^exp.
func (h *expHistogram) below(exp int) uint64 {
	n := h.zero
	for i, c := range h.buckets {
		if i <= int32(exp)<<schema {
			n += c
		}
	}
	return n
}
