package trigger

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
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

// How long a source waits at most before it connects again: twice as long each
// time, from the first to the most. Jitter takes up to half of it away.
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

// SourceConfig of a driver of a server outside. Enqueue is needed.
type SourceConfig struct {
	Enqueue Enqueue
	Secrets Secrets      // needed where a trigger names a secret
	Log     *slog.Logger // default: discards
}

// Consume takes messages for a binding until ctx ends or the connection does, and
// gives them to the link. It acknowledges a message once the link has accepted
// it, and not before.
type Consume func(ctx context.Context, b *Binding, l *Link) error

// Source keeps a consumer of a server outside for each of a kind's bindings. A
// consumer that ends is begun again with backoff. It is safe for concurrent use.
type Source struct {
	SourceConfig
	consume Consume
	wake    chan struct{} // holds a token when Run must look at wanted

	mu     sync.Mutex
	wanted map[string]Binding // guarded by mu
	links  map[string]*Link   // guarded by mu; of the consumers that run, by the same key
}

// NewSource makes a Source without bindings, for a driver to embed.
func NewSource(cfg SourceConfig, consume Consume) *Source {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{SourceConfig: cfg, consume: consume, wake: make(chan struct{}, 1), links: map[string]*Link{}}
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
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// Links are how the consumers fare, in the order of their names.
func (s *Source) Links() []LinkState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]LinkState, 0, len(s.links))
	for _, key := range slices.Sorted(maps.Keys(s.links)) {
		out = append(out, s.links[key].State())
	}
	return out
}

// consumer is a binding's, which Run alone knows.
type consumer struct {
	binding Binding
	cancel  context.CancelFunc
	ended   chan struct{}
}

func (c *consumer) stop() {
	c.cancel()
	<-c.ended
}

// serves reports whether the consumer does what b wants.
func (c *consumer) serves(b *Binding) bool {
	return reflect.DeepEqual(b.Trigger, c.binding.Trigger) && reflect.DeepEqual(database(b), database(&c.binding))
}

// database is the one that a binding's trigger names, nil where it names none.
func database(b *Binding) *mayfly.Database {
	if b.Manifest == nil {
		return nil
	}
	return b.Manifest.Databases[b.Trigger.Database]
}

// Run consumes until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	running := map[string]*consumer{}
	for {
		s.mu.Lock()
		wanted := s.wanted
		s.mu.Unlock()
		for key, c := range running {
			if b, ok := wanted[key]; !ok || !c.serves(&b) {
				c.stop() // before another begins under the same name
				delete(running, key)
				s.unlink(key)
			}
		}
		for key, b := range wanted {
			if running[key] == nil {
				running[key] = s.start(ctx, key, b)
			}
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			for key, c := range running {
				c.stop()
				s.unlink(key)
			}
			return nil
		}
	}
}

func (s *Source) start(ctx context.Context, key string, b Binding) *consumer {
	ctx, cancel := context.WithCancel(mayfly.WithCaller(ctx, mayfly.Caller{Kind: mayfly.CallerPlatform}))
	c := &consumer{binding: b, cancel: cancel, ended: make(chan struct{})}
	l := newLink(&c.binding, s.Enqueue, s.Log)
	s.mu.Lock()
	s.links[key] = l
	s.mu.Unlock()
	go func() {
		defer close(c.ended)
		s.keep(ctx, &c.binding, l)
	}()
	return c
}

func (s *Source) unlink(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links, key)
}

// keep consumes again and again until ctx ends.
func (s *Source) keep(ctx context.Context, b *Binding, l *Link) {
	wait := firstReconnect
	for ctx.Err() == nil {
		began := time.Now()
		err := s.consume(ctx, b, l)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			wait = firstReconnect
		}
		pause := wait/2 + rand.N(wait/2)
		l.lost(err, pause)
		select {
		case <-time.After(pause):
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
func (s *Source) Credentials(ctx context.Context, b *Binding) (user, password string, err error) {
	if b.Trigger.Secret == "" {
		return "", "", nil
	}
	text, err := s.Secrets.Secret(ctx, b.App, b.Trigger.Secret)
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

// WithRemote is ctx with the trace that a message came with, as a traceparent;
// ctx itself where it came with none.
func WithRemote(ctx context.Context, traceparent string) context.Context {
	if t, ok := mayfly.ParseTrace(traceparent, ""); ok {
		return mayfly.WithTrace(ctx, t)
	}
	return ctx
}
