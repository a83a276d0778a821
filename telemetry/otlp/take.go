package otlp

import (
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

const (
	maxAttributes = 64
	maxText       = 16 << 10 // of an attribute
)

func (c *caller) takeTraces(td ptrace.Traces) {
	for _, rs := range td.ResourceSpans().All() {
		service := resourceText(rs.Resource(), "service.name")
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				c.Sink.Span(c.span(s, service))
			}
		}
	}
}

func (c *caller) span(s ptrace.Span, service string) mayfly.Span {
	out := mayfly.Span{
		Trace: mayfly.Trace{ID: s.TraceID().String(), Span: s.SpanID().String(), Parent: s.ParentSpanID().String(), Sampled: true},
		Name:  s.Name(), Kind: kinds[s.Kind()], Start: s.StartTimestamp().AsTime(), End: s.EndTimestamp().AsTime(),
		App: c.who.App, Function: c.who.Function, Version: c.who.Version, Attributes: texts(s.Attributes()),
	}
	if out.Kind == "" {
		out.Kind = mayfly.SpanInternal
	}
	if out.Invocation = out.Attributes["faas.invocation_id"]; out.Invocation == "" {
		out.Invocation = out.Attributes["faas.execution"] // the older convention
	}
	if service != "" {
		out.Attributes["service.name"] = service
	}
	if s.Status().Code() == ptrace.StatusCodeError {
		out.Error = cmp.Or(s.Status().Message(), exceptionOf(s), "error")
	}
	for _, l := range s.Links().All() {
		out.Links = append(out.Links, mayfly.Trace{ID: l.TraceID().String(), Span: l.SpanID().String()})
	}
	return out
}

var kinds = map[ptrace.SpanKind]mayfly.SpanKind{
	ptrace.SpanKindInternal: mayfly.SpanInternal, ptrace.SpanKindServer: mayfly.SpanServer, ptrace.SpanKindClient: mayfly.SpanClient,
	ptrace.SpanKindProducer: mayfly.SpanProducer, ptrace.SpanKindConsumer: mayfly.SpanConsumer,
}

// exceptionOf is the message of the last exception that a span recorded.
func exceptionOf(s ptrace.Span) string {
	text := ""
	for _, e := range s.Events().All() {
		if v, ok := e.Attributes().Get("exception.message"); ok {
			text = v.AsString()
		}
	}
	return text
}

func texts(m pcommon.Map) map[string]string {
	out := make(map[string]string, min(m.Len(), maxAttributes))
	for k, v := range m.All() {
		if len(out) == maxAttributes {
			break
		}
		s := v.AsString()
		out[k] = s[:min(len(s), maxText)]
	}
	return out
}

func resourceText(r pcommon.Resource, key string) string {
	if v, ok := r.Attributes().Get(key); ok {
		return v.AsString()
	}
	return ""
}

func (c *caller) takeLogs(ld plog.Logs) {
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				c.Sink.Log(c.line(r))
			}
		}
	}
}

// line is a record as a line. One with attributes becomes JSON, so that they
// can be searched for as the fields of other lines can.
func (c *caller) line(r plog.LogRecord) mayfly.LogLine {
	at := r.Timestamp()
	if at == 0 {
		at = r.ObservedTimestamp()
	}
	l := mayfly.LogLine{
		Time: time.Now(), App: c.who.App, Function: c.who.Function, Version: c.who.Version, Stream: mayfly.Stdout,
		Level: cmp.Or(level(r.SeverityNumber()), r.SeverityText()), Text: r.Body().AsString(), TraceID: r.TraceID().String(), SpanID: r.SpanID().String(), Instance: "otlp",
	}
	if at != 0 {
		l.Time = at.AsTime()
	}
	if r.Attributes().Len() == 0 {
		return l
	}
	fields := r.Attributes().AsRaw()
	if id, ok := fields["faas.invocation_id"].(string); ok {
		l.Invocation = id
	}
	fields["message"] = l.Text
	if text, err := json.Marshal(fields); err == nil {
		l.Text = string(text)
	}
	return l
}

func level(n plog.SeverityNumber) string {
	switch {
	case n >= plog.SeverityNumberError:
		return "error"
	case n >= plog.SeverityNumberWarn:
		return "warn"
	case n >= plog.SeverityNumberInfo:
		return "info"
	case n > 0:
		return "debug"
	}
	return ""
}

func (c *caller) takeMetrics(md pmetric.Metrics) {
	if c.Metrics == nil {
		return
	}
	var points []telemetry.Point
	for _, rm := range md.ResourceMetrics().All() {
		stream := resourceText(rm.Resource(), "service.instance.id") + "/" + resourceText(rm.Resource(), "host.name") + "/" + resourceText(rm.Resource(), "process.pid")
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				points = c.points(points, m, stream)
			}
		}
	}
	if len(points) > 0 {
		c.Metrics.Points(points)
	}
}

func (c *caller) points(out []telemetry.Point, m pmetric.Metric, stream string) []telemetry.Point {
	base := telemetry.Point{App: c.who.App, Function: c.who.Function, Name: m.Name(), Help: m.Description()}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, d := range m.Gauge().DataPoints().All() {
			out = append(out, with(base, telemetry.PointGauge, "", "", number(d), d, ""))
		}
	case pmetric.MetricTypeSum:
		k := telemetry.PointGauge // an up-down counter
		if m.Sum().IsMonotonic() {
			k = temporality(m.Sum().AggregationTemporality())
		}
		for _, d := range m.Sum().DataPoints().All() {
			out = append(out, with(base, k, suffix(k), stream, number(d), d, ""))
		}
	case pmetric.MetricTypeHistogram:
		k := temporality(m.Histogram().AggregationTemporality())
		for _, d := range m.Histogram().DataPoints().All() {
			out = append(out, with(base, k, "_count", stream, float64(d.Count()), d, ""), with(base, k, "_sum", stream, d.Sum(), d, ""))
			out = buckets(out, base, k, stream, d)
		}
	case pmetric.MetricTypeExponentialHistogram:
		k := temporality(m.ExponentialHistogram().AggregationTemporality())
		for _, d := range m.ExponentialHistogram().DataPoints().All() {
			out = append(out, with(base, k, "_count", stream, float64(d.Count()), d, ""), with(base, k, "_sum", stream, d.Sum(), d, ""))
		}
	}
	return out
}

func buckets(out []telemetry.Point, base telemetry.Point, k telemetry.PointKind, stream string, d pmetric.HistogramDataPoint) []telemetry.Point {
	var below uint64
	for i := range d.BucketCounts().Len() {
		below += d.BucketCounts().At(i)
		le := "+Inf"
		if i < d.ExplicitBounds().Len() {
			le = strconv.FormatFloat(d.ExplicitBounds().At(i), 'g', -1, 64)
		}
		out = append(out, with(base, k, "_bucket", stream, float64(below), d, le))
	}
	return out
}

// point is what all data points have.
type point interface {
	Attributes() pcommon.Map
	Timestamp() pcommon.Timestamp
	StartTimestamp() pcommon.Timestamp
}

func with(p telemetry.Point, k telemetry.PointKind, suffix, stream string, v float64, d point, le string) telemetry.Point {
	p.Kind, p.Value, p.Name, p.Time = k, v, p.Name+suffix, d.Timestamp().AsTime()
	if k == telemetry.PointCumulative {
		// A new process counts from 0 again, even where it has no id.
		p.Stream = stream + "/" + strconv.FormatUint(uint64(d.StartTimestamp()), 36)
	}
	p.Labels = texts(d.Attributes())
	if le != "" {
		p.Labels["le"] = le
	}
	return p
}

func suffix(k telemetry.PointKind) string {
	if k == telemetry.PointGauge {
		return ""
	}
	return "_total"
}

func temporality(t pmetric.AggregationTemporality) telemetry.PointKind {
	if t == pmetric.AggregationTemporalityDelta {
		return telemetry.PointDelta
	}
	return telemetry.PointCumulative
}

func number(d pmetric.NumberDataPoint) float64 {
	if d.ValueType() == pmetric.NumberDataPointValueTypeInt {
		return float64(d.IntValue())
	}
	return d.DoubleValue()
}
