package telemetry

import (
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// A clock that goes back by an hour comes to the same places of the ring: what
// they hold of the future must make room.
func TestRollupAfterTheClockWentBack(t *testing.T) {
	r := newRollup()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	record := func(at time.Time) {
		inv := &mayfly.Invocation{App: "shop", Function: "pay", Version: 1, Outcome: mayfly.OutcomeOK, Start: at, Duration: time.Millisecond}
		k := callCodec{}.key(&inv)
		r.add(&k, minuteOf(now))
	}
	calls := func() (n int64) {
		for _, f := range r.summaries("", time.Hour, false, now) {
			n += f.Calls
		}
		return n
	}
	record(now)
	record(now.Add(-59 * time.Minute))
	record(now.Add(-60 * time.Minute)) // too old: its place is taken
	if n := calls(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
	now = now.Add(-time.Hour)
	record(now)
	record(now)
	if n := calls(); n != 2 {
		t.Errorf("%d calls after the clock went back, want 2", n)
	}
}

// What is restored of an hour ago has the places of calls that came since the
// store was opened; it does not take them.
func TestRollupRestoresBesideCalls(t *testing.T) {
	s := open(t, nil)
	now := time.Now()
	s.calls.add(call("shop", "pay", now.Add(-time.Hour)))
	s.rollup.records([]*mayfly.Invocation{call("shop", "pay", now)})
	s.rollup.restore(t.Context(), s.calls, now.Add(-2*time.Minute))
	if got := s.rollup.summaries("", time.Hour, false, time.Now()); len(got) != 1 || got[0].Calls != 1 {
		t.Errorf("%+v", got)
	}
}
