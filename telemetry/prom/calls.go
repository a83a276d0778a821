package prom

import (
	"strconv"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

var _ telemetry.Observer = (*Metrics)(nil)

// callKey is what calls are counted by.
type callKey struct {
	app      mayfly.AppName
	function mayfly.FunctionName
	version  int
	trigger  mayfly.TriggerKind
}

// callSeries are the series of one callKey. Those that are nil were refused.
type callSeries struct {
	touched                                                                   time.Time
	invocations, errors, timeouts, throttles, memory, retries, billed, faults *series
	cold, cpu, in, out, peak, limit, duration, queued, coldTime               *series
	phases                                                                    map[mayfly.PhaseName]*series
}

var callLabels = []string{"app", "function", "version", "trigger"}

// Invocations counts finished calls.
func (m *Metrics) Invocations(rows []*mayfly.Invocation) {
	now := m.cfg.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, inv := range rows {
		k := callKey{inv.App, inv.Function, inv.Version, inv.Trigger}
		c := m.calls[k]
		if c == nil {
			c = m.newCalls(k, now)
			m.calls[k] = c
		}
		c.touched = now
		m.count(c, k, inv, now)
	}
}

// Spans and Lines are not counted.
func (m *Metrics) Spans([]mayfly.Span) {}

// Lines takes the metrics out of lines in the embedded metric format.
func (m *Metrics) Lines(lines []mayfly.LogLine) {
	var points []telemetry.Point
	for i := range lines {
		points = appendEmbedded(points, &lines[i])
	}
	if len(points) > 0 {
		m.Points(points)
	}
}

// newCalls makes the series of a key that every call has. The lock is held.
func (m *Metrics) newCalls(k callKey, now time.Time) *callSeries {
	values := []string{string(k.app), string(k.function), strconv.Itoa(k.version), string(k.trigger)}
	c := &callSeries{touched: now, phases: map[mayfly.PhaseName]*series{}}
	of := func(name, help string, kind kind) *series {
		return m.owned(c, name, help, kind, callLabels, values, now)
	}
	c.invocations = of("faas_invocations_total", "Calls that ended, throttled ones included.", counter)
	c.errors = of("faas_errors_total", "Calls that failed: errors, timeouts, out of memory, exits, faults of the platform.", counter)
	c.duration = of("faas_invoke_duration_seconds", "How long handlers ran.", exphist)
	c.billed = of("mayfly_billed_seconds_total", "Time that is billed.", counter)
	c.cpu = of("faas_cpu_usage_seconds_total", "CPU time of calls.", counter)
	c.in = of("faas_net_io_receive_bytes_total", "Bytes of events.", counter)
	c.out = of("faas_net_io_transmit_bytes_total", "Bytes of replies.", counter)
	c.peak = of("faas_mem_usage_bytes", "The most memory that an instance of the latest call has used.", gauge)
	c.limit = of("faas_mem_limit_bytes", "The memory that is configured.", gauge)
	c.cold = of("faas_coldstarts_total", "Calls that waited for a new instance.", counter)
	c.timeouts = of("faas_timeouts_total", "Calls whose time was up.", counter)
	c.throttles = of("faas_throttles_total", "Calls that never started.", counter)
	c.memory = of("faas_out_of_memory_total", "Calls that ran out of memory.", counter)
	c.faults = of("mayfly_faults_total", "Calls that failed because of the platform.", counter)
	return c
}

// owned is of for a series that lives as long as c does.
func (m *Metrics) owned(c *callSeries, name, help string, k kind, names, values []string, now time.Time) *series {
	s := m.of(name, help, k, names, values, now)
	if s != nil {
		s.owner = c
	}
	return s
}

// count adds one call to its series. The lock is held.
func (m *Metrics) count(c *callSeries, k callKey, inv *mayfly.Invocation, now time.Time) {
	add(c.invocations, 1, now)
	switch inv.Outcome {
	case mayfly.OutcomeThrottled:
		add(c.throttles, 1, now)
		return
	case mayfly.OutcomeOK, mayfly.OutcomeCancelled:
	case mayfly.OutcomeTimeout:
		add(c.timeouts, 1, now)
		add(c.errors, 1, now)
	case mayfly.OutcomeMemory:
		add(c.memory, 1, now)
		add(c.errors, 1, now)
	case mayfly.OutcomeInternal:
		add(c.faults, 1, now)
		add(c.errors, 1, now)
	default:
		add(c.errors, 1, now)
	}
	observe(c.duration, inv.Duration, inv, now)
	add(c.billed, inv.Billed.Seconds(), now)
	add(c.cpu, inv.CPU.Seconds(), now)
	add(c.in, float64(inv.BytesIn), now)
	add(c.out, float64(inv.BytesOut), now)
	set(c.limit, float64(inv.Memory), now)
	if inv.MemoryPeak > 0 {
		set(c.peak, float64(inv.MemoryPeak), now)
	}
	m.countRare(c, k, inv, now)
}

// countRare adds to the series that only some calls have. The lock is held.
func (m *Metrics) countRare(c *callSeries, k callKey, inv *mayfly.Invocation, now time.Time) {
	values := []string{string(k.app), string(k.function), strconv.Itoa(k.version), string(k.trigger)}
	lazily := func(s **series, name, help string, kind kind) *series {
		if *s == nil {
			*s = m.owned(c, name, help, kind, callLabels, values, now)
		}
		return *s
	}
	if inv.Attempt > 1 {
		add(lazily(&c.retries, "mayfly_retries_total", "Calls that are a second or later attempt.", counter), 1, now)
	}
	var cold time.Duration
	for _, p := range inv.Phases {
		switch p.Name {
		case mayfly.PhaseCall:
			continue
		case mayfly.PhaseQueue:
			observe(lazily(&c.queued, "mayfly_queue_duration_seconds", "How long calls waited for an instance.", exphist), p.Duration, inv, now)
			continue
		}
		cold += p.Duration
		if s := c.phases[p.Name]; s == nil {
			c.phases[p.Name] = m.owned(c, "mayfly_coldstart_phase_seconds_total", "Time of new instances by phase.", counter, append(callLabels[:4:4], "phase"), append(values[:4:4], string(p.Name)), now)
		}
		add(c.phases[p.Name], p.Duration.Seconds(), now)
	}
	if inv.Cold {
		add(c.cold, 1, now)
		observe(lazily(&c.coldTime, "faas_init_duration_seconds", "How long new instances took until they could take a call.", exphist), cold, inv, now)
	}
}

func add(s *series, v float64, now time.Time) {
	if s != nil {
		s.add(v, now)
	}
}

func set(s *series, v float64, now time.Time) {
	if s != nil {
		s.set(v, now)
	}
}

func observe(s *series, d time.Duration, inv *mayfly.Invocation, now time.Time) {
	if s != nil {
		s.hist.observe(d.Seconds(), inv.Trace.ID, inv.Start)
		s.touched = now
	}
}

// forgetCalls drops keys whose series have been dropped, so that a later call
// makes them anew. All series of a key are touched by its calls or forgotten
// with it. The lock is held.
func (m *Metrics) forgetCalls(now time.Time) {
	for k, c := range m.calls {
		if now.Sub(c.touched) > forget {
			delete(m.calls, k)
		}
	}
}
