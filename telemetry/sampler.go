package telemetry

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/mayfly-cloud/mayfly"
)

// sampler decides which spans are kept when there are more than the budget. It
// decides by trace: one with an error, a slow or a cold call is kept whole, of
// the others a share that follows the load, the same traces on every node. It is
// used by one goroutine at a time.
//
// While spans come within the budget, all pass at once. Over it they are held
// for a moment, since a trace's error may come after its first spans.
type sampler struct {
	budget float64 // spans/s
	slow   time.Duration

	held     []heldSpan
	ready    []mayfly.Span
	keep     map[string]struct{} // traces that are kept, of this period
	kept     map[string]struct{} // … and of the one before
	turned   time.Time           // when the period began
	share    float64             // of ordinary traces kept; 1 within the budget
	second   time.Time           // when the count began
	count    int                 // spans since
	reported float64             // the share that news spoke of last

	// What others may read.
	droppedTotal atomic.Int64
	shareBits    atomic.Uint64
}

// shareNow may be called by any goroutine.
func (p *sampler) shareNow() float64 { return math.Float64frombits(p.shareBits.Load()) }

func (p *sampler) setShare(v float64) {
	p.share = v
	p.shareBits.Store(math.Float64bits(v))
}

type heldSpan struct {
	mayfly.Span
	came time.Time
}

const (
	holdSpans  = 500 * time.Millisecond
	keepPeriod = 10 * time.Second
	keepMost   = 50_000 // traces of one period
	shareLeast = 0.001
)

func newSampler(cfg Config) *sampler {
	p := &sampler{budget: float64(cfg.SpansPerSecond), slow: cfg.Slow, reported: 1, keep: map[string]struct{}{}, kept: map[string]struct{}{}}
	p.setShare(1)
	return p
}

// calls notes the traces that records say are to be kept.
func (p *sampler) calls(rows []*mayfly.Invocation, now time.Time) {
	p.turn(now)
	for _, inv := range rows {
		if inv.Cold || inv.Outcome != mayfly.OutcomeOK || inv.Duration >= p.slow {
			p.note(inv.Trace.ID)
		}
	}
}

func (p *sampler) add(rows []mayfly.Span, now time.Time) {
	p.turn(now)
	p.measure(len(rows), now)
	for i := range rows {
		s := &rows[i]
		if s.Error != "" || s.End.Sub(s.Start) >= p.slow {
			p.note(s.Trace.ID)
		}
		if p.share >= 1 {
			p.ready = append(p.ready, *s)
		} else {
			p.held = append(p.held, heldSpan{*s, now})
		}
	}
}

// measure follows the load: the share is what would have met the budget in the
// second before.
func (p *sampler) measure(n int, now time.Time) {
	if p.second.IsZero() {
		p.second = now
	}
	p.count += n
	elapsed := now.Sub(p.second).Seconds()
	if float64(p.count) > p.budget && elapsed < 1 {
		p.setShare(min(p.share, max(shareLeast, p.budget/float64(p.count))))
	}
	if elapsed >= 1 {
		p.setShare(min(1, max(shareLeast, p.budget/(float64(p.count)/elapsed))))
		p.second, p.count = now, 0
	}
}

func (p *sampler) turn(now time.Time) {
	if now.Sub(p.turned) >= keepPeriod {
		p.kept, p.keep, p.turned = p.keep, map[string]struct{}{}, now
	}
}

func (p *sampler) note(trace string) {
	if p.share < 1 && len(p.keep) < keepMost {
		p.keep[trace] = struct{}{}
	}
}

// take returns the spans that are to be kept, which are the caller's.
func (p *sampler) take(now time.Time) []mayfly.Span {
	n := 0
	for n < len(p.held) && (p.share >= 1 || now.Sub(p.held[n].came) >= holdSpans) {
		n++
	}
	p.decide(p.held[:n])
	p.held = append(p.held[:0], p.held[n:]...)
	if p.share < 1 && now.Sub(p.second) > 2*time.Second {
		p.measure(0, now) // nothing came that would have
	}
	ready := p.ready
	p.ready = nil
	return ready
}

func (p *sampler) decide(spans []heldSpan) {
	for i := range spans {
		if p.keeps(spans[i].Trace.ID) {
			p.ready = append(p.ready, spans[i].Span)
		} else {
			p.droppedTotal.Add(1)
		}
	}
}

func (p *sampler) keeps(trace string) bool {
	if _, ok := p.keep[trace]; ok || p.share >= 1 {
		return true
	}
	if _, ok := p.kept[trace]; ok {
		return true
	}
	return float64(xxhash.Sum64String(trace)>>11)/(1<<53) < p.share
}

func (p *sampler) holding() bool { return len(p.held) > 0 || p.share < 1 }

// rest gives out what is still held.
func (p *sampler) rest() []mayfly.Span { return p.take(time.Now().Add(time.Hour)) }

// news says that sampling began, ended or changed a lot; "" where it did not.
func (p *sampler) news() string {
	before := p.reported
	switch {
	case p.share >= 1 && before < 1:
		p.reported = 1
		return "all spans are kept again"
	case p.share < 1 && (before >= 1 || p.share < before/2 || p.share > before*2):
		p.reported = p.share
		return fmt.Sprintf("more than %.0f spans/s: keeping errors, slow and cold calls, and %.1f %% of the other traces", p.budget, p.share*100)
	}
	return ""
}
