package prom

import (
	"github.com/prometheus/common/model"

	"github.com/mayfly-cloud/mayfly/telemetry"
)

// Each gives the state of every series, for export.
func (m *Metrics) Each(use func(telemetry.Metric)) {
	for _, metric := range m.all() {
		use(metric)
	}
}

func (m *Metrics) all() []telemetry.Metric {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect(m.cfg.Now())
	out := make([]telemetry.Metric, 0, m.live)
	for _, f := range m.families {
		for _, s := range f.series {
			ls := s.labels.Map()
			delete(ls, model.MetricNameLabel)
			metric := telemetry.Metric{Name: f.name, Help: f.help, Counter: f.kind == counter, Labels: ls, Value: s.value, Start: s.began}
			if s.hist != nil {
				metric.Hist = s.hist.dense()
			}
			out = append(out, metric)
		}
	}
	return out
}

// dense is h with all buckets between its first and its last. A TSDB's bucket i
// ends where OpenTelemetry's bucket i-1 ends.
func (h *expHistogram) dense() *telemetry.ExpHistogram {
	out := &telemetry.ExpHistogram{Scale: schema, Count: h.count, Sum: h.sum, Zero: h.zero}
	indexes := h.indexes()
	if len(indexes) == 0 {
		return out
	}
	first, last := indexes[0], indexes[len(indexes)-1]
	out.Offset, out.Buckets = first-1, make([]uint64, last-first+1)
	for i, n := range h.buckets {
		out.Buckets[i-first] = n
	}
	return out
}
