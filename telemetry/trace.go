package telemetry

import (
	"context"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// TraceView is all that is known of one trace.
type TraceView struct {
	ID          string               `json:"id"`
	Start       time.Time            `json:"start"`
	Duration    time.Duration        `json:"duration_ns"`
	Failed      bool                 `json:"failed"`
	Spans       []mayfly.Span        `json:"spans"` // by start; each call's own span and its phases included
	Logs        []LiftedLine         `json:"logs"`
	Invocations []*mayfly.Invocation `json:"invocations"`
}

// maxTraceRows is the most rows of a kind that one trace shows.
const maxTraceRows = 5_000

// Trace gathers a trace. An id of which nothing is kept is a NotFound error.
func (s *Store) Trace(ctx context.Context, id string) (*TraceView, error) {
	v, err := s.traceRows(ctx, id)
	if err != nil {
		return nil, err
	}
	if v.Logs, err = s.Logs(ctx, LogQuery{TraceID: id, Limit: maxTraceRows, Oldest: true}); err != nil {
		return nil, err
	}
	if len(v.Spans)+len(v.Logs) == 0 {
		return nil, mayfly.Errorf(mayfly.NotFound, "find trace", "nothing is kept of trace %q; spans are kept for %s", id, mayfly.Duration(s.cfg.Spans.Age))
	}
	return v, nil
}

// traceRows is a trace without its lines.
func (s *Store) traceRows(ctx context.Context, id string) (*TraceView, error) {
	s.drain()
	spans, err := s.spans.scan(ctx, filter[mayfly.Span]{ids: [2]string{"", id}, limit: maxTraceRows, oldest: true})
	if err != nil {
		return nil, err
	}
	calls, err := s.calls.scan(ctx, filter[*mayfly.Invocation]{ids: [2]string{"", id}, limit: maxTraceRows, oldest: true})
	if err != nil {
		return nil, err
	}
	v := &TraceView{ID: id, Spans: withCallSpans(spans, calls), Invocations: calls}
	v.measure()
	return v, nil
}

// measure fills what follows from the spans.
func (v *TraceView) measure() {
	var end time.Time
	for i := range v.Spans {
		s := &v.Spans[i]
		if v.Start.IsZero() || s.Start.Before(v.Start) {
			v.Start = s.Start
		}
		if s.End.After(end) {
			end = s.End
		}
		v.Failed = v.Failed || s.Error != ""
	}
	if !v.Start.IsZero() {
		v.Duration = end.Sub(v.Start)
	}
}

// withCallSpans adds the spans that records stand for. A span that was given
// under the record's own id is replaced: the record knows more.
func withCallSpans(spans []mayfly.Span, calls []*mayfly.Invocation) []mayfly.Span {
	own := make(map[string]bool, len(calls))
	for _, inv := range calls {
		own[inv.Trace.Span] = inv.Trace.Span != ""
	}
	spans = slices.DeleteFunc(spans, func(s mayfly.Span) bool { return own[s.Trace.Span] })
	for _, inv := range calls {
		spans = append(spans, CallSpans(inv)...)
	}
	slices.SortStableFunc(spans, func(a, b mayfly.Span) int { return a.Start.Compare(b.Start) })
	return spans
}
