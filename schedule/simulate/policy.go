package simulate

import (
	"time"

	"github.com/mayfly-cloud/mayfly/schedule"
)

// policy decides for function i of a trace. Firings are known times of a
// schedule, where there is one.
type policy interface {
	arrive(i int, now time.Time)
	idle(i int, now time.Time, firings []time.Time) schedule.Window
	plan(i int, now time.Time, firings []time.Time) schedule.Window
}

// fixed holds every instance for as long.
type fixed time.Duration

func (fixed) arrive(int, time.Time) {}
func (f fixed) idle(int, time.Time, []time.Time) schedule.Window {
	return schedule.Window{Keep: time.Duration(f)}
}
func (fixed) plan(int, time.Time, []time.Time) schedule.Window { return schedule.Window{} }

// learned is the histogram policy.
type learned []schedule.KeepAlive

func (l learned) arrive(i int, now time.Time) { l[i].Arrive(now) }
func (l learned) idle(i int, now time.Time, firings []time.Time) schedule.Window {
	return l[i].Idle(now, firings...)
}
func (l learned) plan(i int, now time.Time, firings []time.Time) schedule.Window {
	return l[i].Plan(now, firings...)
}

// priced is the market.
type priced struct {
	market *schedule.Market
	keep   []schedule.KeepAlive
	worth  []schedule.Worth
}

func newPriced(t *Trace, reference time.Duration) priced {
	p := priced{market: schedule.NewMarket(reference), keep: make([]schedule.KeepAlive, len(t.Functions))}
	for _, f := range t.Functions {
		p.worth = append(p.worth, schedule.Worth{Size: f.Size, Cold: f.Cold})
	}
	return p
}

func (p priced) arrive(i int, now time.Time) { p.market.Arrive(&p.keep[i], now, p.worth[i]) }
func (p priced) idle(i int, now time.Time, firings []time.Time) schedule.Window {
	return p.market.Idle(&p.keep[i], now, p.worth[i], firings...)
}
func (p priced) plan(i int, now time.Time, firings []time.Time) schedule.Window {
	return p.market.Plan(&p.keep[i], now, p.worth[i], firings...)
}
