package schedule

import "time"

// course is what comes of being at some bin with or without an instance, where
// everything after is done in the best way. Values are in cold starts saved.
type course struct {
	value float64
	drop  int // the bin in which a held instance is let go
	start int // the bin in which one is started after that; binCount: never
	until int // the bin in which that one is let go
}

// plan is the best course over one function's idle time from some bin on.
type plan struct{ hot, cold course }

// priced is the Window that is worth most, for a function that has been idle for
// past, where an instance costs rent (in cold starts per second). h may be nil.
//
// It is worked out from the horizon backwards. With the hazard p of a bin (the
// share of idle times that reach the bin and end in it), an instance held
// through the bin is worth p - rent·time, and the rest if no call came. It is
// let go where that is less than going on without one, and started where having
// one is worth more than the start.
//
// Where few idle times were seen the hazard is drawn to what a function's mean
// rate of calls lets expect, and that to what is usual: the rates of functions
// differ by orders of magnitude (gamma distributed, the expected rate after an
// idle time t is (calls + a) / (idle time seen + b + t)), so that one which was
// just called is likely to be called again, and less so the longer it is not.
func (h *histogram) priced(past time.Duration, rent float64) Window {
	from := binOf(past)
	if from == binCount {
		return Window{}
	}
	never := course{drop: binCount, start: binCount, until: binCount}
	best := plan{hot: never, cold: never}
	calls, idle, reach := priorCalls, priorIdle.Seconds(), 0.0
	if h != nil {
		calls, idle, reach = calls+float64(h.samples), idle+float64(h.seconds), float64(h.beyond)
	}
	for i := binCount - 1; i >= from; i-- {
		var here float64
		if h != nil {
			here = float64(h.count[i])
		}
		reach += here
		expected := calls * binSeconds[i] / (idle + binStart(i).Seconds())
		best = best.before(i, hazard(here, reach, expected), rent)
	}
	return best.hot.window(from, past)
}

// hazard is the chance that a call comes in a bin, given that none came before:
// here of the reach idle times that came so far, drawn to the expected number of
// calls (as a chance: x/(1+x)).
func hazard(here, reach, expected float64) float64 {
	return (here + priorWeight*expected/(1+expected)) / (reach + priorWeight)
}

// before is the plan from bin i, where next is the plan from the bin after it.
func (next plan) before(i int, p, rent float64) plan {
	hot, cold := next.hot, next.cold
	hot.value = p - rent*binSeconds[i]*(1-p/2) + (1-p)*hot.value
	cold.value *= 1 - p
	if begin := hot.value - startShare; begin > cold.value {
		cold = course{value: begin, start: i, until: hot.drop}
	}
	if hot.value <= cold.value {
		hot = cold
		hot.drop = i
	}
	return plan{hot, cold}
}

// window is c as seen after past, which is in bin from.
func (c course) window(from int, past time.Duration) (w Window) {
	if c.drop > from {
		w.Keep = binStart(c.drop) - past
	}
	if c.start < binCount {
		w.Prewarm, w.Until = max(binStart(c.start)-past-scheduleLead, 1), binStart(c.until)-past
	}
	return w
}
