package event_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
)

// BenchmarkThroughput accepts, leases in tens and finishes events of 200 bytes;
// 16 senders send one by one, or ten at a time.
func BenchmarkThroughput(b *testing.B) {
	for _, durability := range []engine.Durability{engine.Always, engine.Fast} {
		for _, lanes := range []int{1, 64} {
			for _, batch := range []int{1, 10} {
				b.Run(fmt.Sprintf("%s/lanes=%d/batch=%d", durability, lanes, batch), func(b *testing.B) { throughput(b, durability, lanes, batch) })
			}
		}
	}
}

func throughput(b *testing.B, durability engine.Durability, lanes, batch int) {
	r := newRig(b, 8, engine.Config{Durability: durability})
	var left, sent atomic.Int64
	left.Store(int64(b.N))
	finished := make(chan struct{})
	var receivers, senders sync.WaitGroup
	for i := range lanes {
		l := r.store.Lane(fmt.Sprint("lane", i))
		receivers.Go(func() {
			for {
				select {
				case <-finished:
					return
				case <-l.Ready():
				}
				leases, err := l.Take(context.Background(), 10, time.Minute, "bench")
				if err != nil {
					b.Error(err)
				}
				for _, le := range leases {
					le.Done()
				}
				if len(leases) > 0 && left.Add(-int64(len(leases))) == 0 {
					close(finished)
				}
			}
		})
	}
	body := make([]byte, 200)
	b.ResetTimer()
	for range 16 {
		senders.Go(func() {
			for {
				n := min(int64(batch), int64(b.N)-sent.Add(int64(batch))+int64(batch))
				if n <= 0 {
					return
				}
				items := make([]*event.Item, n)
				for i := range items {
					items[i] = &event.Item{Body: body}
				}
				if err := r.store.Lane(fmt.Sprint("lane", sent.Load()/int64(batch)%int64(lanes))).Put(context.Background(), items...); err != nil {
					b.Error(err)
				}
			}
		})
	}
	senders.Wait()
	receivers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkMillion is the start with a million waiting items of 200 bytes in a
// thousand lanes. It takes long, and runs with MAYFLY_BENCH_MILLION set.
func BenchmarkMillion(b *testing.B) {
	if os.Getenv("MAYFLY_BENCH_MILLION") == "" {
		b.Skip("set MAYFLY_BENCH_MILLION=1")
	}
	r := newRig(b, 8, engine.Config{Durability: engine.Fast})
	body := make([]byte, 200)
	for i := range 1000 {
		for range 10 {
			items := make([]*event.Item, 100)
			for j := range items {
				items[j] = &event.Item{Body: body}
			}
			r.put(fmt.Sprint("lane", i), items...)
		}
	}
	memory := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse) / (1 << 20)
	}
	with := memory()
	for b.Loop() {
		start := time.Now()
		r.restart()
		b.ReportMetric(time.Since(start).Seconds(), "s/restart")
		start = time.Now()
		if n := len(r.take("lane500", 10)); n != 10 {
			b.Fatal(n)
		}
		b.ReportMetric(float64(time.Since(start).Microseconds()), "µs/first-batch")
	}
	b.ReportMetric(with, "MiB-sent")
	b.ReportMetric(memory(), "MiB-restarted")
}
