package prom

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// streamSum is how far a cumulative stream had come.
type streamSum struct {
	value float64
	at    time.Time
}

const (
	maxStreams = 100_000
	maxLabels  = 20
	maxName    = 200
)

// Points takes the metrics that functions report themselves. Their series have
// the labels app and function, and count against the app's own limit.
func (m *Metrics) Points(points []telemetry.Point) {
	now := m.cfg.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range points {
		m.point(&points[i], now)
	}
}

// point takes one. The lock is held.
func (m *Metrics) point(p *telemetry.Point, now time.Time) {
	name := metricName(p.Name)
	if name == "" || len(p.Labels) > maxLabels || len(name) > maxName || reserved(name) {
		m.refused++
		return
	}
	k, v := gauge, p.Value
	if p.Kind != telemetry.PointGauge {
		k = counter
	}
	names, values := []string{"app", "function"}, []string{string(p.App), string(p.Function)}
	for _, n := range sortedKeys(p.Labels) {
		if l := labelName(n); l != "" && !slices.Contains(names, l) {
			names, values = append(names, l), append(values, cut(p.Labels[n], maxName))
		}
	}
	s := m.customSeries(p, name, k, names, values, now)
	if s == nil {
		return
	}
	switch p.Kind {
	case telemetry.PointGauge:
		s.set(v, now)
	case telemetry.PointDelta:
		s.add(max(0, v), now)
	case telemetry.PointCumulative:
		s.add(m.increase(p, name, values, now), now)
	}
}

// customSeries is of within the app's own limit. Keys hold label names, since
// an app may give one metric different ones.
func (m *Metrics) customSeries(p *telemetry.Point, name string, k kind, names, values []string, now time.Time) *series {
	app := string(p.App)
	before := m.live
	if m.custom[app] >= m.cfg.CustomSeries {
		if f := m.families[name]; f == nil || f.series[customKey(names, values)] == nil {
			m.refused++
			return nil
		}
	}
	f := m.families[name]
	if f != nil && f.series[customKey(names, values)] != nil && f.kind == k {
		return f.series[customKey(names, values)]
	}
	s := m.of(name, p.Help, k, names, values, now)
	if s != nil && m.live > before {
		f = m.families[name]
		delete(f.series, strings.Join(values, "\xff"))
		f.series[customKey(names, values)] = s
		s.custom = app
		m.custom[app]++
	}
	return s
}

func customKey(names, values []string) string {
	return strings.Join(names, "\xff") + "\xfe" + strings.Join(values, "\xff")
}

// increase is by how much a cumulative stream grew. One that fell, or is new,
// began at 0.
func (m *Metrics) increase(p *telemetry.Point, name string, values []string, now time.Time) float64 {
	key := p.Stream + "\xff" + name + "\xff" + strings.Join(values, "\xff")
	last, known := m.streams[key]
	if !known && len(m.streams) >= maxStreams {
		m.forgetStreams(now)
		if len(m.streams) >= maxStreams {
			m.refused++
			return 0
		}
	}
	m.streams[key] = streamSum{p.Value, now}
	if p.Value < last.value {
		return max(0, p.Value)
	}
	return p.Value - last.value
}

func (m *Metrics) forgetStreams(now time.Time) {
	for k, s := range m.streams {
		if now.Sub(s.at) > forget {
			delete(m.streams, k)
		}
	}
}

// reserved names are the platform's.
func reserved(name string) bool {
	return strings.HasPrefix(name, "faas_") || strings.HasPrefix(name, "mayfly_")
}

// metricName is an OpenTelemetry name as Prometheus takes it.
func metricName(s string) string { return cleanName(s, true) }

func labelName(s string) string {
	n := cleanName(s, false)
	if strings.HasPrefix(n, "__") {
		return ""
	}
	return n
}

func cleanName(s string, colon bool) string {
	b := []byte(s)
	for i, c := range b {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || colon && c == ':'
		if !letter && (i == 0 || c < '0' || c > '9') {
			b[i] = '_'
		}
	}
	return string(b)
}

func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// embedded is a line in CloudWatch's embedded metric format.
type embedded struct {
	AWS struct {
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
}

// appendEmbedded adds the metrics that a line holds, if it is in the embedded
// metric format. Each becomes a counter of its values and one of their number,
// so that means and rates can be asked for; dimensions of all sets become labels.
func appendEmbedded(points []telemetry.Point, l *mayfly.LogLine) []telemetry.Point {
	if !strings.HasPrefix(l.Text, "{") || !strings.Contains(l.Text, `"CloudWatchMetrics"`) {
		return points
	}
	var e embedded
	var fields map[string]any
	if json.Unmarshal([]byte(l.Text), &e) != nil || json.Unmarshal([]byte(l.Text), &fields) != nil {
		return points
	}
	for _, set := range e.AWS.CloudWatchMetrics {
		labels := map[string]string{}
		for _, dimensions := range set.Dimensions { // each is a way to sum the same values
			for _, d := range dimensions {
				if v, ok := fields[d].(string); ok {
					labels[d] = v
				}
			}
		}
		for _, metric := range set.Metrics {
			sum, n := embeddedSum(fields[metric.Name])
			if n == 0 {
				continue
			}
			point := telemetry.Point{App: l.App, Function: l.Function, Labels: labels, Kind: telemetry.PointDelta, Time: l.Time}
			point.Name, point.Value, point.Help = metric.Name+"_sum", sum, "Sum of "+metric.Name+" "+metric.Unit+" from log lines."
			points = append(points, point)
			point.Name, point.Value, point.Help = metric.Name+"_count", n, "Number of values of "+metric.Name+" in log lines."
			points = append(points, point)
		}
	}
	return points
}

func embeddedSum(v any) (sum, n float64) {
	switch v := v.(type) {
	case float64:
		return v, 1
	case []any:
		for _, x := range v {
			if f, ok := x.(float64); ok {
				sum, n = sum+f, n+1
			}
		}
	}
	return sum, n
}
