package node_test

import (
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

const echo = "exports.handler = async (event) => event"

func startBench(b *testing.B, code string, perInstance int) sandbox.Instance {
	b.Helper()
	spec := bundle(b, "app.handler", map[string]string{"app.js": code})
	spec.PerInstance = perInstance
	return sandboxtest.StartSilent(b, newDriver(b), spec)
}

// BenchmarkCall is one call after another through one worker.
func BenchmarkCall(b *testing.B) {
	sandboxtest.Calls(b, startBench(b, echo, 1))
}

// BenchmarkConcurrent is 16 callers of one worker with an async handler.
func BenchmarkConcurrent(b *testing.B) {
	inst := startBench(b, echo, 16)
	report := sandboxtest.Processor(b, inst)
	sandboxtest.Hammer(b, 16, func(int) { sandboxtest.CallOnce(b, inst) })
	report()
}

// BenchmarkWorkers is 2 workers with a caller each.
func BenchmarkWorkers(b *testing.B) {
	insts := []sandbox.Instance{startBench(b, echo, 1), startBench(b, echo, 1)}
	sandboxtest.Hammer(b, len(insts), func(i int) { sandboxtest.CallOnce(b, insts[i]) })
}

// BenchmarkStart is a cold start to the first reply behind walls, from a worker
// started ahead.
func BenchmarkStart(b *testing.B) {
	d := walled(b, 0)
	spec := bundle(b, "app.handler", map[string]string{"app.js": "const path = require('path');\n" + echo})
	sandboxtest.Starts(b, d, spec)
}
