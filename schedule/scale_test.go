package schedule

import (
	"testing"
	"time"
)

func TestStarts(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		load Load
		want int
	}{
		{"nothing waits", Load{PerInstance: 1, Max: 10}, 0},
		{"first call", Load{Waiting: 1, PerInstance: 1, Max: 10}, 1},
		{"first call, one on its way", Load{Waiting: 1, Starting: 1, PerInstance: 1, Max: 10}, 0},
		{"burst of unknown length, first wave", Load{Waiting: 200, PerInstance: 1, Max: 200}, 8},
		{"burst of unknown length, first wave on its way", Load{Waiting: 200, Starting: 8, PerInstance: 1, Max: 200}, 0},
		{"burst of unknown length, second wave", Load{Waiting: 192, Ready: 8, PerInstance: 1, Max: 200}, 8},
		{"burst of unknown length, fourth wave", Load{Waiting: 168, Ready: 32, PerInstance: 1, Max: 200}, 32},
		{"burst beyond max", Load{Waiting: 300, Ready: 150, PerInstance: 1, Max: 200}, 50},
		{"burst into wide instances", Load{Waiting: 200, PerInstance: 50, Max: 200}, 4},
		{"calls that fill two processors", Load{Ready: 4, Waiting: 28, PerInstance: 1, Max: 200, Service: 10 * ms, Cold: 5 * ms, Cores: 2, CPU: 9 * ms, Best: 10 * ms}, 0},
		{"a lasting queue beside idle processors", Load{Ready: 2, Waiting: 30, PerInstance: 1, Max: 200, Service: ms / 4, Cold: 20 * ms, Lost: 161 * ms, Idle: true, Cores: 2, CPU: ms / 4, Best: ms / 4}, 1},
		{"a queue that waits for itself", Load{Ready: 2, Waiting: 1, PerInstance: 1, Max: 200, Service: 10 * ms, Cold: 5 * ms, Oldest: 1001 * ms, Stalled: 1001 * ms, Cores: 2, CPU: 10 * ms, Best: 10 * ms}, 1},
		{"a queue that moves slowly", Load{Ready: 2, Waiting: 20, PerInstance: 1, Max: 200, Service: 100 * ms, Cold: 5 * ms, Oldest: 2 * time.Second, Stalled: 90 * ms, Cores: 2, CPU: 100 * ms, Best: 100 * ms}, 0},
		{"a queue that may be over soon", Load{Ready: 2, Waiting: 30, PerInstance: 1, Max: 200, Service: ms / 4, Cold: 20 * ms, Lost: 159 * ms, Idle: true, Cores: 2, CPU: ms / 4, Best: ms / 4}, 0},
		{"a lasting queue beside busy processors", Load{Ready: 2, Waiting: 30, PerInstance: 1, Max: 200, Service: 10 * ms, Cold: 5 * ms, Lost: time.Second, Cores: 2, CPU: 10 * ms, Best: 10 * ms}, 0},
		{"calls that mostly wait", Load{Ready: 4, Waiting: 28, PerInstance: 1, Max: 200, Service: 100 * ms, Cold: 5 * ms, Cores: 2, CPU: ms, Best: 100 * ms}, 28},
		{"burst of long calls", Load{Waiting: 20, PerInstance: 1, Max: 200, Service: time.Second, Cold: 10 * ms}, 20},
		{"burst of short calls", Load{Waiting: 20, PerInstance: 1, Max: 200, Service: ms, Cold: 20 * ms}, 1},
		{"short wait beats a start", Load{Ready: 1, Waiting: 1, PerInstance: 1, Max: 10, Service: ms, Cold: 20 * ms}, 0},
		{"a start beats a long wait", Load{Ready: 1, Waiting: 1, PerInstance: 1, Max: 10, Service: time.Second, Cold: 20 * ms}, 1},
		{"the expectation was wrong", Load{Ready: 1, Waiting: 1, PerInstance: 1, Max: 10, Service: ms, Cold: 20 * ms, Oldest: 25 * ms}, 1},
		{"warm", Load{PerInstance: 1, Max: 10, Warm: 3, Ready: 1, Starting: 1}, 1},
		{"full", Load{Ready: 10, Waiting: 5, PerInstance: 1, Max: 10, Service: time.Second, Cold: ms}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.load.Starts(); got != c.want {
				t.Errorf("Starts() = %d, want %d", got, c.want)
			}
		})
	}
}

func TestEstimateFollows(t *testing.T) {
	var e Estimate
	for range 50 {
		e.Add(10 * time.Millisecond)
	}
	if m := e.Mean(); m != 10*time.Millisecond {
		t.Errorf("mean = %v", m)
	}
	for range 50 {
		e.Add(time.Millisecond)
	}
	if m := e.Mean(); m > 2*time.Millisecond {
		t.Errorf("mean = %v after fifty shorter ones", m)
	}
}

func TestLeastRisesSlowly(t *testing.T) {
	var l Least
	l.Add(10 * time.Millisecond)
	l.Add(time.Millisecond)
	for range 10 {
		l.Add(50 * time.Millisecond)
	}
	if v := l.Value(); v < time.Millisecond || v > 2*time.Millisecond {
		t.Errorf("least = %v", v)
	}
}
