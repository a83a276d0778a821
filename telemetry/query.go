package telemetry

import (
	"context"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Limits of one answer.
const (
	defaultLimit = 200
	maxLimit     = 10_000
)

// LogQuery says which lines are wanted. Zero fields do not restrict.
type LogQuery struct {
	App        mayfly.AppName
	Function   mayfly.FunctionName
	Version    int
	Level      string // this or worse: debug, info, warn, error
	Stream     mayfly.LogStream
	Invocation string
	TraceID    string
	Text       string            // in the line, whatever the case of ASCII letters
	Fields     map[string]string // of a JSON line, by dotted path: "user.id" → "42"
	Since      time.Time         // inclusive
	Until      time.Time         // exclusive
	Limit      int               // default 200, at most 10,000
	Oldest     bool              // the first of them instead of the last
}

// InvocationQuery says which invocations are wanted. Zero fields do not
// restrict.
type InvocationQuery struct {
	App      mayfly.AppName
	Function mayfly.FunctionName
	Version  int
	Trigger  mayfly.TriggerKind
	Outcome  mayfly.Outcome
	Failed   bool // any outcome but ok
	Cold     bool
	TraceID  string
	Text     string        // in the name, the attributes or the error of the call's span
	Slower   time.Duration // at least this long
	Since    time.Time     // inclusive
	Until    time.Time     // exclusive
	Limit    int           // default 200, at most 10,000
	Oldest   bool          // the first of them instead of the last
}

// SpanQuery says which spans are wanted. Zero fields do not restrict.
type SpanQuery struct {
	App        mayfly.AppName
	Function   mayfly.FunctionName
	TraceID    string
	Invocation string
	Text       string // in the name, the attributes or the error
	Failed     bool
	Slower     time.Duration
	Since      time.Time
	Until      time.Time
	Limit      int
}

func clampLimit(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}

// Logs returns the lines that match, in the order of their time: the last
// q.Limit of them, or with q.Oldest the first. What Log was given before the
// call is in the answer.
func (s *Store) Logs(ctx context.Context, q LogQuery) ([]LiftedLine, error) {
	q.Limit = clampLimit(q.Limit)
	s.drain()
	found, err := s.lines.scan(ctx, q.filter())
	if err != nil {
		return nil, err
	}
	lines := make([]LiftedLine, len(found))
	for i := range found {
		lines[i] = lift(found[i])
	}
	return lines, nil
}

// Invocations returns the records that match, in the order of their start: the
// last q.Limit of them, or with q.Oldest the first.
func (s *Store) Invocations(ctx context.Context, q InvocationQuery) ([]*mayfly.Invocation, error) {
	q.Limit = clampLimit(q.Limit)
	s.drain()
	return s.calls.scan(ctx, q.filter())
}

// LookupInvocation returns one record. An id without a record is a NotFound
// error.
func (s *Store) LookupInvocation(ctx context.Context, id string) (*mayfly.Invocation, error) {
	s.drain()
	found, err := s.calls.scan(ctx, filter[*mayfly.Invocation]{ids: [2]string{id}, limit: 1})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, mayfly.Errorf(mayfly.NotFound, "find invocation", "there is no record of %q; records are kept for %s", id, mayfly.Duration(s.cfg.Invocations.Age))
	}
	return found[0], nil
}

// Calls returns the records behind the id of a call, or else of a trace. An id of
// neither is a NotFound error.
func (s *Store) Calls(ctx context.Context, id string) ([]*mayfly.Invocation, error) {
	inv, err := s.LookupInvocation(ctx, id)
	if err == nil {
		return []*mayfly.Invocation{inv}, nil
	}
	if mayfly.CodeOf(err) != mayfly.NotFound {
		return nil, err
	}
	calls, err := s.Invocations(ctx, InvocationQuery{TraceID: id, Limit: maxLimit, Oldest: true})
	if err == nil && len(calls) == 0 {
		err = mayfly.Errorf(mayfly.NotFound, "find calls", "there is no call and no trace %q", id)
	}
	return calls, err
}

// Spans returns the spans that match, in the order of their start.
func (s *Store) Spans(ctx context.Context, q SpanQuery) ([]mayfly.Span, error) {
	q.Limit = clampLimit(q.Limit)
	s.drain()
	return s.spans.scan(ctx, q.filter())
}

func (q *LogQuery) filter() filter[mayfly.LogLine] {
	f := filter[mayfly.LogLine]{
		app: string(q.App), function: string(q.Function), version: q.Version, ids: [2]string{q.Invocation, q.TraceID},
		since: nanos(q.Since), until: nanos(q.Until), limit: q.Limit, oldest: q.Oldest,
	}
	if q.Text != "" {
		f.contains = append(f.contains, q.Text)
	}
	for _, v := range q.Fields {
		if jsonPlain(v) {
			f.contains = append(f.contains, v)
		}
	}
	if q.Level != "" || q.Stream != "" {
		level, stream := levelRank(q.Level), streamCode(q.Stream)
		f.key = func(k *rowKey) bool {
			return (q.Level == "" || int(k.flags>>4) >= level) && (q.Stream == "" || k.flags&0xf == stream)
		}
	}
	if len(q.Fields) > 0 {
		f.match = func(l *mayfly.LogLine) bool { return hasFields(l.Text, q.Fields) }
	}
	return f
}

func (q *InvocationQuery) filter() filter[*mayfly.Invocation] {
	f := filter[*mayfly.Invocation]{
		app: string(q.App), function: string(q.Function), version: q.Version, ids: [2]string{"", q.TraceID},
		since: nanos(q.Since), until: nanos(q.Until), limit: q.Limit, oldest: q.Oldest,
	}
	f.key = func(k *rowKey) bool {
		o := outcomeOf(k.flags)
		return (q.Outcome == "" || o == q.Outcome) && (!q.Failed || o != mayfly.OutcomeOK) &&
			(!q.Cold || k.flags&flagCold != 0) && k.num >= int64(q.Slower)
	}
	if q.Trigger != "" || q.Text != "" {
		f.match = func(inv **mayfly.Invocation) bool {
			return (q.Trigger == "" || (*inv).Trigger == q.Trigger) && (q.Text == "" || spanHas(&CallSpans(*inv)[0], q.Text))
		}
	}
	return f
}

func spanHas(s *mayfly.Span, text string) bool {
	if containsFold([]byte(s.Name), text) || containsFold([]byte(s.Error), text) {
		return true
	}
	for _, v := range s.Attributes {
		if containsFold([]byte(v), text) {
			return true
		}
	}
	return false
}

func (q *SpanQuery) filter() filter[mayfly.Span] {
	f := filter[mayfly.Span]{
		app: string(q.App), function: string(q.Function), ids: [2]string{q.Invocation, q.TraceID},
		since: nanos(q.Since), until: nanos(q.Until), limit: q.Limit,
	}
	if q.Text != "" {
		f.contains = []string{q.Text}
	}
	f.key = func(k *rowKey) bool {
		return (!q.Failed || k.flags&flagFailed != 0) && k.num >= int64(q.Slower)
	}
	return f
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
