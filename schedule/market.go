package schedule

import (
	"math"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Worth is what holding an instance of a function costs and saves.
type Worth struct {
	Size mayfly.Bytes  // resident while idle
	Cold time.Duration // what a caller waits when there is none
}

// Market holds instances where they save the most waiting for their memory. It
// has one price for the whole node, in seconds of waiting per idle GB·s. A
// second of an instance is worth holding while
//
//	P(a call comes in this second) × cold start  >  price × size
//
// so that at every moment the last GB·s spent on each function saves the same:
// with equal prices no exchange between two functions could save more. The price
// finds itself. It follows what a fixed keep-alive of Reference would have spent
// on the same calls: where the market spends more the price rises, where less it
// falls. A node so pays for idle memory what its owner expects of that fixed
// time, and has far fewer cold starts for it.
//
// A Market is safe for concurrent use; the KeepAlives passed to it are not.
type Market struct {
	reference time.Duration

	mu      sync.Mutex
	price   float64 // guarded by mu, as all below
	spent   float64 // GB·s, decaying
	allowed float64 // GB·s, decaying
	settled int64   // when price and sums were last brought forward, ns
}

const (
	gigabyte = 1 << 30

	// bookMemory is the half-life, nearly, of what was spent and allowed: long
	// beside the longest window, so that the price does not swing.
	bookMemory = 12 * time.Hour
	// priceTime is in what time the price makes good a spending that is off by
	// a factor of e.
	priceTime = 3 * time.Hour
	// priceStep is how often the price moves.
	priceStep = time.Minute

	// lowest is how far the price may fall below the first one. Where little runs
	// memory is never short, and yet an instance that nobody calls is to go.
	lowest = 1.0 / 6

	// defaultSize and defaultCold stand in for what was not measured.
	defaultSize = 64 * mayfly.MiB
	defaultCold = 100 * time.Millisecond

	// thrift is the share of the reference's spending that the market aims at,
	// so that it does not pass it while it learns.
	thrift = 0.98

	// startShare is what a start costs the node, in starts that someone waits
	// for. In the simulator a market then starts about as many instances in all
	// as a fixed keep-alive; at a fifth of this, three times as many.
	startShare = 0.1

	// replan is by how much rent, or the number of samples, changes before a
	// function's plan is worked out anew.
	replan = 1.0 / 32

	// A function's hazard is drawn to its own mean rate with the weight of
	// priorWeight observations; that rate starts as priorCalls in priorIdle.
	priorWeight = 1.0
	priorCalls  = 0.5
	priorIdle   = time.Minute
)

// NewMarket spends what a fixed keep-alive of reference would; 0 is FixedKeep.
func NewMarket(reference time.Duration) *Market {
	if reference <= 0 {
		reference = FixedKeep
	}
	m := &Market{reference: reference}
	m.price = m.first()
	return m
}

// first is the price at which an instance of usual size and cold start is just
// worth holding for a function that is called once in two references.
func (m *Market) first() float64 {
	return defaultCold.Seconds() / (float64(defaultSize) / gigabyte) / (2 * m.reference.Seconds())
}

// Price is in seconds of waiting per idle GB·s.
func (m *Market) Price() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.price
}

// Arrive says that a call came for k's function.
func (m *Market) Arrive(k *KeepAlive, now time.Time, w Worth) {
	held := k.heldFor(now)
	idle := k.Arrive(now)
	if idle < time.Second {
		return // held by any policy: it moves nothing
	}
	m.settle(now, held, min(idle, m.reference), w)
}

// Idle says that the last running call of k's function ended.
func (m *Market) Idle(k *KeepAlive, now time.Time, w Worth, firings ...time.Time) Window {
	k.begin(now)
	return m.Plan(k, now, w, firings...)
}

// Plan is a new Window for a function that is idle already.
func (m *Market) Plan(k *KeepAlive, now time.Time, w Worth, firings ...time.Time) Window {
	w = w.withDefaults()
	rent := m.Price() * float64(w.Size) / gigabyte / w.Cold.Seconds()
	return k.grant(now, k.priced(k.elapsed(now), rent).known(now, firings))
}

// Wanted reports whether an instance of k's function is worth having at now, as
// KeepAlive.Wanted.
func (m *Market) Wanted(k *KeepAlive, now time.Time, w Worth, firings ...time.Time) bool {
	return k.wanted(now, func() Window { return m.Plan(k, now, w, firings...) })
}

func (w Worth) withDefaults() Worth {
	if w.Size <= 0 {
		w.Size = defaultSize
	}
	if w.Cold <= 0 {
		w.Cold = defaultCold
	}
	return w
}

// settle books one idle time and moves the price.
func (m *Market) settle(now time.Time, held, reference time.Duration, w Worth) {
	gb := float64(w.withDefaults().Size) / gigabyte
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spent += held.Seconds() * gb
	m.allowed += thrift * reference.Seconds() * gb
	if m.settled == 0 {
		m.settled = now.UnixNano()
	}
	passed := time.Duration(now.UnixNano() - m.settled)
	if passed < priceStep {
		return
	}
	m.settled = now.UnixNano()
	passed = min(passed, priceTime)
	off := math.Log(m.spent+1) - math.Log(m.allowed+1)
	m.price *= math.Exp(off * passed.Seconds() / priceTime.Seconds())
	m.price = max(m.price, lowest*m.first())
	fade := math.Exp2(-passed.Seconds() / bookMemory.Seconds())
	m.spent *= fade
	m.allowed *= fade
}
