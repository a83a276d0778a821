package wasm

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

func tiny(b *testing.B) *sandbox.Spec {
	return spec(b, map[string][]byte{"echo.wasm": echoModule()})
}

// BenchmarkCall is warm calls, one at a time, of a module as small as C's.
func BenchmarkCall(b *testing.B) { benchCall(b, start(b, tiny(b))) }

// BenchmarkCallGo is the same with a module compiled by Go.
func BenchmarkCallGo(b *testing.B) { benchCall(b, start(b, goSpec(b, "echo"))) }

func benchCall(b *testing.B, in sandbox.Instance) {
	call := &sandbox.Call{ID: "i", Event: []byte(`{"a":1}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.Call(context.Background(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCalls32 is 32 callers of two workers.
func BenchmarkCalls32(b *testing.B) {
	s := tiny(b)
	d := newDriver(b)
	free := make(chan sandbox.Instance, 2)
	for range 2 {
		in, err := d.Start(context.Background(), s, &sandboxtest.Recorder{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { in.Stop(context.Background()) })
		free <- in
	}
	var ids atomic.Int64
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			in := <-free
			_, err := in.Call(context.Background(), &sandbox.Call{ID: strconv.FormatInt(ids.Add(1), 10), Event: []byte(`{"a":1}`)})
			free <- in
			if err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkColdSpare is a start with a spare ready, and a first call.
func BenchmarkColdSpare(b *testing.B) { benchCold(b, newDriver(b), tiny(b), true) }

// BenchmarkColdSpareGo is the same with a module compiled by Go.
func BenchmarkColdSpareGo(b *testing.B) { benchCold(b, newDriver(b), goSpec(b, "echo"), true) }

// BenchmarkColdStock is a start from a worker that has no function yet.
func BenchmarkColdStock(b *testing.B) { benchCold(b, noSpares(b), tiny(b), false) }

// BenchmarkColdStockGo is the same with a module compiled by Go.
func BenchmarkColdStockGo(b *testing.B) { benchCold(b, noSpares(b), goSpec(b, "echo"), false) }

func noSpares(b *testing.B) *Driver {
	d := newDriver(b)
	d.spares.most = 0
	return d
}

func benchCold(b *testing.B, d *Driver, s *sandbox.Spec, spare bool) {
	if err := d.Prepare(context.Background(), s); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		for spare && !d.spares.ready(key(s)) || d.stock.Ready() == 0 {
			time.Sleep(time.Millisecond)
		}
		b.StartTimer()
		in, err := d.Start(context.Background(), s, &sandboxtest.Recorder{})
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
