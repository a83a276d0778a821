package trigger_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outside is a server outside: each consumer takes what is sent to it.
type outside struct {
	mu       sync.Mutex
	begun    []string       // guarded by mu; what each consumer consumes, in order
	messages chan string    // one is taken at a time
	results  chan [2]string // what became of each: kept or not, and the error
	fail     chan error     // ends a consumer
}

func newOutside() *outside {
	return &outside{messages: make(chan string), results: make(chan [2]string), fail: make(chan error)}
}

func (o *outside) consume(ctx context.Context, b *trigger.Binding, l *trigger.Link) error {
	_, of := b.Trigger.Kind()
	if b.Manifest != nil {
		of += " " + b.Manifest.Databases[b.Trigger.Database].DSN
	}
	o.mu.Lock()
	o.begun = append(o.begun, of)
	o.mu.Unlock()
	l.Up()
	for {
		select {
		case m := <-o.messages:
			kept, err := l.Accept(ctx, 1, m, "", []byte(m))
			result := [2]string{"refused", ""}
			if kept {
				result[0] = "kept"
			}
			if err != nil {
				result[1] = err.Error()
			}
			o.results <- result
		case err := <-o.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *outside) consumed() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.begun)
}

func run(t *testing.T, o *outside, enqueue trigger.Enqueue) *trigger.Source {
	t.Helper()
	s := trigger.NewSource(trigger.SourceConfig{Enqueue: enqueue}, o.consume)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if all := s.Links(); len(all) > 0 {
			t.Errorf("links of a source that ended: %+v", all)
		}
	})
	return s
}

func apply(t *testing.T, s *trigger.Source, all ...trigger.Binding) {
	t.Helper()
	if err := s.Apply(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func has(s *trigger.Source, want ...trigger.LinkStatus) func() bool {
	return func() bool {
		var got []trigger.LinkStatus
		for _, l := range s.Links() {
			got = append(got, l.Status)
		}
		return slices.Equal(got, want)
	}
}

// TestSourceFollowsDeploys starts, keeps, replaces and ends consumers.
func TestSourceFollowsDeploys(t *testing.T) {
	o := newOutside()
	s := run(t, o, nil)
	first := trigger.Binding{App: "a", Function: "f", Trigger: mayfly.Trigger{NATS: "one", URL: "nats://x"}}
	db := trigger.Binding{App: "a", Function: "f", Trigger: mayfly.Trigger{Postgres: "two", Database: "main"}, Manifest: &mayfly.Manifest{
		Databases: map[string]*mayfly.Database{"main": {DSN: "OLD"}},
	}}
	apply(t, s, first, db)
	triggertest.Until(t, "two consumers", has(s, trigger.LinkConnected, trigger.LinkConnected))
	if all := s.Links(); all[0].Server != "nats://x" || all[1].Server != "database/main" || all[1].Kind != mayfly.TriggerPostgres {
		t.Errorf("%+v", all)
	}

	// A deploy that changes neither leaves both, one that changes how a database
	// is reached begins its consumer anew.
	before := len(o.consumed())
	again := db
	again.Manifest = &mayfly.Manifest{Databases: map[string]*mayfly.Database{"main": {DSN: "NEW"}}}
	apply(t, s, first, db)
	apply(t, s, first, again)
	triggertest.Until(t, "a consumer of the new database", func() bool { return slices.Contains(o.consumed(), "two NEW") })
	if all := o.consumed(); len(all) != before+1 {
		t.Errorf("%v", all)
	}
	apply(t, s, first)
	triggertest.Until(t, "one consumer", has(s, trigger.LinkConnected))
}

// TestSourceComesBack begins a consumer that ended again, and says why it ended
// and when it is tried again.
func TestSourceComesBack(t *testing.T) {
	o := newOutside()
	s := run(t, o, nil)
	apply(t, s, trigger.Binding{App: "a", Function: "f", Trigger: mayfly.Trigger{NATS: "one"}})
	o.fail <- errors.New("no route")
	triggertest.Until(t, "a lost link that says why", func() bool {
		all := s.Links()
		return len(all) == 1 && all[0].Status == trigger.LinkLost && all[0].Error == "no route" && !all[0].Retry.IsZero()
	})
	if l := s.Links()[0]; l.Retry.Sub(l.Since) > 250*time.Millisecond { // zero where it is back already
		t.Errorf("lost at %s, tried again at %s", l.Since, l.Retry)
	}
	triggertest.Until(t, "another consumer", has(s, trigger.LinkConnected))
	if l := s.Links()[0]; l.Error != "" || !l.Retry.IsZero() {
		t.Errorf("%+v", l)
	}
}

// TestSourceAccepts tells what is durable from what may be tried again and from
// what can never be accepted.
func TestSourceAccepts(t *testing.T) {
	o := newOutside()
	s := run(t, o, func(ctx context.Context, _ *trigger.Binding, _ string, event []byte) error {
		if who := mayfly.CallerFrom(ctx); who.Kind != mayfly.CallerPlatform {
			t.Errorf("the caller is %s", who)
		}
		switch string(event) {
		case "large":
			return mayfly.Errorf(mayfly.TooLarge, "", "over the limit")
		case "gone":
			return mayfly.Errorf(mayfly.NotFound, "", "no such function")
		case "full":
			return mayfly.Errorf(mayfly.Unavailable, "", "the disk is full")
		}
		return nil
	})
	apply(t, s, trigger.Binding{App: "a", Function: "f", Trigger: mayfly.Trigger{NATS: "one"}})
	for _, c := range []struct {
		message, kept, err string
		status             trigger.LinkStatus
	}{
		{"good", "kept", "", trigger.LinkConnected},
		{"large", "refused", "", trigger.LinkConnected},
		{"full", "refused", "the disk is full", trigger.LinkHolding},
		{"gone", "refused", "no such function", trigger.LinkHolding}, // removed a moment ago: its messages stay where they are
		{"good", "kept", "", trigger.LinkConnected},
	} {
		o.messages <- c.message
		if got := <-o.results; got != [2]string{c.kept, c.err} {
			t.Errorf("%s: %v", c.message, got)
		}
		if l := s.Links()[0]; l.Status != c.status || l.Error != c.err {
			t.Errorf("%s: %+v", c.message, l)
		}
	}
	if l := s.Links()[0]; l.Accepted != 2 || l.Refused != 1 || l.Last.IsZero() {
		t.Errorf("%+v", l)
	}
}
