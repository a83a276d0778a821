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

	Cores int           // processors of the node; 0: not reckoned with
	CPU   time.Duration // expected processor time of a call; 0: unknown
	Best  time.Duration // duration of a call that had to share with nobody; 0: unknown

	Service time.Duration // expected duration of a call; 0: unknown
	Cold    time.Duration // expected duration of a start; 0: unknown
	Oldest  time.Duration // how long the first in the queue has waited
	Lost    time.Duration // what calls waited together since the last start ended
	Stalled time.Duration // how long none of the waiting calls was served
	Idle    bool          // processors had time left lately
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
// Two things bound that. While no call has ended yet, nobody knows whether the
// calls are short, so that the instances at most double with each wave of
// starts (as TCP's slow start, RFC 5681): 200 long calls have their instances
// after five waves, 200 short ones do not pay for 200. And calls that keep the
// processors busy gain nothing from more instances than useful.
//
// Each call may be right to wait, and all of them wrong: where the queue does
// not end while processors have time left, one more instance at a time starts
// for as long as that is so (lasting).
//
// Invariant: Ready + Starting + Starts <= max(Max, Warm); with nothing ready
// and nothing starting, one waiting call is enough to start one.
func (l Load) Starts() int {
	room := max(l.Max, l.Warm) - l.Ready - l.Starting
	want := l.Warm - l.Ready - l.Starting
	if uncovered := l.Waiting - l.Starting*l.PerInstance; uncovered > 0 {
		calls := l.worth(uncovered)
		instances := (calls + l.PerInstance - 1) / l.PerInstance
		want = max(want, min(instances, l.useful()-l.Ready-l.Starting), l.lasting())
	}
	return min(max(want, 0), max(room, 0))
}

// firstWave is how many instances start at once for calls of unknown length.
const firstWave = 8

// patience is how many times the duration of a start calls wait together before
// that is taken for a lasting queue. Who does not know for how long to rent does
// best to buy when the rent has reached the price; a start takes time from the
// calls, and is dearer.
const patience = 8

// stall is how long calls wait at least before none being served counts as a
// stall.
const stall = time.Second

// lasting is 1 where a queue that does not end is worth an instance whatever is
// expected of a call: expectations may be wrong, processors with time left and
// calls that wait are not. A queue of which nothing is served may wait for
// itself: for functions that call each other.
func (l Load) lasting() int {
	price := patience * max(l.Cold, minCold)
	if l.Starting == 0 && (l.Idle && l.Lost+l.Oldest > price || l.Stalled > max(price, stall)) {
		return 1
	}
	return 0
}

// worth is how many of the uncovered waiting calls are better served by a new
// instance than by waiting.
func (l Load) worth(uncovered int) int {
	cold := max(l.Cold, minCold)
	slots := l.Ready * l.PerInstance
	switch {
	case l.Service == 0:
		return min(uncovered, max(firstWave, l.Ready)*l.PerInstance-l.Starting*l.PerInstance)
	case l.Ready == 0:
		// The first instance to come clears the queue at t per call; what it has
		// not taken when another start would be through is worth that start.
		slots = max(l.Starting, 1) * l.PerInstance
		rest := uncovered - servedWithin(cold, slots, l.Service)
		if l.Starting == 0 {
			return max(1, rest)
		}
		return rest
	case l.Oldest > cold:
		return max(1, uncovered-servedWithin(cold, slots, l.Service))
	}
	return uncovered - servedWithin(cold, slots, l.Service)
}

// ownWork is about what the node itself computes for a call while it lasts.
const ownWork = 100 * time.Microsecond

// useful is the number of instances beyond which the processors are the bound:
// a call keeps a processor busy for CPU and the node's own work, of the Best
// that it takes.
func (l Load) useful() int {
	if l.Cores == 0 || l.CPU == 0 || l.Best == 0 {
		return l.Max
	}
	slots := float64(l.Cores) * float64(l.Best) / float64(min(l.CPU+ownWork, l.Best))
	return (int(slots) + l.PerInstance - 1) / l.PerInstance
}

// servedWithin is how many waiting calls slots are expected to take within d.
func servedWithin(d time.Duration, slots int, service time.Duration) int {
	return int(time.Duration(slots) * d / max(service, time.Microsecond))
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

// Least follows the smallest of recent durations: it falls at once, and rises
// by a thousandth with each observation above it. The zero value knows nothing.
type Least struct{ least time.Duration }

// Add takes one observation.
func (l *Least) Add(d time.Duration) {
	if l.least == 0 || d < l.least {
		l.least = max(d, 1)
		return
	}
	l.least += min(l.least/1000+1, d-l.least)
}

// Value is the estimate; 0 where nothing was observed.
func (l *Least) Value() time.Duration { return l.least }
