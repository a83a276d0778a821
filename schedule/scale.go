package schedule

import "time"

// Load is what the pool of one version knows when it decides whether to start
// another instance.
type Load struct {
	Ready       int // instances that take calls
	Starting    int // instances on their way
	Waiting     int // calls in the queue
	PerInstance int // calls at once in one instance
	Max         int // instances
	Warm        int // instances to keep started

	Service time.Duration // expected duration of a call; 0: unknown
	Cold    time.Duration // expected duration of a start; 0: unknown
	Oldest  time.Duration // how long the first in the queue has waited
}

// minCold is the least cold start that a decision reckons with, so that one
// lucky start does not make every burst start instances.
const minCold = 2 * time.Millisecond

// Starts is how many instances to start now.
//
// A waiting call is worth an instance when the time until a present or coming
// slot is free for it exceeds the time of a start. With s slots ready and an
// expected service time t, the k-th waiting call (1-based) expects k·t/s; slots
// that are being started take a call each before more are needed. A call that
// has waited for longer than a start takes shows that the expectation was wrong
// and is worth an instance whatever it was.
//
// Invariant: Ready + Starting + Starts <= max(Max, Warm); with nothing ready
// and nothing starting, one waiting call is enough to start one.
func (l Load) Starts() int {
	room := max(l.Max, l.Warm) - l.Ready - l.Starting
	if room <= 0 {
		return 0
	}
	want := l.Warm - l.Ready - l.Starting
	if uncovered := l.Waiting - l.Starting*l.PerInstance; uncovered > 0 {
		worth := l.worth(uncovered)
		want = max(want, (worth+l.PerInstance-1)/l.PerInstance)
	}
	return min(max(want, 0), room)
}

// worth is how many of the uncovered waiting calls are better served by a new
// instance than by waiting.
func (l Load) worth(uncovered int) int {
	if l.Ready == 0 {
		if l.Starting > 0 && l.brief() {
			return 0
		}
		return l.firstWave(uncovered)
	}
	cold := max(l.Cold, minCold)
	if l.Service == 0 {
		return uncovered
	}
	if l.Oldest > cold {
		return max(1, uncovered-l.servedWithin(cold))
	}
	return uncovered - l.servedWithin(cold)
}

// brief reports whether calls are known to be so short beside a start that the
// instances on their way will clear the queue sooner than further ones.
func (l Load) brief() bool {
	if l.Service == 0 {
		return false
	}
	cold := max(l.Cold, minCold)
	slots := time.Duration(l.Starting * l.PerInstance)
	return l.Service*time.Duration(l.Waiting) <= cold*slots
}

// firstWave is how many of n calls to start for when nothing is ready: all of
// them where the service time is unknown, else as many as clear the queue
// within one further start.
func (l Load) firstWave(n int) int {
	if l.Service == 0 {
		return n
	}
	perSlot := max(1, int(max(l.Cold, minCold)/max(l.Service, time.Microsecond)))
	return (n + perSlot - 1) / perSlot
}

// servedWithin is how many waiting calls the ready slots are expected to take
// within d.
func (l Load) servedWithin(d time.Duration) int {
	slots := l.Ready * l.PerInstance
	return int(time.Duration(slots) * d / max(l.Service, time.Microsecond))
}

// Estimate is an exponentially weighted mean of durations (weight 1/8, as TCP's
// round-trip estimate, RFC 6298). The zero value knows nothing.
type Estimate struct{ mean time.Duration }

// Add takes one observation.
func (e *Estimate) Add(d time.Duration) {
	if e.mean == 0 {
		e.mean = max(d, 1)
		return
	}
	e.mean += (d - e.mean) / 8
	e.mean = max(e.mean, 1)
}

// Mean is the estimate; 0 where nothing was observed.
func (e *Estimate) Mean() time.Duration { return e.mean }
