package daemon

import (
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// spans keeps what a tracer made.
type spans struct {
	nothing
	list []mayfly.Span
}

func (s *spans) Span(span mayfly.Span) { s.list = append(s.list, span) }

// What code does over S3 is in the trace that its request names, else in that of
// the one call that its instance runs, else in none.
func TestTracerKnowsTheCall(t *testing.T) {
	made := &spans{}
	tr := &tracer{sink: made, calls: &underway{calls: map[int][]cause{}}}
	who := mayfly.Caller{Kind: mayfly.CallerFunction, App: "shop", Function: "pay", Version: 2, PID: 7}
	hops := 0
	begin := func(said mayfly.Trace) mayfly.Trace {
		trace, through, end := tr.Begin(who, said, "write", "bucket/receipts")
		end(nil)
		hops = through
		return trace
	}
	one, other := &mayfly.Invocation{ID: "1", Trace: mayfly.NewTrace()}, &mayfly.Invocation{ID: "2", Trace: mayfly.NewTrace()}
	if got := begin(mayfly.Trace{}); got.ID != "" || len(made.list) != 0 || hops != 1 {
		t.Errorf("no call runs, and there is a span in %+v", got)
	}
	tr.calls.Began(7, one, 3)
	if got := begin(mayfly.Trace{}); got.ID != one.Trace.ID || got.Parent != one.Trace.Span || made.list[0].Invocation != "1" || hops != 4 {
		t.Errorf("one call runs: %+v, %+v, %d hops", got, made.list, hops)
	}
	tr.calls.Began(7, other, 0)
	if got := begin(mayfly.Trace{}); got.ID != "" || len(made.list) != 1 {
		t.Errorf("two calls run, and nothing says which: %+v", got)
	}
	if got := begin(other.Trace.Child()); got.ID != other.Trace.ID || len(made.list) != 2 || made.list[1].Name != "write bucket/receipts" {
		t.Errorf("two calls run, and the request says which: %+v, %+v", got, made.list)
	}
	tr.calls.Ended(7, one)
	if got := begin(mayfly.Trace{}); got.ID != other.Trace.ID {
		t.Errorf("one is left: %+v", got)
	}
}
