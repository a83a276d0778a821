package async

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// BenchmarkCalls accepts calls from 32 clients and runs them with a function
// that takes no time: what the platform itself costs, synced to the disk.
func BenchmarkCalls(b *testing.B) {
	for _, count := range []int{1, 50} {
		b.Run(fmt.Sprintf("functions=%d", count), func(b *testing.B) {
			fns := functions{}
			for i := range count {
				fns[mayfly.FunctionName(fmt.Sprint("f", i))] = retries(1)
			}
			var left, sent atomic.Int64
			left.Store(int64(b.N))
			done := make(chan struct{})
			r := start(b, b.TempDir(), fns, func(context.Context, *trigger.Call) ([]byte, error) {
				if left.Add(-1) == 0 {
					close(done)
				}
				return nil, nil
			})
			b.ResetTimer()
			var clients sync.WaitGroup
			for range 32 {
				clients.Go(func() {
					for n := sent.Add(1); n <= int64(b.N); n = sent.Add(1) {
						r.enqueue(b, mayfly.FunctionName(fmt.Sprint("f", n%int64(count))), `{"n":1}`)
					}
				})
			}
			clients.Wait()
			<-done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
