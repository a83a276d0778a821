package sandboxtest

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

// StartSilent starts an instance for a benchmark, whose output goes nowhere.
func StartSilent(b *testing.B, d sandbox.Driver, spec *sandbox.Spec) sandbox.Instance {
	b.Helper()
	inst, err := d.Start(context.Background(), Complete(spec), frame.Silent{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { End(inst) })
	return inst
}

// CallOnce makes a small call.
func CallOnce(b *testing.B, inst sandbox.Instance) {
	call := &sandbox.Call{
		ID: "11111111-2222-3333-4444-555555555555", Deadline: time.Now().Add(time.Minute), Attempt: 1,
		Trigger: mayfly.TriggerDirect, Trace: mayfly.Trace{ID: "0123456789abcdef0123456789abcdef", Span: "0123456789abcdef"},
		Event: []byte(`{"hello":"world","n":12345}`),
	}
	if _, err := inst.Call(context.Background(), call); err != nil {
		b.Error(err)
	}
}

// Calls makes one call after another.
func Calls(b *testing.B, inst sandbox.Instance) {
	report := Processor(b, inst)
	for b.Loop() {
		CallOnce(b, inst)
	}
	report()
}

// Processor reports what a call costs the worker's processor and this process's,
// which other load on the machine changes little.
func Processor(b *testing.B, inst sandbox.Instance) (report func()) {
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

// Hammer makes b.N calls from several callers.
func Hammer(b *testing.B, callers int, call func(caller int)) {
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

// Starts starts b.N instances with a pause before each, in which stocks fill, and
// makes a call of each. It reports the median with its phases.
func Starts(b *testing.B, d sandbox.Driver, spec *sandbox.Spec) {
	if err := d.Prepare(context.Background(), Complete(spec)); err != nil {
		b.Fatal(err)
	}
	phases := map[mayfly.PhaseName][]time.Duration{}
	var all []time.Duration
	b.ResetTimer()
	for range b.N {
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		inst, err := d.Start(context.Background(), spec, frame.Silent{})
		if err != nil {
			b.Fatal(err)
		}
		CallOnce(b, inst)
		all = append(all, time.Since(began))
		for _, p := range inst.Info().Phases {
			phases[p.Name] = append(phases[p.Name], p.Duration)
		}
		End(inst)
	}
	for name, d := range phases {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds())/1000, fmt.Sprintf("ms-%s", name))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99")
}
