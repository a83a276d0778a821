package simulate

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Options of a comparison.
type Options struct {
	Budget    mayfly.Bytes  // of all instances together; 0: no bound
	Schedules bool          // the next call of a timer is known, as it is in production
	Reference time.Duration // whose spending the market follows; 0: ten minutes
}

// Names of the policies that Compare runs.
const (
	PolicyFixed1    = "fixed 1m"
	PolicyFixed10   = "fixed 10m"
	PolicyFixed60   = "fixed 60m"
	PolicyHistogram = "histogram"
	PolicyMarket    = "market"
	PolicyOracle    = "oracle"
)

// Report is what each policy made of a trace.
type Report struct {
	Functions int       `json:"functions"`
	Calls     int64     `json:"calls"`
	Hours     float64   `json:"hours"`
	Synthetic bool      `json:"synthetic"`
	Outcomes  []Outcome `json:"policies"`
}

// Outcome is what one policy made of a trace. Cold starts are counted in calls;
// the shares are of each function's own calls, at the quantiles over functions.
type Outcome struct {
	Policy    string           `json:"policy"`
	Cold      int64            `json:"cold_starts"`
	IdleGBs   float64          `json:"idle_gb_seconds"`
	Ahead     int              `json:"started_ahead"`
	Evicted   int              `json:"evictions"`
	ColdP50   float64          `json:"cold_share_p50"`
	ColdP75   float64          `json:"cold_share_p75"`
	ColdP90   float64          `json:"cold_share_p90"`
	Functions []FunctionResult `json:"functions,omitempty"`
}

// FunctionResult is one function's part.
type FunctionResult struct {
	Name    string  `json:"name"`
	Calls   int64   `json:"calls"`
	Cold    int64   `json:"cold_starts"`
	IdleGBs float64 `json:"idle_gb_seconds"`
}

// Outcome is that of a policy; nil where it was not run.
func (r *Report) Outcome(policy string) *Outcome {
	for i := range r.Outcomes {
		if r.Outcomes[i].Policy == policy {
			return &r.Outcomes[i]
		}
	}
	return nil
}

// Compare replays t under every policy. It returns ctx's error where ctx ends
// between two of them.
func Compare(ctx context.Context, t *Trace, o Options) (*Report, error) {
	report := &Report{Functions: len(t.Functions), Hours: t.Length.Hours(), Synthetic: t.Synthetic}
	for _, p := range []struct {
		name   string
		policy policy
	}{
		{PolicyFixed1, fixed(time.Minute)},
		{PolicyFixed10, fixed(10 * time.Minute)},
		{PolicyFixed60, fixed(time.Hour)},
		{PolicyHistogram, make(learned, len(t.Functions))},
		{PolicyMarket, newPriced(t, o.Reference)},
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := newReplay(t, p.policy, o)
		r.run()
		report.Outcomes = append(report.Outcomes, r.outcome(p.name))
	}
	report.Outcomes = append(report.Outcomes, oracle(t, report.Outcome(PolicyFixed10).IdleGBs))
	for _, f := range report.Outcomes[0].Functions {
		report.Calls += f.Calls
	}
	return report, nil
}

func (r *replay) outcome(name string) Outcome {
	out := Outcome{Policy: name, Ahead: r.ahead, Evicted: r.evicted}
	for _, s := range r.states {
		out.add(FunctionResult{Name: s.f.Name, Calls: s.calls, Cold: s.cold, IdleGBs: s.idle})
	}
	out.summarise()
	return out
}

func (o *Outcome) add(f FunctionResult) {
	o.Functions = append(o.Functions, f)
	o.Cold += f.Cold
	o.IdleGBs += f.IdleGBs
}

func (o *Outcome) summarise() {
	var shares []float64
	for _, f := range o.Functions {
		if f.Calls > 0 {
			shares = append(shares, float64(f.Cold)/float64(f.Calls))
		}
	}
	if len(shares) == 0 {
		return
	}
	slices.Sort(shares)
	at := func(p float64) float64 { return shares[int(p*float64(len(shares)-1))] }
	o.ColdP50, o.ColdP75, o.ColdP90 = at(0.50), at(0.75), at(0.90)
}

// oracle holds an instance through the idle times that take the least memory, as
// long as all of them take no more than budget GB·s.
func oracle(t *Trace, budget float64) Outcome {
	out := Outcome{Policy: PolicyOracle}
	type gap struct {
		function int
		cost     float64
	}
	var gaps []gap
	for i, f := range t.Functions {
		var result FunctionResult
		result.Name = f.Name
		end := time.Duration(-1)
		for _, c := range f.Calls {
			result.Calls += int64(c.Count)
			switch {
			case end < 0:
				result.Cold++
			case c.At > end:
				result.Cold++
				gaps = append(gaps, gap{i, (c.At - end).Seconds() * float64(f.Size) / float64(mayfly.GiB)})
			}
			end = max(end, c.At+c.Duration)
		}
		out.Functions = append(out.Functions, result)
	}
	slices.SortStableFunc(gaps, func(a, b gap) int { return cmp.Compare(a.cost, b.cost) })
	for _, g := range gaps {
		if budget -= g.cost; budget < 0 {
			break
		}
		out.Functions[g.function].Cold--
		out.Functions[g.function].IdleGBs += g.cost
	}
	for _, f := range out.Functions {
		out.Cold += f.Cold
		out.IdleGBs += f.IdleGBs
	}
	out.summarise()
	return out
}
