package python_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
)

const echo = "def handler(event, context):\n    return event\n"

func startBench(b *testing.B, code string, perInstance int) sandbox.Instance {
	b.Helper()
	d := newDriver(b)
	spec := bundle(b, "app.handler", map[string]string{"app.py": code})
	spec.App, spec.Function, spec.Memory, spec.PerInstance, spec.Digest = "bench", "echo", mayfly.DefaultMemory, perInstance, b.Name()
	inst, err := d.Start(context.Background(), spec, frame.Silent{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { end(inst) })
	return inst
}

func end(inst sandbox.Instance) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	inst.Stop(ctx)
}

func callOnce(b *testing.B, inst sandbox.Instance) {
	call := &sandbox.Call{
		ID: "11111111-2222-3333-4444-555555555555", Deadline: time.Now().Add(time.Minute), Attempt: 1,
		Trigger: mayfly.TriggerDirect, Trace: mayfly.Trace{ID: "0123456789abcdef0123456789abcdef", Span: "0123456789abcdef"},
		Event: []byte(`{"hello":"world","n":12345}`),
	}
	if _, err := inst.Call(context.Background(), call); err != nil {
		b.Error(err)
	}
}

func alone(b *testing.B, inst sandbox.Instance) {
	report := processor(b, inst)
	for b.Loop() {
		callOnce(b, inst)
	}
	report()
}

// processor reports what a call costs the worker's processor and this
// process's, which other load on the machine changes little.
func processor(b *testing.B, inst sandbox.Instance) func() {
	own := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	worker, daemon := inst.Usage().CPU, own()
	return func() {
		b.ReportMetric(float64((inst.Usage().CPU-worker).Nanoseconds())/float64(b.N)/1e3, "worker-µs/call")
		b.ReportMetric(float64((own()-daemon).Nanoseconds())/float64(b.N)/1e3, "daemon-µs/call")
	}
}

// BenchmarkCall is one call after another through one worker.
func BenchmarkCall(b *testing.B) {
	alone(b, startBench(b, echo, 1))
}

// BenchmarkCallAsync is the same with an async handler.
func BenchmarkCallAsync(b *testing.B) {
	alone(b, startBench(b, "async def handler(event, context):\n    return event\n", 1))
}

// BenchmarkConcurrent is 16 callers of one worker with an async handler.
func BenchmarkConcurrent(b *testing.B) {
	inst := startBench(b, "async def handler(event, context):\n    return event\n", 16)
	report := processor(b, inst)
	hammer(b, 16, func(int) { callOnce(b, inst) })
	report()
}

// BenchmarkWorkers is 2 workers with a caller each.
func BenchmarkWorkers(b *testing.B) {
	insts := []sandbox.Instance{startBench(b, echo, 1), startBench(b, echo, 1)}
	hammer(b, len(insts), func(i int) { callOnce(b, insts[i]) })
}

func hammer(b *testing.B, callers int, call func(caller int)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				call(i)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkStart is a cold start to the first reply behind walls, from a worker
// started ahead.
func BenchmarkStart(b *testing.B) {
	d := walled(b, 0)
	spec := bundle(b, "app.handler", map[string]string{"app.py": "import json, logging, datetime\n" + echo})
	spec.App, spec.Function, spec.Memory, spec.PerInstance, spec.Digest = "bench", "start", mayfly.DefaultMemory, 1, b.Name()
	if err := d.Prepare(context.Background(), spec); err != nil {
		b.Fatal(err)
	}
	startLoop(b, d, spec)
}

// startLoop starts b.N instances with a pause before each, in which the stocks
// fill, and reports the median and its phases.
func startLoop(b *testing.B, d sandbox.Driver, spec *sandbox.Spec) {
	phases := map[mayfly.PhaseName][]time.Duration{}
	var all []time.Duration
	for range b.N {
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		inst, err := d.Start(context.Background(), spec, frame.Silent{})
		if err != nil {
			b.Fatal(err)
		}
		callOnce(b, inst)
		all = append(all, time.Since(began))
		for _, p := range inst.Info().Phases {
			phases[p.Name] = append(phases[p.Name], p.Duration)
		}
		end(inst)
	}
	for name, d := range phases {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds())/1000, fmt.Sprintf("ms-%s", name))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99")
}
