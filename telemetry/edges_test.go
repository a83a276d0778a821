package telemetry

import (
	"maps"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

func TestMapJoinsQueuesWithWhoTakesFromThem(t *testing.T) {
	var m edgeMap
	now := time.Now()
	call := func(fn mayfly.FunctionName, trigger mayfly.TriggerKind) {
		m.invocations([]*mayfly.Invocation{{App: "shop", Function: fn, Trigger: trigger, Outcome: mayfly.OutcomeOK, Duration: time.Second}}, now)
	}
	receive := func(fn mayfly.FunctionName, resource string) {
		m.spans([]mayfly.Span{{Kind: mayfly.SpanConsumer, App: "shop", Function: fn, Attributes: map[string]string{"mayfly.resource": resource}}}, now)
	}
	call("work", mayfly.TriggerQueue) // before its message's span is here
	receive("work", "queue/jobs")
	call("work", mayfly.TriggerQueue)
	call("work", mayfly.TriggerHTTP)
	for _, queue := range []string{"queue/jobs", "queue/mail", "queue/jobs"} {
		receive("both", queue)
	}
	call("both", mayfly.TriggerQueue)
	shows := func(want map[string]int64) {
		t.Helper()
		got := map[string]int64{}
		for _, e := range m.list("shop") {
			got[e.From+" "+e.To] = e.Calls
		}
		if !maps.Equal(got, want) {
			t.Errorf("edges %v, want %v", got, want)
		}
	}
	shows(map[string]int64{"shop:queue/jobs shop/work": 2, "http shop/work": 1, "queue shop/both": 1})

	now = now.Add(edgeTurn) // by then a deploy has left it one of them
	receive("both", "queue/mail")
	call("both", mayfly.TriggerQueue)
	now = now.Add(edgeTurn)
	call("work", mayfly.TriggerHTTP)
	shows(map[string]int64{"shop:queue/mail shop/both": 1, "http shop/work": 1})
}
