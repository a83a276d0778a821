package otlp

import (
	"encoding/hex"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

const scopeName = "github.com/mayfly-cloud/mayfly"

// resource is who a row is from: a function, or the platform.
type resource struct {
	app      mayfly.AppName
	function mayfly.FunctionName
	version  int
}

func (k resource) put(r pcommon.Resource, node string) {
	a := r.Attributes()
	if k.function == "" {
		a.PutStr("service.name", "mayfly")
	} else {
		a.PutStr("service.name", string(k.app)+"/"+string(k.function))
		a.PutStr("faas.name", string(k.app)+"/"+string(k.function))
	}
	if k.app != "" {
		a.PutStr("service.namespace", string(k.app))
	}
	if k.version != 0 {
		a.PutInt("faas.version", int64(k.version))
	}
	if node != "" {
		a.PutStr("service.instance.id", node)
	}
}

// encodeSpans is a request with spans. pdata cannot fail to marshal what it
// made itself.
func encodeSpans(spans []mayfly.Span, node string) []byte {
	td := ptrace.NewTraces()
	lists := map[resource]ptrace.SpanSlice{}
	for i := range spans {
		s := &spans[i]
		k := resource{s.App, s.Function, s.Version}
		list, ok := lists[k]
		if !ok {
			rs := td.ResourceSpans().AppendEmpty()
			k.put(rs.Resource(), node)
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(scopeName)
			list = ss.Spans()
			lists[k] = list
		}
		putSpan(list.AppendEmpty(), s)
	}
	body, _ := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	return body
}

func putSpan(out ptrace.Span, s *mayfly.Span) {
	out.SetTraceID(traceID(s.Trace.ID))
	out.SetSpanID(spanID(s.Trace.Span))
	out.SetParentSpanID(spanID(s.Trace.Parent))
	out.SetName(s.Name)
	for k, v := range kinds {
		if v == s.Kind {
			out.SetKind(k)
		}
	}
	out.SetStartTimestamp(pcommon.NewTimestampFromTime(s.Start))
	out.SetEndTimestamp(pcommon.NewTimestampFromTime(s.End))
	for k, v := range s.Attributes {
		out.Attributes().PutStr(k, v)
	}
	if s.Invocation != "" {
		out.Attributes().PutStr("faas.invocation_id", s.Invocation)
	}
	if s.Error != "" {
		out.Status().SetCode(ptrace.StatusCodeError)
		out.Status().SetMessage(s.Error)
	}
	for _, l := range s.Links {
		link := out.Links().AppendEmpty()
		link.SetTraceID(traceID(l.ID))
		link.SetSpanID(spanID(l.Span))
	}
}

func encodeLines(lines []mayfly.LogLine, node string) []byte {
	ld := plog.NewLogs()
	lists := map[resource]plog.LogRecordSlice{}
	for i := range lines {
		l := &lines[i]
		k := resource{l.App, l.Function, l.Version}
		list, ok := lists[k]
		if !ok {
			rl := ld.ResourceLogs().AppendEmpty()
			k.put(rl.Resource(), node)
			sl := rl.ScopeLogs().AppendEmpty()
			sl.Scope().SetName(scopeName)
			list = sl.LogRecords()
			lists[k] = list
		}
		putLine(list.AppendEmpty(), l)
	}
	body, _ := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	return body
}

var severities = map[string]plog.SeverityNumber{
	"debug": plog.SeverityNumberDebug, "info": plog.SeverityNumberInfo, "warn": plog.SeverityNumberWarn, "error": plog.SeverityNumberError,
}

func putLine(r plog.LogRecord, l *mayfly.LogLine) {
	r.SetTimestamp(pcommon.NewTimestampFromTime(l.Time))
	r.SetObservedTimestamp(pcommon.NewTimestampFromTime(l.Time))
	r.SetSeverityNumber(severities[l.Level])
	r.SetSeverityText(l.Level)
	r.Body().SetStr(l.Text)
	r.SetTraceID(traceID(l.TraceID))
	r.SetSpanID(spanID(l.SpanID))
	a := r.Attributes()
	a.PutStr("log.iostream", string(l.Stream))
	if l.Instance != "" {
		a.PutStr("faas.instance", l.Instance)
	}
	if l.Invocation != "" {
		a.PutStr("faas.invocation_id", l.Invocation)
	}
}

func encodeMetrics(all []telemetry.Metric, node string, now time.Time) []byte {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	resource{}.put(rm.Resource(), node)
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(scopeName)
	byName := map[string]pmetric.Metric{}
	for i := range all {
		m := &all[i]
		out, ok := byName[m.Name]
		if !ok {
			out = sm.Metrics().AppendEmpty()
			out.SetName(m.Name)
			out.SetDescription(m.Help)
			byName[m.Name] = out
		}
		putMetric(out, m, pcommon.NewTimestampFromTime(now))
	}
	body, _ := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	return body
}

func putMetric(out pmetric.Metric, m *telemetry.Metric, now pcommon.Timestamp) {
	start := pcommon.NewTimestampFromTime(m.Start)
	switch {
	case m.Hist != nil:
		if out.Type() == pmetric.MetricTypeEmpty {
			out.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}
		d := out.ExponentialHistogram().DataPoints().AppendEmpty()
		d.SetStartTimestamp(start)
		d.SetTimestamp(now)
		d.SetScale(m.Hist.Scale)
		d.SetCount(m.Hist.Count)
		d.SetSum(m.Hist.Sum)
		d.SetZeroCount(m.Hist.Zero)
		d.Positive().SetOffset(m.Hist.Offset)
		d.Positive().BucketCounts().FromRaw(m.Hist.Buckets)
		putLabels(d.Attributes(), m.Labels)
	case m.Counter:
		if out.Type() == pmetric.MetricTypeEmpty {
			sum := out.SetEmptySum()
			sum.SetIsMonotonic(true)
			sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}
		putNumber(out.Sum().DataPoints().AppendEmpty(), m, start, now)
	default:
		if out.Type() == pmetric.MetricTypeEmpty {
			out.SetEmptyGauge()
		}
		putNumber(out.Gauge().DataPoints().AppendEmpty(), m, start, now)
	}
}

func putNumber(d pmetric.NumberDataPoint, m *telemetry.Metric, start, now pcommon.Timestamp) {
	d.SetStartTimestamp(start)
	d.SetTimestamp(now)
	d.SetDoubleValue(m.Value)
	putLabels(d.Attributes(), m.Labels)
}

func putLabels(a pcommon.Map, labels map[string]string) {
	for k, v := range labels {
		a.PutStr(k, v)
	}
}

// traceID is the zero id where s is none.
func traceID(s string) (id pcommon.TraceID) {
	if len(s) == 32 {
		if _, err := hex.Decode(id[:], []byte(s)); err != nil {
			return pcommon.TraceID{}
		}
	}
	return id
}

func spanID(s string) (id pcommon.SpanID) {
	if len(s) == 16 {
		if _, err := hex.Decode(id[:], []byte(s)); err != nil {
			return pcommon.SpanID{}
		}
	}
	return id
}
