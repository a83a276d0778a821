package python_test

import (
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

const echo = "def handler(event, context):\n    return event\n"

func startBench(b *testing.B, code string, perInstance int) sandbox.Instance {
	b.Helper()
	spec := bundle(b, "app.handler", map[string]string{"app.py": code})
	spec.PerInstance = perInstance
	return sandboxtest.StartSilent(b, newDriver(b), spec)
}

// BenchmarkCall is one call after another through one worker.
func BenchmarkCall(b *testing.B) {
	sandboxtest.Calls(b, startBench(b, echo, 1))
}

// BenchmarkCallAsync is the same with an async handler.
func BenchmarkCallAsync(b *testing.B) {
	sandboxtest.Calls(b, startBench(b, "async def handler(event, context):\n    return event\n", 1))
}

// BenchmarkConcurrent is 16 callers of one worker with an async handler.
func BenchmarkConcurrent(b *testing.B) {
	inst := startBench(b, "async def handler(event, context):\n    return event\n", 16)
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
	spec := bundle(b, "app.handler", map[string]string{"app.py": "import json, logging, datetime\n" + echo})
	sandboxtest.Starts(b, d, spec)
}
