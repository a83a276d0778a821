package telemetry

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// rollup counts the calls of the last hour by function, version and minute, so
// that summaries need not read records. A minute of a version takes about 100
// bytes.
type rollup struct {
	mu       sync.Mutex
	versions map[sourceKey]*versionRoll // guarded by mu
}

type versionRoll struct {
	minutes [rollMinutes]*minuteRoll // by minute modulo their number
}

// minuteRoll counts one minute.
type minuteRoll struct {
	minute    int64 // since 1970
	calls     int64
	failed    int64 // errors, timeouts, out of memory, exits, faults
	timeouts  int64
	throttled int64
	cold      int64
	total     time.Duration
	durations []durationCount // by bucket
}

type durationCount struct {
	bucket uint8
	n      uint32
}

const (
	rollMinutes  = 60
	rollVersions = 20_000 // beyond, further versions are not summarised
)

func newRollup() *rollup { return &rollup{versions: map[sourceKey]*versionRoll{}} }

// records counts what was taken over.
func (r *rollup) records(rows []*mayfly.Invocation) {
	now := minuteOf(time.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range rows {
		k := callCodec{}.key(&rows[i])
		r.add(&k, now)
	}
}

// restore counts the records of the last hour that were there before the store
// was opened. It is a background task: summaries are low until it is done.
func (r *rollup) restore(ctx context.Context, calls *table[*mayfly.Invocation], opened time.Time) {
	f := filter[*mayfly.Invocation]{since: opened.Add(-maxWindow).UnixNano(), until: opened.UnixNano()}
	// A damaged block is counted where it is found; what is missing stays missing.
	_ = calls.each(ctx, f, func(k *rowKey) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.add(k, minuteOf(time.Now()))
	})
}

func minuteOf(t time.Time) int64 { return t.UnixNano() / int64(time.Minute) }

// add counts a row by its key; now is the current minute. The lock is held.
func (r *rollup) add(k *rowKey, now int64) {
	key := sourceKey{k.app, k.function, k.version}
	v := r.versions[key]
	if v == nil {
		if len(r.versions) >= rollVersions {
			return
		}
		v = new(versionRoll)
		r.versions[key] = v
	}
	minute := k.time / int64(time.Minute)
	slot := &v.minutes[uint64(minute)%rollMinutes]
	if *slot == nil {
		*slot = &minuteRoll{minute: minute}
	} else if (*slot).minute < minute || (*slot).minute > now { // or of before the clock went back
		**slot = minuteRoll{minute: minute, durations: (*slot).durations[:0]}
	} else if (*slot).minute > minute {
		return // older than an hour
	}
	(*slot).count(outcomeOf(k.flags), k.flags&flagCold != 0, time.Duration(k.num))
}

func (m *minuteRoll) count(o mayfly.Outcome, cold bool, d time.Duration) {
	m.calls++
	switch o {
	case mayfly.OutcomeThrottled:
		m.throttled++
		return
	case mayfly.OutcomeTimeout:
		m.timeouts++
		m.failed++
	case mayfly.OutcomeOK, mayfly.OutcomeCancelled:
	default:
		m.failed++
	}
	if cold {
		m.cold++
	}
	m.total += d
	b := durationBucket(d)
	i, found := slices.BinarySearchFunc(m.durations, b, func(c durationCount, b uint8) int { return cmp.Compare(c.bucket, b) })
	if !found {
		m.durations = slices.Insert(m.durations, i, durationCount{bucket: b})
	}
	m.durations[i].n++
}

// durationBucket puts durations into four buckets an octave from 1 µs on: a
// percentile is right to within 9 %.
func durationBucket(d time.Duration) uint8 {
	us := float64(d) / float64(time.Microsecond)
	if us <= 1 {
		return 0
	}
	return uint8(min(255, 1+math.Floor(4*math.Log2(us))))
}

// bucketMiddle is the geometric middle of a bucket.
func bucketMiddle(b uint8) time.Duration {
	if b == 0 {
		return time.Microsecond / 2
	}
	return time.Duration(math.Exp2((float64(b-1)+0.5)/4) * float64(time.Microsecond))
}

// FunctionSummary is how a function's calls fared in a window.
type FunctionSummary struct {
	App       mayfly.AppName      `json:"app"`
	Function  mayfly.FunctionName `json:"function"`
	Version   int                 `json:"version,omitempty"` // 0: all versions
	Calls     int64               `json:"calls"`
	Rate      float64             `json:"rate"`   // calls/s
	Failed    int64               `json:"failed"` // throttled and cancelled calls do not count
	Timeouts  int64               `json:"timeouts"`
	Throttled int64               `json:"throttled"`
	Cold      int64               `json:"cold"`
	ErrorRate float64             `json:"error_rate"` // failed of calls
	ColdShare float64             `json:"cold_share"` // cold of calls that ran
	Mean      time.Duration       `json:"mean_ns"`
	P50       time.Duration       `json:"p50_ns"`
	P90       time.Duration       `json:"p90_ns"`
	P99       time.Duration       `json:"p99_ns"`
	PerMinute []int64             `json:"per_minute"` // calls, the latest minute last
}

// maxWindow is the longest that Summaries look back.
const maxWindow = rollMinutes * time.Minute

// Summaries returns how functions fared in the window up to now, at most an
// hour, busiest first. Of app alone where it is given; by version where byVersion
// is set.
func (s *Store) Summaries(app mayfly.AppName, window time.Duration, byVersion bool) []FunctionSummary {
	s.drain()
	return s.rollup.summaries(string(app), window, byVersion, time.Now())
}

type summing struct {
	FunctionSummary
	buckets [256]uint64
	total   time.Duration
}

func (r *rollup) summaries(app string, window time.Duration, byVersion bool, now time.Time) []FunctionSummary {
	minutes := int64(min(max(window, time.Minute), maxWindow) / time.Minute)
	last := minuteOf(now)
	sums := map[sourceKey]*summing{}
	r.mu.Lock()
	for key, v := range r.versions {
		if app != "" && key.app != app {
			continue
		}
		if !byVersion {
			key.version = 0
		}
		for _, m := range v.minutes {
			if m == nil || m.minute > last || m.minute <= last-minutes {
				continue
			}
			sum := sums[key]
			if sum == nil {
				sum = &summing{FunctionSummary: FunctionSummary{App: mayfly.AppName(key.app), Function: mayfly.FunctionName(key.function), Version: key.version, PerMinute: make([]int64, minutes)}}
				sums[key] = sum
			}
			sum.add(m, last)
		}
	}
	r.mu.Unlock()
	out := make([]FunctionSummary, 0, len(sums))
	for _, sum := range sums {
		out = append(out, sum.finish(now, minutes))
	}
	slices.SortFunc(out, func(a, b FunctionSummary) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.App, b.App), cmp.Compare(a.Function, b.Function), cmp.Compare(b.Version, a.Version))
	})
	return out
}

func (s *summing) add(m *minuteRoll, last int64) {
	s.Calls += m.calls
	s.Failed += m.failed
	s.Timeouts += m.timeouts
	s.Throttled += m.throttled
	s.Cold += m.cold
	s.total += m.total
	s.PerMinute[len(s.PerMinute)-1-int(last-m.minute)] += m.calls
	for _, d := range m.durations {
		s.buckets[d.bucket] += uint64(d.n)
	}
}

func (s *summing) finish(now time.Time, minutes int64) FunctionSummary {
	// The running minute counts as far as it went.
	seconds := float64(minutes-1)*60 + max(1, float64(now.UnixNano()%int64(time.Minute))/1e9)
	s.Rate = float64(s.Calls) / seconds
	ran := s.Calls - s.Throttled
	if ran > 0 {
		s.ColdShare, s.Mean = float64(s.Cold)/float64(ran), s.total/time.Duration(ran)
	}
	s.ErrorRate = float64(s.Failed) / float64(max(1, s.Calls))
	s.P50, s.P90, s.P99 = s.quantile(0.5), s.quantile(0.9), s.quantile(0.99)
	return s.FunctionSummary
}

func (s *summing) quantile(q float64) time.Duration {
	var n uint64
	for _, c := range s.buckets {
		n += c
	}
	rank, seen := uint64(math.Ceil(q*float64(n))), uint64(0)
	for b, c := range s.buckets {
		if seen += c; c > 0 && seen >= rank {
			return bucketMiddle(uint8(b))
		}
	}
	return 0
}

// forget drops versions without a call in the last hour.
func (r *rollup) forget(now time.Time) {
	oldest := minuteOf(now) - rollMinutes
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, v := range r.versions {
		alive := false
		for i, m := range v.minutes {
			if m != nil && m.minute <= oldest {
				v.minutes[i] = nil
			}
			alive = alive || v.minutes[i] != nil
		}
		if !alive {
			delete(r.versions, key)
		}
	}
}
