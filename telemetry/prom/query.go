package prom

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

const (
	queryTimeout = 30 * time.Second
	maxSamples   = 5_000_000 // in memory for one query, about 80 MiB at worst
	lookback     = 5 * time.Minute
)

// queryEngine is made at the first query.
func (m *Metrics) queryEngine() *promql.Engine {
	if e := m.engine.Load(); e != nil {
		return e
	}
	e := promql.NewEngine(promql.EngineOpts{
		Logger: m.cfg.Log, MaxSamples: maxSamples, Timeout: queryTimeout, LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() }, Parser: m.parser,
	})
	if !m.engine.CompareAndSwap(nil, e) {
		return m.engine.Load()
	}
	return e
}

// slot waits for one of the few queries that may run at once.
func (m *Metrics) slot(ctx context.Context) (release func(), err error) {
	select {
	case m.slots <- struct{}{}:
		return func() { <-m.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// CheckQuery reports what is wrong with a PromQL expression.
func (m *Metrics) CheckQuery(expr string) error {
	if _, err := m.parser.ParseExpr(expr); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "", "%q is not PromQL: %w", expr, err)
	}
	return nil
}

// Scope restricts every selector of expr to the series of an app.
func (m *Metrics) Scope(expr string, app mayfly.AppName) (string, error) {
	e, err := m.parser.ParseExpr(expr)
	if err != nil {
		return "", mayfly.Errorf(mayfly.Invalid, "", "%q is not PromQL: %w", expr, err)
	}
	only := labels.MustNewMatcher(labels.MatchEqual, "app", string(app))
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			v.LabelMatchers = slices.DeleteFunc(v.LabelMatchers, func(l *labels.Matcher) bool {
				return l.Name == "app" && l.Type == labels.MatchEqual && l.Value == only.Value
			})
			v.LabelMatchers = append(v.LabelMatchers, only)
		}
		return nil
	})
	return e.String(), nil
}

// Query evaluates a PromQL expression at one moment. A scalar is a sample
// without labels; a native histogram has no single value and is left out.
func (m *Metrics) Query(ctx context.Context, expr string, at time.Time) ([]telemetry.Sample, error) {
	res, done, err := m.instant(ctx, expr, at)
	if err != nil {
		return nil, err
	}
	defer done()
	switch v := res.Value.(type) {
	case promql.Scalar:
		return []telemetry.Sample{{Labels: map[string]string{}, Value: v.V, Time: at}}, nil
	case promql.Vector:
		out := make([]telemetry.Sample, 0, len(v))
		for _, s := range v {
			if s.H == nil {
				out = append(out, telemetry.Sample{Labels: s.Metric.Map(), Value: s.F, Time: at})
			}
		}
		return out, nil
	}
	return nil, mayfly.Errorf(mayfly.Invalid, "query metrics", "%q is a %s; a value at a moment is wanted", expr, res.Value.Type())
}

// Range evaluates an expression at each step from start to end. The samples of
// one series follow one another.
func (m *Metrics) Range(ctx context.Context, expr string, start, end time.Time, step time.Duration) ([]telemetry.Sample, error) {
	res, done, err := m.over(ctx, expr, start, end, step)
	if err != nil {
		return nil, err
	}
	defer done()
	matrix, err := res.Matrix()
	if err != nil {
		return nil, err
	}
	var out []telemetry.Sample
	for _, s := range matrix {
		ls := s.Metric.Map()
		for _, p := range s.Floats {
			out = append(out, telemetry.Sample{Labels: ls, Value: p.F, Time: time.UnixMilli(p.T)})
		}
	}
	return out, nil
}

// instant runs a query; done frees what the result holds.
func (m *Metrics) instant(ctx context.Context, expr string, at time.Time) (*promql.Result, func(), error) {
	if m.db.Load() == nil {
		return nil, nil, errNotOpen
	}
	q, err := m.queryEngine().NewInstantQuery(ctx, m, nil, expr, at)
	if err != nil {
		return nil, nil, mayfly.Errorf(mayfly.Invalid, "query metrics", "%w", err)
	}
	return m.exec(ctx, q)
}

func (m *Metrics) over(ctx context.Context, expr string, start, end time.Time, step time.Duration) (*promql.Result, func(), error) {
	if m.db.Load() == nil {
		return nil, nil, errNotOpen
	}
	q, err := m.queryEngine().NewRangeQuery(ctx, m, nil, expr, start, end, step)
	if err != nil {
		return nil, nil, mayfly.Errorf(mayfly.Invalid, "query metrics", "%w", err)
	}
	return m.exec(ctx, q)
}

func (m *Metrics) exec(ctx context.Context, q promql.Query) (*promql.Result, func(), error) {
	release, err := m.slot(ctx)
	if err != nil {
		q.Close()
		return nil, nil, err
	}
	res := q.Exec(ctx)
	if res.Err != nil {
		q.Close()
		release()
		return nil, nil, queryError(res.Err)
	}
	return res, func() { q.Close(); release() }, nil
}

func queryError(err error) error {
	var known *mayfly.Error
	if errors.As(err, &known) {
		return known
	}
	var timeout promql.ErrQueryTimeout
	var canceled promql.ErrQueryCanceled
	var many promql.ErrTooManySamples
	var store promql.ErrStorage
	switch {
	case errors.As(err, &timeout), errors.As(err, &canceled):
		return mayfly.Errorf(mayfly.Timeout, "query metrics", "%w", err)
	case errors.As(err, &many):
		return mayfly.Errorf(mayfly.TooLarge, "query metrics", "%w", err)
	case errors.As(err, &store):
		return mayfly.Errorf(mayfly.Internal, "query metrics", "%w", err)
	}
	return mayfly.Errorf(mayfly.Invalid, "query metrics", "%w", err)
}

// bounds of the database's times.
var (
	minTime = time.UnixMilli(math.MinInt64 / 1000)
	maxTime = time.UnixMilli(math.MaxInt64 / 1000)
)

// selectors parses match[] parameters.
func (m *Metrics) selectors(match []string) ([][]*labels.Matcher, error) {
	out := make([][]*labels.Matcher, 0, len(match))
	for _, s := range match {
		ms, err := m.parser.ParseMetricSelector(s)
		if err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "", "match[] %q: %w", s, err)
		}
		out = append(out, ms)
	}
	return out, nil
}
