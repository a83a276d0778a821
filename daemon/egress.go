package daemon

import (
	"fmt"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// refusals tells in a function's own log of connections that its egress does
// not open, with the line that would.
type refusals struct{ log sandbox.Output }

var _ process.EgressRecorder = refusals{}

func (r refusals) EgressRefused(who mayfly.Caller, target, line string) {
	r.log.Log(mayfly.LogLine{
		Time: time.Now(), App: who.App, Function: who.Function, Version: who.Version, Stream: mayfly.Platform, Level: "warn",
		Text: fmt.Sprintf("refused a connection to %s, which egress does not name; where it is wanted, add to %s in mayfly.yaml:  egress: [%q]", target, who.Function, line),
	})
}
