package nats

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		subject, url string
		ok           bool
	}{
		{"orders.>", "nats://localhost:4222", true},
		{"orders.*.eu", "tls://a:4222,tls://b:4222", true},
		{"orders..eu", "nats://localhost", false},
		{"orders.>.eu", "nats://localhost", false},
		{"orders", "http://localhost", false},
		{"orders", "nats://user:secret@localhost", false},
		{"orders", "", false},
	} {
		err := New(Config{}).Check(nil, "f", &mayfly.Trigger{NATS: c.subject, URL: c.url})
		if (err == nil) != c.ok || err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

type secrets struct{}

func (secrets) Secret(context.Context, mayfly.AppName, string) (string, error) {
	return "ada:pass", nil
}

// start runs a server that wants a password, and returns it and a client.
func start(t *testing.T) (*server.Server, *natsgo.Conn) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Username: "ada", Password: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready")
	}
	nc, err := natsgo.Connect(s.ClientURL(), natsgo.UserInfo("ada", "pass"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return s, nc
}

// run consumes a subject until the test's end, or stop.
func run(t *testing.T, calls *triggertest.Calls, url, subject string) (stop func()) {
	t.Helper()
	d := New(Config{Enqueue: calls.Enqueue, Secrets: secrets{}})
	d.lookAgain = 10 * time.Millisecond
	b := trigger.Binding{App: "a", Function: "f", Trigger: mayfly.Trigger{NATS: subject, URL: url, Secret: "NATS"}}
	if err := d.Apply(t.Context(), []trigger.Binding{b}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = func() {
		cancel()
		if done == nil {
			return
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		done = nil
	}
	t.Cleanup(stop)
	return stop
}

// TestDurable keeps what is published while nobody consumes, and what cannot be
// accepted at once.
func TestDurable(t *testing.T) {
	s, nc := start(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		t.Helper()
		if _, err := js.Publish(t.Context(), "orders.eu", fmt.Appendf(nil, `{"n":%d}`, n)); err != nil {
			t.Fatal(err)
		}
	}
	var calls triggertest.Calls
	publish(1)
	stop := run(t, &calls, s.ClientURL(), "orders.*")
	has := func(n int) func() bool {
		return func() bool { events, _ := calls.All(); return len(events) >= n }
	}
	triggertest.Until(t, "the first message", has(1))
	calls.Fail(2)
	publish(2)
	triggertest.Until(t, "two refusals", calls.Failed)
	stop()
	publish(3)
	run(t, &calls, s.ClientURL(), "orders.*")
	seen := func() bool {
		events, _ := calls.All()
		text := fmt.Sprintf("%s", events)
		return strings.Contains(text, `{"n":2}`) && strings.Contains(text, `{"n":3}`)
	}
	triggertest.Until(t, "the second and the third message", seen)
	events, ids := calls.All()
	var e mayfly.CloudEvent
	if err := json.Unmarshal(events[0], &e); err != nil {
		t.Fatal(err)
	}
	if e.Subject != "orders.eu" || e.Type != "nats.message" || string(e.Data) != `{"n":1}` || !strings.HasPrefix(ids[0], "nats.f.orders.*.ORDERS.1.") {
		t.Errorf("%s %q", events[0], ids[0])
	}
}

// TestPlain takes what no stream keeps.
func TestPlain(t *testing.T) {
	s, nc := start(t)
	var calls triggertest.Calls
	run(t, &calls, s.ClientURL(), "plain.>")
	triggertest.Until(t, "a subscription that gets a message", func() bool {
		_ = nc.Publish("plain.a.b", []byte("hello"))
		events, _ := calls.All()
		return len(events) > 0
	})
	if events, ids := calls.All(); !strings.Contains(string(events[0]), `"hello"`) || ids[0] != "" {
		t.Errorf("%s %q", events[0], ids[0])
	}
	// A stream is made that keeps the subject: its messages come at least once.
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"plain.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "plain.a.b", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	triggertest.Until(t, "a message with an id", func() bool {
		events, ids := calls.All()
		last := len(ids) - 1
		return ids[last] != "" && strings.Contains(string(events[last]), `"kept"`)
	})
}
