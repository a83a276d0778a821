package telemetry

import (
	"context"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// TraceSummary is one trace of a search.
type TraceSummary struct {
	ID        string             `json:"id"`
	Name      string             `json:"name"` // of the first span
	App       mayfly.AppName     `json:"app,omitempty"`
	Start     time.Time          `json:"start"`
	Duration  time.Duration      `json:"duration_ns"`
	Spans     int                `json:"spans"`
	Functions []string           `json:"functions"` // APP/FUNCTION in the order of their first span
	Failed    bool               `json:"failed"`
	Cold      bool               `json:"cold"`
	Trigger   mayfly.TriggerKind `json:"trigger,omitempty"` // of the first call
}

// TraceQuery says which traces are wanted. Zero fields do not restrict.
type TraceQuery struct {
	App      mayfly.AppName
	Function mayfly.FunctionName
	Text     string // in a span's name, attributes or error
	Failed   bool
	Cold     bool
	Slower   time.Duration // a call or a span of it is
	Since    time.Time
	Until    time.Time
	Limit    int // default 50, at most 200
}

// Traces returns the latest traces in which a call or a span matches, the
// latest first.
func (s *Store) Traces(ctx context.Context, q TraceQuery) ([]TraceSummary, error) {
	if q.Limit <= 0 {
		q.Limit = 50
	}
	q.Limit = min(q.Limit, 200)
	ids, err := s.traceIDs(ctx, q)
	if err != nil {
		return nil, err
	}
	out := make([]TraceSummary, 0, len(ids))
	for _, id := range ids {
		v, err := s.traceRows(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(v.Spans) > 0 {
			out = append(out, v.summary())
		}
	}
	return out, nil
}

// traceIDs finds the traces of the latest calls and spans that match.
func (s *Store) traceIDs(ctx context.Context, q TraceQuery) ([]string, error) {
	type at struct {
		id   string
		time time.Time
	}
	var all []at
	calls, err := s.Invocations(ctx, InvocationQuery{App: q.App, Function: q.Function, Text: q.Text, Failed: q.Failed, Cold: q.Cold, Slower: q.Slower, Since: q.Since, Until: q.Until, Limit: 4 * q.Limit})
	if err != nil {
		return nil, err
	}
	for _, inv := range calls {
		all = append(all, at{inv.Trace.ID, inv.Start})
	}
	if !q.Cold {
		spans, err := s.Spans(ctx, SpanQuery{App: q.App, Function: q.Function, Text: q.Text, Failed: q.Failed, Slower: q.Slower, Since: q.Since, Until: q.Until, Limit: 4 * q.Limit})
		if err != nil {
			return nil, err
		}
		for i := range spans {
			all = append(all, at{spans[i].Trace.ID, spans[i].Start})
		}
	}
	slices.SortStableFunc(all, func(a, b at) int { return b.time.Compare(a.time) })
	var ids []string
	for _, a := range all {
		if a.id != "" && !slices.Contains(ids, a.id) && len(ids) < q.Limit {
			ids = append(ids, a.id)
		}
	}
	return ids, nil
}

func (v *TraceView) summary() TraceSummary {
	t := TraceSummary{ID: v.ID, Name: v.Spans[0].Name, App: v.Spans[0].App, Start: v.Start, Duration: v.Duration, Spans: len(v.Spans), Failed: v.Failed, Functions: []string{}}
	for i := range v.Spans {
		s := &v.Spans[i]
		if t.App == "" {
			t.App = s.App
		}
		if s.Function == "" {
			continue
		}
		if n := functionNode(s.App, s.Function); !slices.Contains(t.Functions, n) {
			t.Functions = append(t.Functions, n)
		}
	}
	for i, inv := range v.Invocations {
		if i == 0 {
			t.Trigger = inv.Trigger
		}
		t.Cold = t.Cold || inv.Cold
	}
	return t
}
