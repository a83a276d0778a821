package daemon

import (
	"fmt"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/meter"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// refusals tells in a function's own log of connections that its egress does
// not open, with the line that would, and counts them.
type refusals struct {
	log    sandbox.Output
	ledger *meter.Ledger // is told what passes

	mu     sync.Mutex
	counts map[[2]string]float64 // guarded by mu; by app and function
}

var (
	_ process.EgressRecorder = (*refusals)(nil)
	_ process.EgressMeter    = (*refusals)(nil)
)

// EgressSent puts what code sent into the ledger.
func (r *refusals) EgressSent(who mayfly.Caller, bytes int) {
	r.ledger.Egress(who.App, who.Function, who.Version, int64(bytes))
}

func (r *refusals) EgressRefused(who mayfly.Caller, target, line string) {
	r.log.Log(mayfly.LogLine{
		Time: time.Now(), App: who.App, Function: who.Function, Version: who.Version, Stream: mayfly.Platform, Level: "warn",
		Text: fmt.Sprintf("refused a connection to %s, which egress does not name; where it is wanted, add to %s in mayfly.yaml:  egress: [%q]", target, who.Function, line),
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[[2]string]float64{}
	}
	r.counts[[2]string{string(who.App), string(who.Function)}]++
}

// each gives what was counted since the start, for the metrics.
func (r *refusals) each(emit emit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, n := range r.counts {
		emit(n, at[0], at[1])
	}
}
