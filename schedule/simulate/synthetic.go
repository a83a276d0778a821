package simulate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Synthetic says what trace to make. It is not measured: it is drawn from what
// "Serverless in the Wild" (ATC'20) published of Azure Functions.
//
//	calls per day   log-normal through the two points of figure 5: 45 % at most
//	                once an hour, 81 % at most once a minute
//	arrivals        16 % timers (figure 3), their period from a list of usual ones;
//	                10 % nearly regular (gamma, variation 0.5); 34 % Poisson with
//	                a daily rhythm; 40 % in bursts (figure 6: variation above 1)
//	memory          Burr distribution of section 3.4: c 11.652, k 0.221, λ 107.083 MB
//	durations       log-normal of section 3.4: mean -0.38, σ 2.36 of ln seconds
//
// The same values give the same trace.
type Synthetic struct {
	Functions int           // default 500
	Length    time.Duration // default 7 days
	Seed      uint64
}

func (s Synthetic) withDefaults() Synthetic {
	if s.Functions <= 0 {
		s.Functions = 500
	}
	if s.Length <= 0 {
		s.Length = 7 * 24 * time.Hour
	}
	return s
}

// Trace makes the trace.
func (s Synthetic) Trace() *Trace {
	s = s.withDefaults()
	t := &Trace{Length: s.Length, Synthetic: true}
	for i := range s.Functions {
		rnd := newRandom(fmt.Sprintf("%d/%d", s.Seed, i))
		t.Functions = append(t.Functions, s.function(fmt.Sprintf(syntheticApp+"f%04d", i), rnd))
	}
	return t
}

// syntheticApp is before the names of made functions, so that a trace that was
// written to a file is still known for what it is.
const syntheticApp = "synthetic/"

const day = 24 * time.Hour

// Shares of the ways in which functions are called, cumulated.
const (
	timers  = 0.16
	regular = timers + 0.10
	poisson = regular + 0.34
)

func (s Synthetic) function(name string, rnd *random) Function {
	f := Function{Name: name, Trigger: "http", Size: burr(rnd), Cold: DefaultCold}
	// log10 of calls a day: 1.38 (24) at quantile 0.45, 3.16 (1440) at 0.81.
	perDay := min(math.Pow(10, 1.60+1.77*rnd.normal()), 1e6)
	gap := time.Duration(float64(day) / perDay)
	typical := math.Exp(-0.38 + 2.36*rnd.normal())
	var next func(at time.Duration) time.Duration
	switch kind := rnd.uniform(); {
	case kind < timers:
		f.Trigger = "timer"
		next = ticks(gap, rnd)
	case kind < regular:
		next = func(time.Duration) time.Duration { return gammaGap(gap, rnd) }
	case kind < poisson:
		next = rhythmic(gap, rnd)
	default:
		next = bursts(gap, rnd)
	}
	f.fill(s.Length, next, seconds(min(typical, 60)), rnd)
	return f
}

// fill adds calls until length, several at once where they come closer than a
// replay tells apart.
func (f *Function) fill(length time.Duration, next func(time.Duration) time.Duration, typical time.Duration, rnd *random) {
	const close = time.Minute / perMinute
	for at := next(0); at < length; at += next(at) {
		if n := len(f.Calls); n > 0 && at-f.Calls[n-1].At < close {
			f.Calls[n-1].Count++
			continue
		}
		took := time.Duration(float64(typical) * math.Exp(0.3*rnd.normal()))
		f.Calls = append(f.Calls, Call{At: at, Duration: took, Count: 1})
	}
}

// periods that people write.
var periods = []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, day}

// ticks are a timer's: the period nearest to gap, off by up to half a second.
func ticks(gap time.Duration, rnd *random) func(time.Duration) time.Duration {
	period := slices.MinFunc(periods, func(a, b time.Duration) int {
		return int(math.Abs(math.Log(float64(a)/float64(gap)))*1e6) - int(math.Abs(math.Log(float64(b)/float64(gap)))*1e6)
	})
	due := time.Duration(rnd.uniform()*float64(period)).Truncate(time.Minute) - period
	return func(at time.Duration) time.Duration {
		due += period
		return max(0, due-at) + time.Duration(rnd.uniform()*float64(time.Second/2))
	}
}

// gammaGap has shape 4: variation 0.5.
func gammaGap(mean time.Duration, rnd *random) time.Duration {
	sum := 0.0
	for range 4 {
		sum += rnd.exponential()
	}
	return time.Duration(sum / 4 * float64(mean))
}

// rhythmic is a Poisson process whose rate swings by 60 % over a day, by
// thinning.
func rhythmic(gap time.Duration, rnd *random) func(time.Duration) time.Duration {
	const swing = 0.6
	phase := rnd.uniform()
	return func(at time.Duration) time.Duration {
		d := time.Duration(0)
		for {
			d += time.Duration(rnd.exponential() * float64(gap) / (1 + swing))
			now := math.Sin(2 * math.Pi * (float64(at+d)/float64(day) + phase))
			if rnd.uniform()*(1+swing) < 1+swing*now {
				return d
			}
		}
	}
}

// bursts are sessions: some calls close together, then a long pause. The number
// of calls is geometric, of mean 8; within a session they are 1 s to 5 min apart.
func bursts(gap time.Duration, rnd *random) func(time.Duration) time.Duration {
	const calls = 8.0
	within := min(seconds(math.Exp(rnd.uniform()*math.Log(300))), gap/2)
	pause := float64(gap)*calls - float64(within)*(calls-1)
	return func(time.Duration) time.Duration {
		if rnd.uniform() < 1/calls {
			return time.Duration(rnd.exponential() * pause)
		}
		return time.Duration(rnd.exponential() * float64(within))
	}
}

// burr draws an application's memory, within what the paper shows.
func burr(rnd *random) mayfly.Bytes {
	const c, k, scale = 11.652, 0.221, 107.083
	mb := scale * math.Pow(math.Pow(1-rnd.uniform(), -1/k)-1, 1/c)
	return mayfly.Bytes(min(max(mb, 32), 1024) * float64(mayfly.MiB))
}
