package binary

import (
	"context"
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// BenchmarkCall is warm calls of aws-lambda-go's echo, one at a time.
func BenchmarkCall(b *testing.B) {
	in := start(b, lambdaSpec(b, "echo"))
	b.ResetTimer()
	for b.Loop() {
		if _, err := call(b, in, `{"a":1}`); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCalls32 is 32 callers of one instance that takes as many calls.
func BenchmarkCalls32(b *testing.B) {
	spec := lambdaSpec(b, "echo")
	spec.PerInstance = 32
	in := start(b, spec)
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := call(b, in, `{"a":1}`); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkCold is a start, a first call, and the end.
func BenchmarkCold(b *testing.B) {
	d, spec := newDriver(b), lambdaSpec(b, "echo")
	for b.Loop() {
		in, err := d.Start(context.Background(), spec, &sandboxtest.Recorder{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := call(b, in, `{"a":1}`); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		in.Stop(context.Background())
		b.StartTimer()
	}
}
