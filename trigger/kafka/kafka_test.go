package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		t  mayfly.Trigger
		ok bool
	}{
		{mayfly.Trigger{Kafka: "orders", URL: "kafka://localhost:9092"}, true},
		{mayfly.Trigger{Kafka: "orders", URL: "kafkas://a:9092,kafkas://b:9092", Start: "latest", Batch: 5}, true},
		{mayfly.Trigger{Kafka: "or ders", URL: "kafka://localhost:9092"}, false},
		{mayfly.Trigger{Kafka: "orders", URL: "localhost:9092"}, false},
		{mayfly.Trigger{Kafka: "orders", URL: "kafka://a:9092,kafkas://b:9092"}, false},
		{mayfly.Trigger{Kafka: "orders", URL: "kafka://u:p@a:9092"}, false},
		{mayfly.Trigger{Kafka: "orders", URL: "kafka://a:9092", Start: "2026-01-01T00:00:00Z"}, false},
		{mayfly.Trigger{Kafka: "orders", URL: "kafka://a:9092", Batch: -1}, false},
	} {
		if err := New(Config{}).Check(nil, "f", &c.t); (err == nil) != c.ok || err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", c.t, err)
		}
	}
}

type secrets struct{}

func (secrets) Secret(context.Context, mayfly.AppName, string) (string, error) {
	return "ada:pass", nil
}

// TestRecords is against kfake, franz-go's broker in memory: no Kafka can be
// installed without Java.
func TestRecords(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", "pass"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	b := trigger.Binding{App: "a", Function: "f", Trigger: mayfly.Trigger{
		Kafka: "orders", URL: "kafka://" + strings.Join(cluster.ListenAddrs(), ",kafka://"), Secret: "KAFKA", Batch: 2,
	}}
	options, err := New(Config{Secrets: secrets{}}).options(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	producer, err := kgo.NewClient(append(options[:1:1], options[len(options)-1], kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	produce := func(n int) {
		t.Helper()
		r := &kgo.Record{
			Topic: "orders", Partition: int32(n % 2), Key: []byte("k"), Value: fmt.Appendf(nil, `{"n":%d}`, n),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte{1, 255}}},
		}
		if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var calls triggertest.Calls
	for n := range 10 {
		produce(n)
	}
	calls.Fail(1)
	stop := run(t, &calls, b)
	triggertest.Until(t, "ten records", func() bool { return len(values(t, &calls)) == 10 })
	stop()
	events, _ := calls.All()
	before := len(events)
	produce(10)
	stop = run(t, &calls, b)
	defer stop()
	triggertest.Until(t, "a record of after the restart", func() bool { return values(t, &calls)[`{"n":10}`] == 1 })
	// The last batch comes again where the stop came before its commit.
	if events, _ := calls.All(); len(events) > before+2 {
		t.Errorf("%d calls after the restart for one record: %s", len(events)-before, events[before:])
	}
	if !strings.Contains(string(events[0]), `"headers":[{"h":[1,-1]}]`) || !strings.Contains(string(events[0]), `"eventSource":"SelfManagedKafka"`) {
		t.Errorf("%s", events[0])
	}
}

// values are the values of all records, with how often each came.
func values(t *testing.T, calls *triggertest.Calls) map[string]int {
	t.Helper()
	out := map[string]int{}
	events, _ := calls.All()
	for _, text := range events {
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		for _, records := range e.Records {
			if len(records) > 2 {
				t.Errorf("a batch of %d", len(records))
			}
			for _, r := range records {
				out[string(r.Value)]++
			}
		}
	}
	return out
}

func run(t *testing.T, calls *triggertest.Calls, b trigger.Binding) (stop func()) {
	t.Helper()
	d := New(Config{Enqueue: calls.Enqueue, Secrets: secrets{}})
	if err := d.Apply(t.Context(), []trigger.Binding{b}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
}
