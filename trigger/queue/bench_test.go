package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

// BenchmarkQueue accepts messages of 100 bytes from eight senders, ten at once,
// and has them received in batches of ten by a function that takes no time:
// what the platform itself costs, synced to the disk.
func BenchmarkQueue(b *testing.B) {
	for _, order := range []string{"", "k"} {
		b.Run("order_by="+order, func(b *testing.B) {
			var left, sent atomic.Int64
			left.Store(int64(b.N))
			done := make(chan struct{})
			m := app(&mayfly.Queue{OrderBy: order}, mayfly.Trigger{Batch: 10})
			r := start(b, "", triggertest.Deploy(m), func(_ context.Context, c *trigger.Call) ([]byte, error) {
				if left.Add(-int64(len(decode(b, c).Records))) == 0 {
					close(done)
				}
				return nil, nil
			})
			b.ResetTimer()
			var senders sync.WaitGroup
			for worker := range 8 {
				senders.Go(func() {
					for {
						n := min(10, int64(b.N)-sent.Add(10)+10)
						if n <= 0 {
							return
						}
						var all []*mayfly.Message
						for i := range n {
							all = append(all, message(fmt.Sprintf(`{"k":%d,"text":"%080d"}`, worker*100+int(i), i)))
						}
						r.send("jobs", all...)
					}
				})
			}
			senders.Wait()
			<-done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkLatency sends 500 messages a second and reports how long from the
// send's begin to the function's.
func BenchmarkLatency(b *testing.B) {
	var mu sync.Mutex
	var took []time.Duration
	r := start(b, "", triggertest.Deploy(app(&mayfly.Queue{}, mayfly.Trigger{})), func(_ context.Context, c *trigger.Call) ([]byte, error) {
		var at int64
		if err := json.Unmarshal([]byte(decode(b, c).Records[0].Body), &at); err != nil {
			b.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, time.Duration(time.Now().UnixNano()-at))
		return nil, nil
	})
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var sends sync.WaitGroup
	for b.Loop() {
		<-tick.C
		sends.Go(func() { r.send("jobs", message(fmt.Sprint(time.Now().UnixNano()))) })
	}
	sends.Wait()
	r.empty("jobs")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}
