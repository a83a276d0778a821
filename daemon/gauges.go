package daemon

import (
	"strconv"
)

// gauges are what is true at the moment of a scrape.
func (n *Node) gauges() {
	type emit = func(value float64, labels ...string)
	n.metrics.Collect("mayfly_instances", "Instances of a version, by state", false, []string{"app", "function", "version", "state"}, func(emit emit) {
		for _, s := range n.pool.Stats() {
			at := []string{string(s.App), string(s.Function), strconv.Itoa(s.Version)}
			for state, v := range map[string]int{"ready": s.Ready, "idle": s.Idle, "frozen": s.Frozen, "starting": s.Starting} {
				emit(float64(v), append(at[:3:3], state)...)
			}
		}
	})
	n.metrics.Collect("mayfly_calls_waiting", "Calls that wait for an instance", false, []string{"app", "function", "version"}, func(emit emit) {
		for _, s := range n.pool.Stats() {
			emit(float64(s.Waiting), string(s.App), string(s.Function), strconv.Itoa(s.Version))
		}
	})
}
