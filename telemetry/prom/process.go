package prom

import (
	"runtime/metrics"

	"github.com/mayfly-cloud/mayfly/telemetry"
)

// Watch adds the metrics of a telemetry store: what it sheds, samples and holds.
func (m *Metrics) Watch(s *telemetry.Store) {
	m.Collect("mayfly_telemetry_shed_total", "Rows of telemetry that were given up because the store was behind.", true, []string{"kind"}, func(emit func(float64, ...string)) {
		h := s.Health()
		emit(float64(h.Shed.Lines), "lines")
		emit(float64(h.Shed.Spans), "spans")
		emit(float64(h.Shed.Invocations), "invocations")
	})
	m.Collect("mayfly_telemetry_sampled_spans_total", "Spans that the sampler let go.", true, nil, func(emit func(float64, ...string)) {
		emit(float64(s.Health().Sampled))
	})
	m.Collect("mayfly_telemetry_disk_bytes", "What telemetry takes on disk.", false, []string{"kind"}, func(emit func(float64, ...string)) {
		h := s.Health()
		emit(float64(h.Disk.Lines), "lines")
		emit(float64(h.Disk.Spans), "spans")
		emit(float64(h.Disk.Invocations), "invocations")
	})
}

// runtimeMetrics are the daemon's own, from Go's runtime.
var runtimeMetrics = []struct {
	from, name, help string
	counter          bool
}{
	{"/memory/classes/total:bytes", "mayfly_process_memory_bytes", "Memory that the daemon's runtime has mapped.", false},
	{"/memory/classes/heap/objects:bytes", "mayfly_process_heap_bytes", "Memory of live objects and of dead ones not yet swept.", false},
	{"/sched/goroutines:goroutines", "mayfly_process_goroutines", "Goroutines of the daemon.", false},
	{"/gc/cycles/total:gc-cycles", "mayfly_process_gc_cycles_total", "Garbage collections.", true},
	{"/cpu/classes/user:cpu-seconds", "mayfly_process_cpu_seconds_total", "CPU time of the daemon's Go code, as its runtime estimates it.", true},
}

// watchProcess adds the metrics of the daemon itself.
func (m *Metrics) watchProcess() {
	for _, r := range runtimeMetrics {
		sample := []metrics.Sample{{Name: r.from}}
		m.Collect(r.name, r.help, r.counter, nil, func(emit func(float64, ...string)) {
			metrics.Read(sample)
			switch sample[0].Value.Kind() {
			case metrics.KindUint64:
				emit(float64(sample[0].Value.Uint64()))
			case metrics.KindFloat64:
				emit(sample[0].Value.Float64())
			}
		})
	}
}
