package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event/cloudevent"
	"github.com/mayfly-cloud/mayfly/trigger"
)

const (
	connectTimeout = 10 * time.Second
	ahead          = 256              // messages that are fetched and not yet accepted
	sideBySide     = 64               // messages that are being accepted
	ackWait        = 10 * time.Second // what was fetched and not accepted comes again after it; ids tell what comes twice
	again          = time.Second      // until a message that could not be accepted comes again
)

// Config of the sources.
type Config = trigger.SourceConfig

// Driver consumes the subjects of all bindings. It is safe for concurrent use.
type Driver struct {
	*trigger.Source
	lookAgain time.Duration // for a stream that was made after the connection
}

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without bindings.
func New(cfg Config) *Driver {
	d := &Driver{lookAgain: 10 * time.Second}
	d.Source = trigger.NewSource(cfg, d.consume)
	return d
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerNATS }

// Check wants a subject and the url of a server.
func (d *Driver) Check(_ *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: nats %s", fn, t.NATS)
	tokens := strings.Split(t.NATS, ".")
	for i, token := range tokens {
		if token == "" || strings.ContainsAny(token, " \t\r\n") || strings.Contains(token, ">") && (token != ">" || i < len(tokens)-1) {
			return mayfly.Errorf(mayfly.Invalid, op, "%q is not a subject; write it as orders.created, orders.* or orders.>", t.NATS)
		}
	}
	return trigger.CheckSource(op, t, "nats", "tls")
}

func (d *Driver) consume(ctx context.Context, b *trigger.Binding, l *trigger.Link) error {
	user, password, err := d.Credentials(ctx, b)
	if err != nil {
		return err
	}
	closed := make(chan struct{})
	nc, err := nats.Connect(b.Trigger.URL, nats.Name("mayfly "+string(b.App)+" "+b.Key()), nats.UserInfo(user, password), nats.Timeout(connectTimeout),
		nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stopped := context.AfterFunc(ctx, nc.Close)
	defer func() {
		cancel()
		stopped()
		nc.Close()
		<-closed
	}()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	stream, err := find(ctx, js, b.Trigger.NATS)
	if err == nil && stream == "" {
		stream, err = d.plain(ctx, nc, js, b, l)
	}
	if err != nil {
		return err
	}
	return d.durable(ctx, js, stream, b, l)
}

// find is the stream that keeps a subject, "" where none does.
func find(ctx context.Context, js jetstream.JetStream, subject string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	stream, err := js.StreamNameBySubject(ctx, subject)
	switch {
	case err == nil:
		return stream, nil
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders): // a server without JetStream
		return "", nil
	}
	return "", fmt.Errorf("find the stream of %s: %w", subject, err)
}

// durable takes a stream's messages until an error, several side by side: each
// waits for the disk, which takes many at once.
func (d *Driver) durable(ctx context.Context, js jetstream.JetStream, stream string, b *trigger.Binding, l *trigger.Link) error {
	consumer, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: durableName(b), FilterSubject: b.Trigger.NATS, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 4 * ahead,
	})
	if err != nil {
		return fmt.Errorf("consume the stream %s: %w", stream, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(ahead))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	l.Up()
	var accepting sync.WaitGroup
	defer accepting.Wait()
	places := make(chan struct{}, sideBySide)
	for {
		m, err := messages.Next()
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		places <- struct{}{}
		accepting.Go(func() {
			if err := accept(ctx, b, l, m); err != nil {
				cancel(err)
			}
			<-places
		})
	}
}

// accept accepts and acknowledges a message that a stream keeps. One that cannot
// be accepted now comes again.
func accept(ctx context.Context, b *trigger.Binding, l *trigger.Link, m jetstream.Msg) error {
	about, err := m.Metadata()
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%s.%d.%d", about.Stream, about.Sequence.Stream, about.Timestamp.UnixNano())
	event, err := encode(b, m.Subject(), id, about.Timestamp, m.Data())
	if err != nil {
		return err
	}
	if _, err := l.Accept(traced(ctx, m.Headers()), 1, m.Subject(), "nats."+b.Key()+"."+id, event); err != nil {
		return m.NakWithDelay(again)
	}
	return m.Ack()
}

// plain takes messages that the server does not keep, several side by side, until
// an error or until a stream does.
func (d *Driver) plain(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, b *trigger.Binding, l *trigger.Link) (stream string, err error) {
	sub, err := nc.QueueSubscribeSync(b.Trigger.NATS, group(b))
	if err != nil {
		return "", err
	}
	if err := nc.FlushTimeout(connectTimeout); err != nil { // asks the server: it may refuse
		return "", fmt.Errorf("subscribe to %s: %w", b.Trigger.NATS, err)
	}
	l.Up()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, nc.Close)()
	var accepting sync.WaitGroup
	defer accepting.Wait()
	places := make(chan struct{}, sideBySide)
	looked := time.Now()
	for {
		if waiting, _, _ := sub.Pending(); waiting == 0 && time.Since(looked) > d.lookAgain {
			if stream, err = find(ctx, js, b.Trigger.NATS); err != nil || stream != "" {
				return stream, errors.Join(err, sub.Unsubscribe())
			}
			looked = time.Now()
		}
		m, err := sub.NextMsg(d.lookAgain)
		switch {
		case errors.Is(err, nats.ErrTimeout):
			continue
		case errors.Is(err, nats.ErrSlowConsumer):
			dropped, _ := sub.Dropped()
			d.Log.Error("messages come faster than they are accepted, and no stream keeps them: some are lost", "binding", b.String(), "lost", dropped)
			continue
		case err != nil:
			return "", cmp.Or(context.Cause(ctx), err)
		}
		places <- struct{}{}
		accepting.Go(func() {
			if err := hold(ctx, b, l, m); err != nil {
				cancel(err)
			}
			<-places
		})
	}
}

// hold keeps a message that the server has no copy of until it is accepted.
func hold(ctx context.Context, b *trigger.Binding, l *trigger.Link, m *nats.Msg) error {
	event, err := encode(b, m.Subject, "", time.Now(), m.Data)
	if err != nil {
		return err
	}
	_, err = l.Hold(traced(ctx, m.Header), 1, m.Subject, "", event)
	return err
}

// traced is ctx with the trace that a message came with.
func traced(ctx context.Context, h nats.Header) context.Context {
	return trigger.WithRemote(ctx, h.Get("traceparent"))
}

func encode(b *trigger.Binding, subject, id string, at time.Time, body []byte) ([]byte, error) {
	source := strings.TrimSuffix(strings.Split(b.Trigger.URL, ",")[0], "/")
	return cloudevent.Encode(trigger.Outside(mayfly.TriggerNATS, source, subject, id, at, body))
}

func group(b *trigger.Binding) string {
	if b.Trigger.Group != "" {
		return b.Trigger.Group
	}
	return "mayfly." + string(b.App) + "." + b.Key()
}

// durableName is the group as a consumer's name, which takes no dots, wildcards
// or separators of paths.
func durableName(b *trigger.Binding) string {
	return strings.NewReplacer(".", "_", "*", "any", ">", "rest", " ", "_", "/", "_", "\\", "_").Replace(group(b))
}
