package schedule

import (
	"math"
	"time"
)

// Constants of the histogram policy, with the paper that they are from:
// Shahrad et al., "Serverless in the Wild", USENIX ATC 2020.
const (
	// FixedKeep is how long an idle instance stays while nothing is known of its
	// function: the fixed keep-alive that the paper found on Azure is 20 minutes,
	// OpenWhisk's is 10, AWS's was observed at 5 to 10.
	FixedKeep = 10 * time.Minute

	// SpareKeep is how long an idle instance stays that is not its function's
	// last: one stable window of Knative's autoscaler.
	SpareKeep = time.Minute

	headQuantile  = 0.05 // section 4.2: the unload and prewarm window
	tailQuantile  = 0.99 // section 4.2: the keep-alive window
	margin        = 0.10 // section 4.2: both are widened by a tenth
	minVariation  = 2    // section 5.3: below it a histogram says too little
	maxBeyond     = 0.5  // section 4.2: more idle times past the horizon than within
	minSamples    = 10   // ours: the paper leaves it to the variation alone
	leastUnload   = 2 * time.Minute
	scheduleLead  = 2 * time.Second  // before a known firing; covers a start and a late timer
	scheduleGrace = 30 * time.Second // after it
)

// Window says how long instances are worth holding, from the moment it is asked
// for: one that is there stays for Keep. Where Prewarm is not 0, one is started
// after Prewarm and stays until Until; the pool then asks again by Plan.
type Window struct {
	Keep    time.Duration
	Prewarm time.Duration
	Until   time.Duration
}

// overlap is how much of the first d of w an instance was held.
func (w Window) overlap(d time.Duration) time.Duration {
	held := min(d, w.Keep)
	if w.Prewarm > 0 && d > w.Prewarm {
		held += min(d, w.Until) - w.Prewarm
	}
	return held
}

// KeepAlive learns when a function is called, and says how long to hold an
// instance for it. A function is idle between the end of its last running call
// and the next arrival. The caller serialises access; a pool holds one for each
// version, or hands that of the former version on.
//
//	          Arrive                 Idle
//	idle ────────────────▶ busy ────────────────▶ idle, with a Window
//	   ◀── Plan, when a prewarmed instance was not needed; or Wanted, now and then
//
// It takes 64 bytes, and 512 more once an idle time was seen.
type KeepAlive struct {
	idle    int64         // when idleness began, ns since 1970; 0 while busy or unknown
	planned int64         // when window was made
	held    time.Duration // in this idle time, before planned
	hist    *histogram
	window  compact // in force

	// The last plan from the start of idleness, and what it was made for.
	fresh   compact
	rent    float32
	samples uint32
}

// compact is a Window in milliseconds.
type compact struct{ keep, prewarm, until int32 }

func (w Window) compact() compact {
	return compact{millis(w.Keep), millis(w.Prewarm), millis(w.Until)}
}

func (c compact) window() Window {
	const ms = time.Millisecond
	return Window{time.Duration(c.keep) * ms, time.Duration(c.prewarm) * ms, time.Duration(c.until) * ms}
}

// millis is d, at most 24 days.
func millis(d time.Duration) int32 {
	return int32(min(d/time.Millisecond, math.MaxInt32))
}

// NewKeepAlive knows nothing yet.
func NewKeepAlive() *KeepAlive { return &KeepAlive{} }

// Arrive says that a call came. It returns the idle time that it ended; 0 where
// the function was busy or this is its first call.
func (k *KeepAlive) Arrive(now time.Time) time.Duration {
	if k.idle == 0 {
		return 0
	}
	d := max(0, time.Duration(now.UnixNano()-k.idle))
	k.idle = 0
	if k.hist == nil {
		k.hist = &histogram{}
	}
	k.hist.add(d)
	return d
}

// Idle says that the last running call ended, and plans by the histogram.
// Firings are the next known times of schedules that call the function.
func (k *KeepAlive) Idle(now time.Time, firings ...time.Time) Window {
	k.begin(now)
	return k.Plan(now, firings...)
}

// Plan is a new Window for a function that is idle already.
func (k *KeepAlive) Plan(now time.Time, firings ...time.Time) Window {
	past := k.elapsed(now)
	return k.grant(now, k.byHistogram().from(past).known(now, firings))
}

// Wanted reports whether an instance is worth having at now: for a pool that
// looks again and again instead of setting timers, while no call runs. It is
// false for a function of which nothing is known.
func (k *KeepAlive) Wanted(now time.Time, firings ...time.Time) bool {
	return k.wanted(now, func() Window { return k.Plan(now, firings...) })
}

// wanted plans again where the window in force has passed and another may follow.
func (k *KeepAlive) wanted(now time.Time, plan func() Window) bool {
	if k.idle == 0 {
		return false
	}
	since := time.Duration(now.UnixNano() - k.planned)
	w := k.window.window()
	if w.Prewarm > 0 && since >= w.Until {
		w, since = plan(), 0
	}
	return since < w.Keep || w.Prewarm > 0 && since >= w.Prewarm && since < w.Until
}

// Samples is how many idle times were seen.
func (k *KeepAlive) Samples() int {
	if k.hist == nil {
		return 0
	}
	return int(k.hist.samples)
}

func (k *KeepAlive) begin(now time.Time) {
	if k.idle == 0 {
		k.idle, k.held = now.UnixNano(), 0
		k.planned, k.window = k.idle, compact{}
	}
}

func (k *KeepAlive) elapsed(now time.Time) time.Duration {
	if k.idle == 0 {
		return 0
	}
	return max(0, time.Duration(now.UnixNano()-k.idle))
}

// grant notes that w was promised, so that what it cost can be told later.
func (k *KeepAlive) grant(now time.Time, w Window) Window {
	k.held = k.heldFor(now)
	k.planned, k.window = now.UnixNano(), w.compact()
	return w
}

// heldFor is for how much of an idle time that ends now an instance was held.
func (k *KeepAlive) heldFor(now time.Time) time.Duration {
	return k.held + k.window.window().overlap(max(0, time.Duration(now.UnixNano()-k.planned)))
}

// byHistogram is the policy of the paper, from the start of idleness.
func (k *KeepAlive) byHistogram() Window {
	h := k.hist
	if h == nil || h.samples < minSamples || float64(h.beyond) > maxBeyond*float64(h.samples) || h.binVariation() < minVariation {
		return Window{Keep: FixedKeep}
	}
	head := scale(binStart(h.quantile(headQuantile)), 1-margin)
	tail := scale(binStart(h.quantile(tailQuantile)+1), 1+margin)
	if head < leastUnload {
		return Window{Keep: tail}
	}
	return Window{Prewarm: head, Until: tail}
}

// priced is the plan by price, made anew only where it would change.
func (k *KeepAlive) priced(past time.Duration, rent float64) Window {
	if past > 0 {
		return k.hist.priced(past, rent)
	}
	n := uint32(k.Samples())
	stale := k.rent == 0 || math.Abs(rent/float64(k.rent)-1) > replan || math.Abs(float64(n)-float64(k.samples)) > replan*float64(k.samples)
	if stale {
		k.fresh, k.rent, k.samples = k.hist.priced(0, rent).compact(), float32(rent), n
	}
	return k.fresh.window()
}

// from is w, made at the start of idleness, as seen after past.
func (w Window) from(past time.Duration) Window {
	if past == 0 {
		return w
	}
	out := Window{Keep: max(0, w.Keep-past)}
	switch {
	case w.Prewarm == 0 || past >= w.Until:
	case past >= w.Prewarm:
		out.Keep = w.Until - past
	default:
		out.Prewarm, out.Until = w.Prewarm-past, w.Until-past
	}
	return out
}

// known adds the next firing of a schedule to w. It is certain, so that it takes
// the place of a guess that it falls into, or that is later.
func (w Window) known(now time.Time, firings []time.Time) Window {
	next, ok := nextAfter(now, firings)
	if !ok || next+scheduleGrace <= w.Keep || w.Prewarm > 0 && w.Until <= next {
		return w
	}
	if next-scheduleLead < w.Keep+leastUnload {
		return Window{Keep: next + scheduleGrace}
	}
	w.Prewarm, w.Until = next-scheduleLead, next+scheduleGrace
	return w
}

// nextAfter is how far off the first of times after now is.
func nextAfter(now time.Time, times []time.Time) (next time.Duration, ok bool) {
	for _, t := range times {
		if d := t.Sub(now); d > 0 && (!ok || d < next) {
			next, ok = d, true
		}
	}
	return next, ok
}

func scale(d time.Duration, by float64) time.Duration {
	return time.Duration(float64(d) * by).Round(time.Second)
}
