package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service/sql/sqltest"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	m := &mayfly.Manifest{Databases: map[string]*mayfly.Database{"main": {Engine: "postgres", DSN: "PG"}, "lite": {Engine: "sqlite"}, "plain": {}}}
	for _, c := range []struct {
		t  mayfly.Trigger
		ok bool
	}{
		{mayfly.Trigger{Postgres: "orders", DSN: "PG"}, true},
		{mayfly.Trigger{Postgres: "orders, Order Lines", Database: "main"}, true},
		{mayfly.Trigger{Postgres: "orders", Database: "lite"}, false},
		{mayfly.Trigger{Postgres: "orders", Database: "plain"}, false},
		{mayfly.Trigger{Postgres: "orders", Database: "other"}, false},
		{mayfly.Trigger{Postgres: "orders", Database: "main", DSN: "PG"}, false},
		{mayfly.Trigger{Postgres: "orders"}, false},
		{mayfly.Trigger{Postgres: "orders,", DSN: "PG"}, false},
		{mayfly.Trigger{Postgres: strings.Repeat("x", 64), DSN: "PG"}, false},
	} {
		if err := New(Config{}).Check(m, "f", &c.t); (err == nil) != c.ok || err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", c.t, err)
		}
	}
}

type secrets map[string]string

func (s secrets) Secret(_ context.Context, _ mayfly.AppName, name string) (string, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	return "", errors.New("no such secret")
}

func run(t *testing.T, calls *triggertest.Calls, dsn string, trig mayfly.Trigger) *Driver {
	t.Helper()
	d := New(Config{Enqueue: calls.Enqueue, Secrets: secrets{"PG": dsn, "WRONG": "postgres://ada:pass-word@%zz/x"}})
	b := trigger.Binding{App: "a", Function: "f", Trigger: trig, Manifest: &mayfly.Manifest{Databases: map[string]*mayfly.Database{"main": {Engine: "postgres", DSN: "PG"}}}}
	if err := d.Check(b.Manifest, b.Function, &trig); err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(t.Context(), []trigger.Binding{b}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

func link(d *Driver) trigger.LinkState {
	if all := d.Links(); len(all) == 1 {
		return all[0]
	}
	return trigger.LinkState{}
}

func connected(d *Driver) func() bool {
	return func() bool { return link(d).Status == trigger.LinkConnected }
}

func TestNotifications(t *testing.T) {
	dsn := sqltest.Postgres(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	notify := func(channel, payload string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), "SELECT pg_notify($1, $2)", channel, payload); err != nil {
			t.Fatal(err)
		}
	}
	var calls triggertest.Calls
	has := func(want string) func() bool {
		return func() bool { events, _ := calls.All(); return strings.Contains(fmt.Sprintf("%s", events), want) }
	}
	d := run(t, &calls, dsn, mayfly.Trigger{Postgres: `orders, Order "Lines"`, Database: "main"})
	triggertest.Until(t, "a connection", connected(d))
	notify("other", "of nobody")
	notify("orders", `{"order":42}`)
	triggertest.Until(t, "a notification with JSON", has(`"data":{"order":42}`))
	calls.Fail(1)
	notify(`Order "Lines"`, "moved")
	triggertest.Until(t, "a notification that was refused once", has(`"data":"moved"`))

	// The server ends the connection: what is notified meanwhile is lost, what
	// comes after it is not.
	if _, err := conn.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mayfly'"); err != nil {
		t.Fatal(err)
	}
	triggertest.Until(t, "the loss of the connection", func() bool { return !connected(d)() })
	triggertest.Until(t, "another connection", connected(d))
	notify("orders", "after")
	triggertest.Until(t, "a notification over it", has(`"data":"after"`))
	events, ids := calls.All()
	if len(events) != 3 || ids[0] != "" {
		t.Errorf("%s %q", events, ids)
	}
	for _, want := range []string{`"type":"postgres.message"`, `"source":"postgres://localhost/postgres"`, `"subject":"orders"`} {
		if !strings.Contains(string(events[0]), want) {
			t.Errorf("no %s in %s", want, events[0])
		}
	}
	if s := link(d); s.Accepted != 3 || s.Server != "database/main" || s.Of != `orders, Order "Lines"` {
		t.Errorf("%+v", s)
	}
}

// TestSilence keeps the password of a DSN that cannot be read.
func TestSilence(t *testing.T) {
	var calls triggertest.Calls
	d := run(t, &calls, "", mayfly.Trigger{Postgres: "orders", DSN: "WRONG"})
	triggertest.Until(t, "an error", func() bool { return link(d).Status == trigger.LinkLost })
	if s := link(d); !strings.Contains(s.Error, "the secret WRONG holds no DSN") || strings.Contains(s.Error, "pass-word") {
		t.Errorf("%+v", s)
	}
}
