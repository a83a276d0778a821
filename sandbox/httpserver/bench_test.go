package httpserver

import (
	"context"
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// BenchmarkCall is warm events, one at a time.
func BenchmarkCall(b *testing.B) {
	in := start(b, serverSpec(b, "echo"))
	b.ResetTimer()
	for b.Loop() {
		if _, err := in.Call(context.Background(), &sandbox.Call{ID: "i", Event: []byte(`{"a":1}`)}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCold is a start, a first call, and the end.
func BenchmarkCold(b *testing.B) {
	d, spec := newDriver(b), serverSpec(b, "echo")
	for b.Loop() {
		in, err := d.Start(context.Background(), spec, &sandboxtest.Recorder{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := in.Call(context.Background(), &sandbox.Call{ID: "i", Event: []byte(`{"a":1}`)}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		in.Stop(context.Background())
		b.StartTimer()
	}
}
