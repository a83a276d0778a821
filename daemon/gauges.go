package daemon

import (
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// emit gives one value of a metric with the values of its labels.
type emit = func(value float64, labels ...string)

// gauges are what is true at the moment of a scrape.
func (n *Node) gauges() {
	n.metrics.Watch(n.telemetry)
	n.poolGauges()
	n.eventGauges()
	n.sourceGauges()
	n.metrics.Collect("mayfly_budget_used_ratio", "What apps have spent of their budget of this month.", false, []string{"app"}, func(emit emit) {
		for _, b := range n.ledger.Spending() {
			emit(b.Share, string(b.App))
		}
	})
	n.metrics.Collect("mayfly_storage_bytes", "What a resource of an app holds, as the last measure of storage has it.", false, []string{"app", "kind", "name"}, func(emit emit) {
		for _, h := range n.ledger.Storage() {
			emit(float64(h.Bytes), string(h.App), h.Kind, h.Name)
		}
	})
	n.metrics.Collect("mayfly_egress_refused_total", "Connections and names that a function's egress does not open.", true, []string{"app", "function"}, n.refusals.each)
}

func (n *Node) poolGauges() {
	version := []string{"app", "function", "version"}
	n.metrics.Collect("mayfly_instances", "Instances of a version, by state.", false, append(version[:3:3], "state"), func(emit emit) {
		for _, s := range n.pool.Stats() {
			at := []string{string(s.App), string(s.Function), strconv.Itoa(s.Version)}
			for state, v := range map[string]int{"ready": s.Ready, "idle": s.Idle, "frozen": s.Frozen, "starting": s.Starting} {
				emit(float64(v), append(at[:3:3], state)...)
			}
		}
	})
	n.metrics.Collect("mayfly_calls_running", "Calls under way.", false, version, func(emit emit) {
		for _, s := range n.pool.Stats() {
			emit(float64(s.Busy), string(s.App), string(s.Function), strconv.Itoa(s.Version))
		}
	})
	n.metrics.Collect("mayfly_calls_waiting", "Calls that wait for an instance.", false, version, func(emit emit) {
		for _, s := range n.pool.Stats() {
			emit(float64(s.Waiting), string(s.App), string(s.Function), strconv.Itoa(s.Version))
		}
	})
}

// eventGauges are what waits: messages of queues, asynchronous calls and events
// on their way to subscriptions, and what died.
func (n *Node) eventGauges() {
	inQueue := []string{"app", "queue"}
	n.metrics.Collect("mayfly_queue_depth", "Messages of a queue that are not finished.", false, inQueue, func(emit emit) {
		n.eachQueue(func(app, queue string, s event.Stats) { emit(float64(s.Total), app, queue) })
	})
	n.metrics.Collect("mayfly_queue_oldest_seconds", "How long the oldest message of a queue has waited.", false, inQueue, func(emit emit) {
		n.eachQueue(func(app, queue string, s event.Stats) { emit(age(s), app, queue) })
	})
	onTheWay := []string{"app", "to"}
	n.metrics.Collect("mayfly_backlog", "Asynchronous calls of a function, and events for a subscription, that are not finished.", false, onTheWay, func(emit emit) {
		n.eachBacklog(func(app, to string, s event.Stats) { emit(float64(s.Total), app, to) })
	})
	n.metrics.Collect("mayfly_backlog_oldest_seconds", "How long the oldest of them has waited.", false, onTheWay, func(emit emit) {
		n.eachBacklog(func(app, to string, s event.Stats) { emit(age(s), app, to) })
	})
	// What an app had when the node started, or nothing, is told first, so that
	// its first dead letter is seen to be more than before.
	before, first := n.deadLetters(), map[string]time.Time{}
	n.metrics.Collect("mayfly_dead_letters", "Dead letters of an app.", false, []string{"app"}, func(emit emit) {
		now := time.Now()
		for app, count := range n.deadLetters() {
			if first[app].IsZero() {
				first[app] = now
			}
			if now.Sub(first[app]) < n.cfg.Sample {
				count = before[app]
			}
			emit(float64(count), app)
		}
	})
}

// sourceGauges are how the servers outside fare that functions take messages from.
func (n *Node) sourceGauges() {
	labels := []string{"app", "function", "kind", "of"}
	each := func(value func(l *trigger.LinkState) float64) func(emit emit) {
		return func(emit emit) {
			for _, l := range n.sources.Links() {
				emit(value(&l), string(l.App), string(l.Function), string(l.Kind), l.Of)
			}
		}
	}
	n.metrics.Collect("mayfly_source_connected", "Whether messages can come from a server outside and be accepted: 1 or 0.", false, labels, each(func(l *trigger.LinkState) float64 {
		if l.Status == trigger.LinkConnected {
			return 1
		}
		return 0
	}))
	n.metrics.Collect("mayfly_source_accepted_total", "Messages accepted from a server outside since its link began.", true, labels, each(func(l *trigger.LinkState) float64 { return float64(l.Accepted) }))
	n.metrics.Collect("mayfly_source_refused_total", "Messages from a server outside that can never be accepted.", true, labels, each(func(l *trigger.LinkState) float64 { return float64(l.Refused) }))
}

// deadLetters counts those of each app; a deployed one without any has 0.
func (n *Node) deadLetters() map[string]int {
	dead := map[string]int{}
	for _, m := range n.control.State().Manifests() {
		dead[string(m.App)] = 0
	}
	for _, l := range n.stores.dead.Lanes() {
		app, _, _ := strings.Cut(l.Name(), "/")
		dead[app] += l.Stats().Total
	}
	return dead
}

// eachQueue gives the declared queues; those that nobody has sent to are empty.
func (n *Node) eachQueue(use func(app, queue string, s event.Stats)) {
	stats := map[string]event.Stats{}
	for _, l := range n.stores.queue.Lanes() {
		stats[l.Name()] = l.Stats()
	}
	for _, m := range n.control.State().Manifests() {
		for name := range m.Queues {
			use(string(m.App), name, stats[string(m.App)+"/"+name])
		}
	}
}

// eachBacklog gives the functions and subscriptions for which something waits.
func (n *Node) eachBacklog(use func(app, to string, s event.Stats)) {
	for _, store := range []*event.Store{n.stores.invoke, n.stores.deliver} {
		for _, l := range store.Lanes() {
			if s := l.Stats(); s.Total > 0 {
				app, to, _ := strings.Cut(l.Name(), "/")
				use(app, to, s)
			}
		}
	}
}

func age(s event.Stats) float64 {
	if s.Oldest.IsZero() {
		return 0
	}
	return time.Since(s.Oldest).Seconds()
}
