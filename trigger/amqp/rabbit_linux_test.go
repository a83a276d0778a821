package amqp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/rabbitmq/amqp091-go"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

type secrets map[string]string

func (s secrets) Secret(_ context.Context, _ mayfly.AppName, name string) (string, error) {
	return s[name], nil
}

// run consumes until stop, or the test's end.
func run(t *testing.T, enqueue trigger.Enqueue, trig mayfly.Trigger) (d *Driver, stop func()) {
	t.Helper()
	if trig.Secret == "" {
		trig.Secret = "BROKER"
	}
	d = New(Config{Enqueue: enqueue, Secrets: secrets{"BROKER": "ada:pass", "WRONG": "ada:not-the-password"}})
	if err := d.Check(nil, "f", &trig); err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(t.Context(), []trigger.Binding{{App: "a", Function: "f", Trigger: trig}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return d, stop
}

// bodies are the bodies of all messages of events, with how often each came.
func bodies(t *testing.T, events [][]byte) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, text := range events {
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		for _, messages := range e.Messages {
			for _, m := range messages {
				out[string(m.Data)]++
			}
		}
	}
	return out
}

func link(d *Driver) trigger.LinkState {
	if all := d.Links(); len(all) == 1 {
		return all[0]
	}
	return trigger.LinkState{}
}

func is(d *Driver, s trigger.LinkStatus) func() bool {
	return func() bool { return link(d).Status == s }
}

func text(s string) amqp091.Publishing {
	return amqp091.Publishing{DeliveryMode: amqp091.Persistent, Body: []byte(s)}
}

func TestRabbitMQ(t *testing.T) {
	b := startBroker(t)
	for name, test := range map[string]func(*testing.T, *broker){
		"exchange": testExchange, "holding": testHolding, "poison": testPoison, "batches": testBatches, "cut": testCut, "missing": testMissing,
		"credentials": testCredentials, "tls": testTLS,
	} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
}

// testExchange makes a queue and binds it, and takes what was published while
// nobody consumed.
func testExchange(t *testing.T, b *broker) {
	c := newClient(t, b)
	c.exchange("ex")
	var calls triggertest.Calls
	trig := mayfly.Trigger{AMQP: "ex-orders", URL: b.url(), Exchange: "ex", Keys: []string{"order.*", "invoice.#"}}
	d, stop := run(t, calls.Enqueue, trig)
	triggertest.Until(t, "a consumer", is(d, trigger.LinkConnected))
	c.publish("ex", "order.created", amqp091.Publishing{
		MessageId: "m1", ContentType: "application/json", Headers: amqp091.Table{"h": "v"}, Body: []byte(`{"n":1}`),
	})
	c.publish("ex", "customer.created", text("of nobody"))
	c.publish("ex", "invoice.paid.late", text("second"))
	seen := func(want ...string) func() bool {
		return func() bool {
			events, _ := calls.All()
			all := bodies(t, events)
			for _, w := range want {
				if all[w] == 0 {
					return false
				}
			}
			return true
		}
	}
	triggertest.Until(t, "two messages", seen(`{"n":1}`, "second"))
	stop()
	c.publish("ex", "order.paid", text("alone"))
	run(t, calls.Enqueue, trig)
	triggertest.Until(t, "a message from before the connection", seen("alone"))
	events, _ := calls.All()
	if len(events) != 3 {
		t.Errorf("%d events: %s", len(events), events)
	}
	i := 0
	for !bytes.Contains(events[i], []byte(`"messageId":"m1"`)) {
		i++
	}
	for _, want := range []string{`"eventSource":"aws:rmq"`, `"ex-orders::shop":[`, `"headers":{"h":{"bytes":[118]}}`, `"routingKey":"order.created"`, `"exchange":"ex"`} {
		if !bytes.Contains(events[i], []byte(want)) {
			t.Errorf("no %s in %s", want, events[i])
		}
	}
}

// testHolding keeps what cannot be accepted, and gives nothing back: that would
// count as a delivery.
func testHolding(t *testing.T, b *broker) {
	c := newClient(t, b)
	c.queue("hold", nil)
	var calls triggertest.Calls
	calls.Fail(2)
	d, _ := run(t, calls.Enqueue, mayfly.Trigger{AMQP: "hold", URL: b.url(), Prefetch: 2})
	for n := range 5 {
		c.publish("", "hold", text(fmt.Sprint(n)))
	}
	triggertest.Until(t, "the state that tells it", func() bool {
		s := link(d)
		return s.Status == trigger.LinkHolding && strings.Contains(s.Error, "disk is full") || calls.Failed()
	})
	triggertest.Until(t, "five messages", func() bool { events, _ := calls.All(); return len(bodies(t, events)) == 5 })
	triggertest.Until(t, "their acceptance", func() bool { s := link(d); return s.Status == trigger.LinkConnected && s.Accepted == 5 })
	events, _ := calls.All()
	if len(events) != 5 || strings.Contains(fmt.Sprintf("%s", events), `"redelivered":true`) {
		t.Errorf("%s", events)
	}
}

// testPoison rejects what can never be accepted, to the dead letter exchange.
func testPoison(t *testing.T, b *broker) {
	c := newClient(t, b)
	c.queue("poison-dead", nil)
	c.queue("poison", amqp091.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "poison-dead"})
	var calls triggertest.Calls
	d, _ := run(t, func(ctx context.Context, b *trigger.Binding, id string, event []byte) error {
		if len(event) > int(mayfly.MaxAsync) {
			return mayfly.Errorf(mayfly.TooLarge, "", "over the limit")
		}
		return calls.Enqueue(ctx, b, id, event)
	}, mayfly.Trigger{AMQP: "poison", URL: b.url(), Batch: 5})
	c.publish("", "poison", text(strings.Repeat("x", int(mayfly.MaxAsync)+1)))
	c.publish("", "poison", text("good"))
	triggertest.Until(t, "the good one", func() bool { events, _ := calls.All(); return bodies(t, events)["good"] == 1 })
	triggertest.Until(t, "the dead letter", func() bool { return c.ready("poison-dead") == 1 && c.ready("poison") == 0 })
	if s := link(d); s.Refused != 1 || s.Accepted != 1 {
		t.Errorf("%+v", s)
	}
}

// testBatches takes several messages in a call, fewer where they would be too
// large together, and acknowledges all.
func testBatches(t *testing.T, b *broker) {
	c := newClient(t, b)
	c.queue("batches", nil)
	large := strings.Repeat("x", int(mayfly.MaxAsync)/3)
	for n := range 40 {
		body := fmt.Sprint(n)
		if n < 8 {
			body += large
		}
		c.publish("", "batches", text(body))
	}
	var calls triggertest.Calls
	d, stop := run(t, func(ctx context.Context, b *trigger.Binding, id string, event []byte) error {
		if len(event) > int(mayfly.MaxAsync) {
			t.Errorf("an event of %d bytes", len(event))
		}
		return calls.Enqueue(ctx, b, id, event)
	}, mayfly.Trigger{AMQP: "batches", URL: b.url(), Batch: 10})
	triggertest.Until(t, "forty messages", func() bool { return link(d).Accepted == 40 })
	stop()
	events, _ := calls.All()
	if all := bodies(t, events); len(all) != 40 || len(events) >= 40 {
		t.Errorf("%d messages in %d calls", len(all), len(events))
	}
	if n := c.ready("batches"); n != 0 {
		t.Errorf("%d messages are still there", n)
	}
}

// testCut loses the connection before a message is acknowledged: it comes again
// over the next.
func testCut(t *testing.T, b *broker) {
	c := newClient(t, b)
	c.queue("cut", nil)
	w := newWire(t, b.plain)
	var calls triggertest.Calls
	calls.Fail(math.MaxInt)
	d, _ := run(t, calls.Enqueue, mayfly.Trigger{AMQP: "cut", URL: w.url()})
	c.publish("", "cut", text("first"))
	triggertest.Until(t, "a message that is held", is(d, trigger.LinkHolding))
	w.cut()
	calls.Fail(0)
	triggertest.Until(t, "the message, again", func() bool {
		events, _ := calls.All()
		return len(events) == 1 && bytes.Contains(events[0], []byte(`"redelivered":true`))
	})
	triggertest.Until(t, "a connection", is(d, trigger.LinkConnected))
	triggertest.Until(t, "its acknowledgement", func() bool { return link(d).Accepted == 1 })
}

// testMissing waits for a queue to be made, again after it was deleted.
func testMissing(t *testing.T, b *broker) {
	c := newClient(t, b)
	var calls triggertest.Calls
	d, _ := run(t, calls.Enqueue, mayfly.Trigger{AMQP: "missing", URL: b.url()})
	triggertest.Until(t, "an error that says so", func() bool {
		s := link(d)
		return s.Status == trigger.LinkLost && strings.Contains(s.Error, "NOT_FOUND")
	})
	c.queue("missing", nil)
	triggertest.Until(t, "a consumer", is(d, trigger.LinkConnected))
	if _, err := c.ch.QueueDelete("missing", false, false, false); err != nil {
		t.Fatal(err)
	}
	triggertest.Until(t, "the end of the consumer", is(d, trigger.LinkLost))
	c.queue("missing", nil)
	triggertest.Until(t, "a consumer of the new queue", is(d, trigger.LinkConnected))
}

func testCredentials(t *testing.T, b *broker) {
	var calls triggertest.Calls
	d, _ := run(t, calls.Enqueue, mayfly.Trigger{AMQP: "x", URL: b.url(), Secret: "WRONG"})
	triggertest.Until(t, "a refusal", func() bool {
		s := link(d)
		return s.Status == trigger.LinkLost && strings.Contains(s.Error, "not allowed")
	})
	if s := link(d); strings.Contains(s.Error, "not-the-password") || s.Retry.IsZero() {
		t.Errorf("%+v", s)
	}
}

// testTLS goes to the second broker where the first does not answer.
func testTLS(t *testing.T, b *broker) {
	c := newClient(t, b)
	c.queue("tls", nil)
	c.publish("", "tls", text("secret"))
	var calls triggertest.Calls
	nobody := freePorts(t, 1)[0]
	run(t, calls.Enqueue, mayfly.Trigger{AMQP: "tls", URL: "amqps://localhost:" + nobody + "/shop,amqps://" + b.tls + "/shop"})
	triggertest.Until(t, "a message", func() bool { events, _ := calls.All(); return bodies(t, events)["secret"] == 1 })
}
