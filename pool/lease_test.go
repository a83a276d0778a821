package pool

import (
	"slices"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// startPhases are those of a start that took 10 ms.
func startPhases() []mayfly.Phase {
	return []mayfly.Phase{
		{Name: mayfly.PhaseSandbox, Duration: 2 * time.Millisecond},
		{Name: mayfly.PhaseRuntime, Duration: 3 * time.Millisecond},
		{Name: mayfly.PhaseInit, Duration: 5 * time.Millisecond},
	}
}

func TestPhasesAreWhatTheCallWaitedFor(t *testing.T) {
	const ms = time.Millisecond
	ready := time.Now()
	for _, c := range []struct {
		name   string
		since  time.Duration // before the instance was ready
		waited time.Duration
		want   []time.Duration // queue, sandbox, runtime, init
	}{
		{"the start was for this call", 11 * ms, 11 * ms, []time.Duration{ms, 2 * ms, 3 * ms, 5 * ms}},
		{"the start had begun", 6 * ms, 6 * ms, []time.Duration{0, 0, ms, 5 * ms}},
		{"the start was almost over", ms, 4 * ms, []time.Duration{3 * ms, 0, 0, ms}},
	} {
		d := &driver{phases: startPhases()}
		in := &instance{Instance: &fake{driver: d}, ready: ready}
		l := &Lease{instance: in, first: true, Cold: true, since: ready.Add(-c.since), Waited: c.waited}
		var got []time.Duration
		for _, p := range l.Phases() {
			got = append(got, p.Duration)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestACallOfAnInstanceStartedAheadIsNotCold(t *testing.T) {
	d := &driver{phases: startPhases()}
	p := newPool(t, d)
	v := version(mayfly.Concurrency{})
	if err := p.Warm(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	l, err := p.Acquire(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(time.Millisecond, 0)
	if phases := l.Phases(); l.Cold || len(phases) != 1 || phases[0].Name != mayfly.PhaseQueue {
		t.Errorf("cold = %v, phases %v", l.Cold, phases)
	}
}
