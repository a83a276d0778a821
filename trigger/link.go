package trigger

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// again is how long a message that could not be accepted waits for another try.
const again = time.Second

// LinkStatus says how a link fares.
type LinkStatus string

const (
	LinkConnecting LinkStatus = "connecting" // for the first time
	LinkConnected  LinkStatus = "connected"
	LinkHolding    LinkStatus = "holding" // connected, and the node cannot accept what comes
	LinkLost       LinkStatus = "lost"    // it connects again at Retry
)

// LinkState is how one binding's connection to its server fares.
type LinkState struct {
	App      mayfly.AppName      `json:"app"`
	Function mayfly.FunctionName `json:"function"`
	Kind     mayfly.TriggerKind  `json:"kind"`
	Of       string              `json:"of"`               // the subject, topic, queue or channel
	Server   string              `json:"server,omitempty"` // its url, or the database or the secret that names it
	Status   LinkStatus          `json:"status"`
	Since    time.Time           `json:"since"`           // of the status
	Error    string              `json:"error,omitempty"` // why it is not connected, or holds
	Retry    time.Time           `json:"retry,omitzero"`
	Accepted int64               `json:"accepted"` // messages, since the link began
	Refused  int64               `json:"refused"`  // messages that can never be accepted
	Last     time.Time           `json:"last,omitzero"`
}

// Link is one binding's connection to its server, and what came over it. It is
// safe for concurrent use.
type Link struct {
	binding *Binding
	enqueue Enqueue
	log     *slog.Logger

	mu    sync.Mutex
	state LinkState // guarded by mu
}

func newLink(b *Binding, enqueue Enqueue, log *slog.Logger) *Link {
	kind, of := b.Trigger.Kind()
	l := &Link{binding: b, enqueue: enqueue, log: log}
	l.state = LinkState{App: b.App, Function: b.Function, Kind: kind, Of: of, Server: b.Trigger.URL, Status: LinkConnecting, Since: time.Now()}
	switch {
	case b.Trigger.Database != "":
		l.state.Server = "database/" + b.Trigger.Database
	case b.Trigger.DSN != "":
		l.state.Server = "secret/" + b.Trigger.DSN
	}
	return l
}

// State is how the link fares now.
func (l *Link) State() LinkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Up says that messages come from now on.
func (l *Link) Up() {
	if l.become(LinkConnected, "", time.Time{}) {
		l.log.Info("a source of events is reached", "binding", l.binding.String())
	}
}

// become changes the status, and reports whether it was another.
func (l *Link) become(s LinkStatus, why string, retry time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.state.Status != s
	if changed {
		l.state.Since = time.Now()
	}
	l.state.Status, l.state.Error, l.state.Retry = s, why, retry
	return changed
}

// lost says that the connection ended, and when it is made again.
func (l *Link) lost(err error, pause time.Duration) {
	why := "the server ended the connection"
	if err != nil {
		why = err.Error()
	}
	l.become(LinkLost, why, time.Now().Add(pause))
	l.log.Warn("a source of events is not reached; it is tried again", "binding", l.binding.String(), "in", pause.Round(time.Millisecond), "error", why)
}

// Accept accepts a call with n messages of subject, once: it is durable where
// kept is true. What can never be accepted, such as an event over the limit, is
// logged and neither kept nor an error: it must not hold up all that come after
// it. Any other error may be gone at another try.
func (l *Link) Accept(ctx context.Context, n int, subject, id string, event []byte) (kept bool, err error) {
	err = l.enqueue(ctx, l.binding, id, event)
	switch {
	case err == nil:
		l.count(int64(n), 0)
		if l.become(LinkConnected, "", time.Time{}) {
			l.log.Info("messages from outside are accepted again", "binding", l.binding.String())
		}
		return true, nil
	case Judge(err) == Reject && mayfly.CodeOf(err) != mayfly.NotFound: // a function that was just removed leaves its messages to others
		l.count(0, int64(n))
		l.log.Error("a message from outside cannot be accepted; it is given up", "binding", l.binding.String(), "subject", subject, "error", err)
		return false, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	}
	if l.become(LinkHolding, err.Error(), time.Time{}) {
		l.log.Warn("messages from outside wait until they can be accepted", "binding", l.binding.String(), "error", err)
	}
	return false, err
}

// Hold is Accept until it succeeds or ctx ends, for what the server has no copy
// of or would count as an attempt.
func (l *Link) Hold(ctx context.Context, n int, subject, id string, event []byte) (kept bool, err error) {
	for {
		if kept, err = l.Accept(ctx, n, subject, id, event); err == nil {
			return kept, nil
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func (l *Link) count(accepted, refused int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Accepted += accepted
	l.state.Refused += refused
	l.state.Last = time.Now()
}
