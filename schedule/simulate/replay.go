package simulate

import (
	"container/heap"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/schedule"
)

// epoch is when a replay begins; any moment would do.
var epoch = time.Date(2019, time.July, 15, 0, 0, 0, 0, time.UTC)

const never = time.Duration(1<<63 - 1)

// state is one function during a replay.
//
// Invariant: exactly one of end and (drop, start, until) is in use: end while a
// call runs, the others while idle.
type state struct {
	index int
	f     *Function
	next  int           // of f.Calls
	end   time.Duration // of the running call; never while idle
	hot   bool          // an instance is there
	since time.Duration // when it became idle and hot
	drop  time.Duration // when it goes
	start time.Duration // when one is started ahead
	until time.Duration // when that one goes, and the policy is asked again
	uses  int           // calls since it was last without an instance
	rank  float64       // for eviction

	due time.Duration // the earliest of all these
	at  int           // in the heap

	calls, cold int64
	idle        float64 // GB·s
}

func (s *state) arrival() time.Duration {
	if s.next < len(s.f.Calls) {
		return s.f.Calls[s.next].At
	}
	return never
}

// replay is one run of a trace under one policy.
type replay struct {
	trace   *Trace
	policy  policy
	options Options
	states  []state
	order   byDue
	evictor schedule.Evictor
	held    mayfly.Bytes
	evicted int
	ahead   int // instances started ahead
}

func newReplay(t *Trace, p policy, o Options) *replay {
	r := &replay{trace: t, policy: p, options: o, states: make([]state, len(t.Functions))}
	for i := range r.states {
		s := &r.states[i]
		*s = state{index: i, f: &t.Functions[i], end: never, drop: never, start: never, until: never, at: i}
		s.due = s.arrival()
		r.order = append(r.order, s)
	}
	heap.Init(&r.order)
	return r
}

// run goes through all events in the order of their times. Where several fall
// together for one function, what the policy decided comes before the call.
func (r *replay) run() {
	for len(r.order) > 0 && r.order[0].due < r.trace.Length {
		s := r.order[0]
		r.step(s, s.due)
		s.due = min(s.arrival(), s.end, s.drop, s.start, s.until)
		heap.Fix(&r.order, 0)
	}
	for i := range r.states {
		r.stopCounting(&r.states[i], r.trace.Length)
	}
}

func (r *replay) step(s *state, now time.Duration) {
	switch now {
	case s.end:
		s.end = never
		s.since = now
		r.follow(s, now, r.policy.idle(s.index, epoch.Add(now), r.firings(s)))
	case s.drop:
		s.drop = never
		r.let(s, now)
	case s.start:
		s.start = never
		r.startAhead(s, now)
	case s.until:
		s.until = never
		w := r.policy.plan(s.index, epoch.Add(now), r.firings(s))
		if w.Keep == 0 {
			r.let(s, now)
		}
		r.follow(s, now, w)
	default:
		r.call(s, now)
	}
}

// follow carries out w from now on.
func (r *replay) follow(s *state, now time.Duration, w schedule.Window) {
	s.drop, s.start, s.until = now+w.Keep, never, never
	if w.Prewarm > 0 {
		s.start, s.until = now+w.Prewarm, now+w.Until
	}
}

func (r *replay) call(s *state, now time.Duration) {
	c := s.f.Calls[s.next]
	s.next++
	s.calls += int64(c.Count)
	if s.end == never {
		r.policy.arrive(s.index, epoch.Add(now))
		r.stopCounting(s, now)
		s.drop, s.start, s.until = never, never, never
		s.end = now
		if !s.hot {
			s.cold++
			s.uses = 0
			r.hold(s)
		}
	}
	s.end = max(s.end, now+c.Duration)
	s.uses += int(c.Count)
	s.rank = r.evictor.Used(s.uses, s.f.Cold, s.f.Size)
}

// startAhead starts an instance before it is called, where memory allows it
// without taking it from another.
func (r *replay) startAhead(s *state, now time.Duration) {
	if s.hot || r.options.Budget > 0 && r.held+s.f.Size > r.options.Budget {
		return
	}
	s.hot, s.since = true, now
	r.held += s.f.Size
	r.ahead++
}

// hold takes memory for s, from others where it is short.
func (r *replay) hold(s *state) {
	s.hot = true
	r.held += s.f.Size
	if r.options.Budget == 0 || r.held <= r.options.Budget {
		return
	}
	var residents []schedule.Resident
	var who []*state
	for i := range r.states {
		if t := &r.states[i]; t.hot {
			residents = append(residents, schedule.Resident{ID: t.f.Name, Size: t.f.Size, Priority: t.rank, Busy: t.end != never})
			who = append(who, t)
		}
	}
	for _, i := range r.evictor.Victims(residents, r.options.Budget) {
		r.let(who[i], r.order[0].due)
		r.evicted++
	}
}

// let ends the instance of an idle function.
func (r *replay) let(s *state, now time.Duration) {
	r.stopCounting(s, now)
	if s.hot {
		s.hot = false
		r.held -= s.f.Size
	}
}

// stopCounting books the idle memory of s up to now.
func (r *replay) stopCounting(s *state, now time.Duration) {
	if s.hot && s.end == never {
		s.idle += (now - s.since).Seconds() * float64(s.f.Size) / float64(mayfly.GiB)
		s.since = now
	}
}

// firings are the times of a timer's next calls, where they are taken as known.
func (r *replay) firings(s *state) []time.Time {
	if !r.options.Schedules || s.f.Trigger != "timer" || s.next >= len(s.f.Calls) {
		return nil
	}
	return []time.Time{epoch.Add(s.arrival())}
}

// byDue is a heap of functions by the time of their next event.
type byDue []*state

func (h byDue) Len() int { return len(h) }
func (h byDue) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].index < h[j].index
}
func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *byDue) Push(x any) { *h = append(*h, x.(*state)) }
func (h *byDue) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
