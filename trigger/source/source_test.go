package source

import (
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

type links []trigger.LinkState

func (l links) Links() []trigger.LinkState { return l }

func TestList(t *testing.T) {
	s := New([]Driver{
		links{{App: "a", Kind: mayfly.TriggerNATS, Of: "orders.>", Status: trigger.LinkLost, Error: "no route"}},
		links{{App: "b", Kind: mayfly.TriggerAMQP, Of: "of another app"}, {App: "a", Kind: mayfly.TriggerAMQP, Of: "orders", Accepted: 7}},
	}, nil)
	register := func(api huma.API) { s.Register(api) }
	do := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerAdmin}, register)
	status, reply := do("GET", "/v1/apps/a/sources", "")
	for _, want := range []string{`"of":"orders.\u003e"`, `"error":"no route"`, `"accepted":7`} {
		if status != 200 || !strings.Contains(strings.ReplaceAll(reply, ">", `\u003e`), want) {
			t.Errorf("%d, no %s in %s", status, want, reply)
		}
	}
	if strings.Contains(reply, "another app") {
		t.Error(reply)
	}
	if status, reply := do("GET", "/v1/apps/c/sources", ""); status != 200 || !strings.Contains(reply, `"sources":[]`) {
		t.Error(status, reply)
	}
	stranger := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerFunction, App: "a"}, register)
	if status, reply := stranger("GET", "/v1/apps/a/sources", ""); status != 403 {
		t.Error(status, reply)
	}
}
