package trigger

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
)

// How long a source waits before it connects again: twice as long each time,
// from the first to the most, with jitter.
const (
	firstReconnect = 250 * time.Millisecond
	mostReconnect  = 30 * time.Second
)

// steady is how long a connection holds until the next failure counts as the
// first.
const steady = time.Minute

// Enqueue accepts one asynchronous call of a binding's function. The call is
// durable when it returns nil; a second one with the same id, where there is
// one, may be dropped.
type Enqueue func(ctx context.Context, b *Binding, id string, event []byte) error

// Source keeps a consumer of a server outside for each of a kind's bindings. A
// consumer that ends is begun again with backoff. It is safe for concurrent use.
type Source struct {
	// Consume takes messages for a binding until ctx ends or the connection
	// does. It acknowledges a message once it is accepted, and not before.
	Consume func(ctx context.Context, b *Binding) error
	Log     *slog.Logger

	once sync.Once
	wake chan struct{} // holds a token when Run must look at wanted

	mu     sync.Mutex
	wanted map[string]Binding // guarded by mu
}

func (s *Source) woken() chan struct{} {
	s.once.Do(func() { s.wake = make(chan struct{}, 1) })
	return s.wake
}

// Apply replaces the bindings.
func (s *Source) Apply(_ context.Context, all []Binding) error {
	wanted := make(map[string]Binding, len(all))
	for _, b := range all {
		wanted[string(b.App)+"/"+b.Key()] = b
	}
	s.mu.Lock()
	s.wanted = wanted
	s.mu.Unlock()
	select {
	case s.woken() <- struct{}{}:
	default:
	}
	return nil
}

// consumer is a binding's, which Run alone knows.
type consumer struct {
	trigger mayfly.Trigger
	cancel  context.CancelFunc
	ended   chan struct{}
}

func (c *consumer) stop() {
	c.cancel()
	<-c.ended
}

// Run consumes until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	running := map[string]*consumer{}
	for {
		s.mu.Lock()
		wanted := s.wanted
		s.mu.Unlock()
		for key, c := range running {
			if b, ok := wanted[key]; !ok || !reflect.DeepEqual(b.Trigger, c.trigger) {
				c.stop() // before another begins under the same name
				delete(running, key)
			}
		}
		for key, b := range wanted {
			if running[key] == nil {
				running[key] = s.start(ctx, b)
			}
		}
		select {
		case <-s.woken():
		case <-ctx.Done():
			for _, c := range running {
				c.stop()
			}
			return nil
		}
	}
}

func (s *Source) start(ctx context.Context, b Binding) *consumer {
	ctx, cancel := context.WithCancel(ctx)
	c := &consumer{trigger: b.Trigger, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		s.keep(ctx, &b)
	}()
	return c
}

// keep consumes again and again until ctx ends.
func (s *Source) keep(ctx context.Context, b *Binding) {
	wait := firstReconnect
	for ctx.Err() == nil {
		began := time.Now()
		err := s.Consume(ctx, b)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			wait = firstReconnect
		}
		s.Log.Warn("a source of events is not reached; it is tried again", "binding", b.String(), "in", wait, "error", err)
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
		}
		wait = min(2*wait, mostReconnect)
	}
}

// CheckSource wants a trigger's url to be of one of the schemes, and without
// credentials. op says where it is.
func CheckSource(op string, t *mayfly.Trigger, schemes ...string) error {
	for one := range strings.SplitSeq(t.URL, ",") {
		u, err := url.Parse(one)
		switch {
		case err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme):
			return mayfly.Errorf(mayfly.Invalid, op, "%q is not the url of a server; write it as %s://HOST:PORT (schemes: %s)", one, schemes[0], strings.Join(schemes, ", "))
		case u.User != nil:
			return mayfly.Errorf(mayfly.Invalid, op, "the url holds credentials; put USER:PASSWORD into a secret and name it as secret:")
		case u.Path != "" && u.Path != "/" || u.RawQuery != "":
			return mayfly.Errorf(mayfly.Invalid, op, "%q has a path or a query, which mean nothing here; write it as %s://HOST:PORT", one, schemes[0])
		}
	}
	return nil
}

// Credentials are the user and the password that a binding's secret holds, both
// "" where it names none.
func Credentials(ctx context.Context, secrets Secrets, b *Binding) (user, password string, err error) {
	if b.Trigger.Secret == "" {
		return "", "", nil
	}
	text, err := secrets.Secret(ctx, b.App, b.Trigger.Secret)
	if err != nil {
		return "", "", err
	}
	user, password, ok := strings.Cut(strings.TrimSpace(text), ":")
	if !ok {
		return "", "", mayfly.Errorf(mayfly.Invalid, "connect", "the secret %s does not hold USER:PASSWORD", b.Trigger.Secret)
	}
	return user, password, nil
}

// Outside is the CloudEvent of a message of a server outside: JSON as it is,
// other text as a string, all else base64.
func Outside(kind mayfly.TriggerKind, source, subject, id string, at time.Time, body []byte) *mayfly.CloudEvent {
	if id == "" {
		id = mayfly.NewID()
	}
	e := &mayfly.CloudEvent{ID: id, Source: source, SpecVersion: "1.0", Type: string(kind) + ".message", Subject: subject, Time: at.UTC()}
	switch {
	case json.Valid(body):
		e.DataContentType, e.Data = "application/json", body
	case utf8.Valid(body):
		e.DataContentType = "text/plain"
		e.Data, _ = json.Marshal(string(body))
	default:
		e.DataContentType, e.DataBase64 = "application/octet-stream", base64.StdEncoding.EncodeToString(body)
	}
	return e
}

// Accepted is an Enqueue's error of what may be tried again. What can never be
// accepted, such as an event over the limit, is logged and nil: it must not hold
// up all that come after it.
func Accepted(log *slog.Logger, b *Binding, subject string, err error) error {
	if err != nil && Judge(err) == Reject {
		log.Error("a message from outside cannot be accepted; it is dropped", "binding", b.String(), "subject", subject, "error", err)
		return nil
	}
	return err
}
