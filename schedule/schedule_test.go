package schedule

import (
	"math"
	"testing"
	"testing/quick"
	"time"
	"unsafe"

	"github.com/mayfly-cloud/mayfly"
)

func TestBinsCoverTheHorizon(t *testing.T) {
	for i := range binCount {
		from, to := binStart(i), binStart(i+1)
		if from >= to || binOf(from) != i || binOf(to-1) != i {
			t.Errorf("bin %d is [%v, %v), holds %d and %d", i, from, to, binOf(from), binOf(to-1))
		}
	}
	if binStart(binCount) != horizon || binOf(horizon) != binCount {
		t.Errorf("bins end at %v", binStart(binCount))
	}
}

// TestSizeOfState keeps ten thousand functions at zero instances within 6 MB.
func TestSizeOfState(t *testing.T) {
	if n := unsafe.Sizeof(KeepAlive{}) + unsafe.Sizeof(histogram{}); n > 600 {
		t.Errorf("a function takes %d bytes", n)
	}
	if k := NewKeepAlive(); k.hist != nil {
		t.Error("a histogram was made before it was needed")
	}
}

func TestHistogramHalvesWhenFull(t *testing.T) {
	h := &histogram{}
	h.add(time.Hour)
	h.add(time.Hour)
	for range math.MaxUint16 + 1 {
		h.add(time.Second)
	}
	var sum uint32
	for _, n := range h.count {
		sum += uint32(n)
	}
	if sum != h.samples || h.count[binOf(time.Hour)] != 1 {
		t.Errorf("samples %d, counted %d, of the hour %d", h.samples, sum, h.count[binOf(time.Hour)])
	}
}

// TestPlansAreSane asks for plans of arbitrary histograms.
func TestPlansAreSane(t *testing.T) {
	sane := func(w Window) bool {
		return w.Keep >= 0 && w.Keep <= 2*horizon && (w.Prewarm == 0 && w.Until == 0 || w.Prewarm > 0 && w.Until > w.Prewarm)
	}
	check := func(gaps []uint32, past uint32, size uint32) bool {
		k, m, now := NewKeepAlive(), NewMarket(0), start
		w := Worth{Size: mayfly.Bytes(size), Cold: 50 * time.Millisecond}
		for _, g := range gaps {
			m.Arrive(k, now, w)
			if !sane(m.Idle(k, now, w)) {
				return false
			}
			now = now.Add(time.Duration(g) * 10 * time.Microsecond)
		}
		m.Arrive(k, now, w)
		m.Idle(k, now, w)
		later := now.Add(time.Duration(past) * 10 * time.Microsecond)
		return sane(m.Plan(k, later, w)) && sane(k.Plan(later)) && k.heldFor(later) <= later.Sub(now) && m.Price() > 0
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 300}); err != nil {
		t.Error(err)
	}
}

func TestBusyFunctionIsNotIdle(t *testing.T) {
	k := NewKeepAlive()
	k.Arrive(start)
	k.Arrive(start.Add(time.Second)) // while the first runs
	k.Idle(start.Add(2 * time.Second))
	k.Idle(start.Add(3 * time.Second)) // said twice: the first counts
	if d := k.Arrive(start.Add(5 * time.Second)); d != 3*time.Second {
		t.Errorf("idle for %v", d)
	}
	if k.Samples() != 1 {
		t.Errorf("%d samples", k.Samples())
	}
}

// TestWantedFollowsWindows looks at a function whose schedule fires in an hour.
func TestWantedFollowsWindows(t *testing.T) {
	k, m, w := NewKeepAlive(), NewMarket(0), Worth{}
	if m.Wanted(k, start, w) {
		t.Error("wanted though never called")
	}
	m.Arrive(k, start, w)
	keep := m.Idle(k, start, w, start.Add(time.Hour)).Keep
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true}, {keep - 1, true}, {keep, false}, {time.Hour - scheduleLead - 1, false},
		{time.Hour - scheduleLead, true}, {time.Hour, true}, {time.Hour + scheduleGrace, false},
	} {
		if got := m.Wanted(k, start.Add(c.at), w); got != c.want {
			t.Errorf("after %v: %v", c.at, got)
		}
	}
}

func TestClockThatGoesBack(t *testing.T) {
	k := NewKeepAlive()
	k.Idle(start)
	if d := k.Arrive(start.Add(-time.Hour)); d != 0 {
		t.Errorf("idle for %v", d)
	}
}

func TestEncodingKeepsWhatWasLearned(t *testing.T) {
	k, now := NewKeepAlive(), start
	for i := range 100 {
		k.Arrive(now)
		k.Idle(now)
		now = now.Add(time.Duration(i%7) * 37 * time.Minute)
	}
	b, err := k.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var back KeepAlive
	if err := back.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if back.hist.count != k.hist.count || back.hist.samples != k.hist.samples || back.hist.beyond != k.hist.beyond {
		t.Error("the histogram changed")
	}
	if len(b) > 100 {
		t.Errorf("%d bytes for seven bins", len(b))
	}
}

func FuzzKeepAliveDecode(f *testing.F) {
	k := NewKeepAlive()
	k.Idle(start)
	k.Arrive(start.Add(time.Hour))
	b, _ := k.MarshalBinary()
	f.Add(b)
	f.Add([]byte{encoding})
	f.Add([]byte{encoding, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		k := NewKeepAlive()
		if k.UnmarshalBinary(b) != nil {
			return
		}
		again, _ := k.MarshalBinary()
		if err := new(KeepAlive).UnmarshalBinary(again); err != nil {
			t.Errorf("%x was taken and came back as %x: %v", b, again, err)
		}
		k.Idle(start)
	})
}

func FuzzParseBackoff(f *testing.F) {
	for _, s := range []string{"1s..5m", "10s", "", "..", "1s..", "5m..1s", "1s..9999999h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBackoff(s)
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Invalid {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		for attempt := range 70 {
			if d := b.Delay(attempt, 1); d < 0 || d > b.Max {
				t.Errorf("%q: delay %d is %v", s, attempt, d)
			}
		}
	})
}

func TestVictimsSuffice(t *testing.T) {
	check := func(sizes []uint16, busy []bool, budget uint32) bool {
		var e Evictor
		var all []Resident
		var held mayfly.Bytes
		for i, s := range sizes {
			r := Resident{Size: mayfly.Bytes(s) + 1, Priority: e.Used(i%5+1, time.Second, mayfly.Bytes(s))}
			r.Busy = i < len(busy) && busy[i]
			held += r.Size
			all = append(all, r)
		}
		victims := e.Victims(all, mayfly.Bytes(budget))
		idle, last := 0, mayfly.Bytes(0)
		for _, r := range all {
			if !r.Busy {
				idle++
			}
		}
		for _, i := range victims {
			if all[i].Busy {
				return false
			}
			last = all[i].Size
			held -= last
		}
		fits := held <= mayfly.Bytes(budget)
		return (fits || len(victims) == idle) && (len(victims) == 0 || held+last > mayfly.Bytes(budget))
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// BenchmarkPlan is what a call costs that finds and leaves its function idle.
func BenchmarkPlan(b *testing.B) {
	k, m, now := NewKeepAlive(), NewMarket(0), start
	w := Worth{Size: 64 * mayfly.MiB, Cold: 100 * time.Millisecond}
	for b.Loop() {
		m.Arrive(k, now, w)
		m.Idle(k, now, w)
		now = now.Add(time.Millisecond)
	}
}

// BenchmarkPlanAnew is the same where every plan is worked out.
func BenchmarkPlanAnew(b *testing.B) {
	h := &histogram{}
	for i := range 500 {
		h.add(time.Duration(i) * 30 * time.Second)
	}
	for b.Loop() {
		h.priced(0, 1e-3)
	}
}
