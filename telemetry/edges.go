package telemetry

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// MapEdge is one arrow of the service map: who called what, in the last half hour
// to an hour. Nodes are "http", "direct", "schedule" and so on for what starts
// calls, "APP/FUNCTION", and "APP:queue/NAME", "APP:bucket/NAME" … or a host
// for what functions use. Where all that queues (topics …) call a function with
// is of one resource, the arrow comes from that. Counts from spans are low while
// spans are sampled.
type MapEdge struct {
	From   string         `json:"from"`
	To     string         `json:"to"`
	App    mayfly.AppName `json:"app"`
	Calls  int64          `json:"calls"`
	Failed int64          `json:"failed"`
	Mean   time.Duration  `json:"mean_ns"`

	total time.Duration
}

type edgeKey struct {
	from, to string
	app      mayfly.AppName
}

// edgeMap counts edges in two generations, of which the older is dropped.
type edgeMap struct {
	mu     sync.Mutex
	now    edgeGeneration // guarded by mu
	before edgeGeneration // guarded by mu
	turned time.Time      // guarded by mu
}

// edgeGeneration is what happened in half an hour, at most edgeMost of both.
type edgeGeneration struct {
	edges map[edgeKey]*MapEdge
	// sources are what functions are given messages of; "" where that is more than
	// one of the kind.
	sources map[giverKey]string
}

// giverKey is a function's node and the kind of trigger that calls it.
type giverKey struct{ to, kind string }

const (
	edgeTurn = 30 * time.Minute
	edgeMost = 10_000
)

func (m *edgeMap) invocations(rows []*mayfly.Invocation, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	for _, inv := range rows {
		from := string(inv.Trigger)
		if inv.Caller.Kind == mayfly.CallerFunction {
			from = functionNode(inv.Caller.App, inv.Caller.Function)
		}
		m.count(edgeKey{from, functionNode(inv.App, inv.Function), inv.App}, callError(inv) != "", inv.Duration)
	}
}

func (m *edgeMap) spans(rows []mayfly.Span, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	for i := range rows {
		s := &rows[i]
		if to := spanTarget(s); to != "" && s.Function != "" {
			m.count(edgeKey{functionNode(s.App, s.Function), to, s.App}, s.Error != "", s.End.Sub(s.Start))
		}
		if r := s.Attributes["mayfly.resource"]; r != "" && s.Kind == mayfly.SpanConsumer && s.Function != "" {
			m.received(functionNode(s.App, s.Function), s.App, r)
		}
	}
}

// received learns that a function is given messages of a resource, KIND/NAME.
func (m *edgeMap) received(to string, app mayfly.AppName, resource string) {
	kind, _, _ := strings.Cut(resource, "/")
	k, from := giverKey{to, kind}, string(app)+":"+resource
	switch old, known := m.now.sources[k]; {
	case known && old != from:
		m.now.sources[k] = ""
	case !known && len(m.now.sources) < edgeMost:
		m.now.sources[k] = from
	}
}

// spanTarget is the node that a client's or producer's span went to.
func spanTarget(s *mayfly.Span) string {
	if s.Kind != mayfly.SpanClient && s.Kind != mayfly.SpanProducer {
		return ""
	}
	if r := s.Attributes["mayfly.resource"]; r != "" {
		return string(s.App) + ":" + r
	}
	for _, k := range [...]string{"peer.service", "messaging.destination.name", "db.namespace", "db.name", "server.address", "net.peer.name"} {
		if v := s.Attributes[k]; v != "" {
			return v
		}
	}
	return ""
}

func functionNode(app mayfly.AppName, fn mayfly.FunctionName) string {
	return string(app) + "/" + string(fn)
}

func (m *edgeMap) count(k edgeKey, failed bool, d time.Duration) {
	e := m.now.edges[k]
	if e == nil {
		if len(m.now.edges) >= edgeMost {
			return
		}
		e = &MapEdge{From: k.from, To: k.to, App: k.app}
		m.now.edges[k] = e
	}
	e.Calls++
	e.total += d
	if failed {
		e.Failed++
	}
}

func (m *edgeMap) turn(now time.Time) {
	if m.now.edges == nil || now.Sub(m.turned) >= edgeTurn {
		m.before, m.now, m.turned = m.now, edgeGeneration{map[edgeKey]*MapEdge{}, map[giverKey]string{}}, now
	}
}

// Map returns the edges of the service map, of app alone where it is given.
func (s *Store) Map(app mayfly.AppName) []MapEdge {
	s.drain()
	return s.edges.list(app)
}

func (m *edgeMap) list(app mayfly.AppName) []MapEdge {
	m.mu.Lock()
	defer m.mu.Unlock()
	sums := map[edgeKey]MapEdge{}
	for _, gen := range []edgeGeneration{m.before, m.now} {
		for k, e := range gen.edges {
			if app != "" && k.app != app {
				continue
			}
			if from := gen.sources[giverKey{k.to, k.from}]; from != "" {
				k.from = from
			}
			sum := sums[k]
			sum.From, sum.To, sum.App = k.from, k.to, k.app
			sum.Calls, sum.Failed, sum.total = sum.Calls+e.Calls, sum.Failed+e.Failed, sum.total+e.total
			sums[k] = sum
		}
	}
	out := make([]MapEdge, 0, len(sums))
	for _, e := range sums {
		e.Mean = e.total / time.Duration(max(1, e.Calls))
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b MapEdge) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return out
}
