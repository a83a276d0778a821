package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

const (
	defaultPrefetch = 100
	maxPrefetch     = 65_535 // the protocol has 16 bits for it

	connectTimeout = 10 * time.Second // until the broker has greeted
	closeTimeout   = 2 * time.Second
	heartbeat      = 10 * time.Second
)

// Config of the sources.
type Config = trigger.SourceConfig

// Driver consumes the queues of all bindings. It is safe for concurrent use.
type Driver struct{ *trigger.Source }

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without bindings.
func New(cfg Config) *Driver {
	d := &Driver{}
	d.Source = trigger.NewSource(cfg, d.consume)
	return d
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerAMQP }

// Check wants a queue and the urls of a cluster's brokers.
func (d *Driver) Check(_ *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: amqp %s", fn, t.AMQP)
	switch {
	case len(t.AMQP) > 255 || strings.HasPrefix(t.AMQP, "amq."):
		return mayfly.Errorf(mayfly.Invalid, op, "%q is not a queue of yours; it has up to 255 bytes, and amq. is the broker's own", t.AMQP)
	case t.Exchange != "" && len(t.Keys) == 0:
		return mayfly.Errorf(mayfly.Invalid, op, `keys is missing; list what binds the queue to the exchange %s, such as [order.*] ("#" for everything of a topic exchange; a fanout exchange ignores it)`, t.Exchange)
	case t.Exchange == "" && len(t.Keys) > 0:
		return mayfly.Errorf(mayfly.Invalid, op, "keys bind the queue to an exchange; name it as exchange:, or remove them")
	case t.Batch < 0 || t.Prefetch < 0 || t.Prefetch > maxPrefetch:
		return mayfly.Errorf(mayfly.Invalid, op, "batch is %d and prefetch %d; choose 1 to %d", t.Batch, t.Prefetch, maxPrefetch)
	case t.Batch > prefetch(t):
		return mayfly.Errorf(mayfly.Invalid, op, "batch is %d, and never more than prefetch (%d) come together; choose prefetch: %d or more", t.Batch, prefetch(t), t.Batch)
	case strings.Contains(t.URL, "amqp://") && strings.Contains(t.URL, "amqps://"):
		return mayfly.Errorf(mayfly.Invalid, op, "url mixes amqp:// and amqps://; choose one for all brokers")
	}
	hosts := *t
	hosts.URL = withoutVhosts(t.URL)
	return trigger.CheckSource(op, &hosts, "amqp", "amqps")
}

// withoutVhosts is a list of urls without their paths, which name vhosts.
func withoutVhosts(urls string) string {
	var out []string
	for one := range strings.SplitSeq(urls, ",") {
		if u, err := url.Parse(one); err == nil {
			u.Path, u.RawPath = "", ""
			one = u.String()
		}
		out = append(out, one)
	}
	return strings.Join(out, ",")
}

func prefetch(t *mayfly.Trigger) int {
	if t.Prefetch == 0 {
		return defaultPrefetch
	}
	return t.Prefetch
}

func (d *Driver) consume(ctx context.Context, b *trigger.Binding, l *trigger.Link) error {
	conn, err := d.connect(ctx, b)
	if err != nil {
		return err
	}
	watched := func() {}
	defer func() {
		_ = conn.CloseDeadline(time.Now().Add(closeTimeout))
		watched()
	}()
	if err := declare(conn, &b.Trigger); err != nil {
		return err
	}
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	ended := ch.NotifyCancel(make(chan string, 1))
	ctx, watched = until(ctx, ch)
	if err := ch.Qos(prefetch(&b.Trigger), 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(b.Trigger.AMQP, "mayfly", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume the queue %s: %w", b.Trigger.AMQP, err)
	}
	l.Up()
	c := &consumer{binding: b, link: l, server: address(conn), vhost: conn.Config.Vhost}
	if err := c.run(ctx, deliveries); err != nil {
		return err
	}
	if _, told := <-ended; told {
		return fmt.Errorf("the broker ended the consumer of %s: the queue may be deleted", b.Trigger.AMQP)
	}
	<-ctx.Done() // the channel ended, which until is told of
	return context.Cause(ctx)
}

// until is a context that ends with a channel too, by whose error. watched waits
// until it has.
func until(ctx context.Context, ch *amqp091.Channel) (_ context.Context, watched func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := <-closed; err != nil {
			cancel(err)
			return
		}
		cancel(errors.New("the connection ended"))
	}()
	return ctx, func() { <-over }
}

func address(conn *amqp091.Connection) string {
	if a := conn.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// connect connects to the first broker that answers.
func (d *Driver) connect(ctx context.Context, b *trigger.Binding) (*amqp091.Connection, error) {
	user, password, err := d.Credentials(ctx, b)
	if err != nil {
		return nil, err
	}
	var failed []error
	for one := range strings.SplitSeq(b.Trigger.URL, ",") {
		g := &greeting{ctx: ctx, stop: func() bool { return true }}
		cfg := amqp091.Config{Heartbeat: heartbeat, Dial: g.dial, Properties: amqp091.NewConnectionProperties()}
		cfg.Properties.SetClientConnectionName("mayfly " + string(b.App) + " " + b.Key())
		if user != "" {
			cfg.SASL = []amqp091.Authentication{&amqp091.PlainAuth{Username: user, Password: password}}
		}
		conn, err := amqp091.DialConfig(one, cfg)
		g.stop()
		if err == nil {
			return conn, nil
		}
		failed = append(failed, fmt.Errorf("connect to %s: %w", one, err))
	}
	return nil, errors.Join(failed...)
}

// greeting bounds the time until a broker has greeted, which the library does
// not bound by a context.
type greeting struct {
	ctx  context.Context
	stop func() bool // ends what watches ctx
}

// dial connects within connectTimeout, and ends the connection with ctx. The
// library takes the deadline away once the broker has greeted.
func (g *greeting) dial(network, address string) (net.Conn, error) {
	deadline := time.Now().Add(connectTimeout)
	d := net.Dialer{Deadline: deadline}
	conn, err := d.DialContext(g.ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.stop = context.AfterFunc(g.ctx, func() { _ = conn.Close() })
	return conn, conn.SetDeadline(deadline)
}

// declare makes the queue where it is missing and binds it, where the trigger
// names an exchange. It changes no queue that is there.
func declare(conn *amqp091.Connection, t *mayfly.Trigger) error {
	if t.Exchange == "" {
		return nil
	}
	err := with(conn, func(ch *amqp091.Channel) error {
		_, err := ch.QueueDeclarePassive(t.AMQP, true, false, false, false, nil)
		return err
	})
	if e, ok := errors.AsType[*amqp091.Error](err); ok && e.Code == amqp091.NotFound {
		err = with(conn, func(ch *amqp091.Channel) error {
			_, err := ch.QueueDeclare(t.AMQP, true, false, false, false, nil)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("make the queue %s: %w", t.AMQP, err)
	}
	for _, key := range t.Keys {
		err := with(conn, func(ch *amqp091.Channel) error { return ch.QueueBind(t.AMQP, key, t.Exchange, false, nil) })
		if err != nil {
			return fmt.Errorf("bind the queue %s to the exchange %s by %q: %w", t.AMQP, t.Exchange, key, err)
		}
	}
	return nil
}

// with uses a channel of its own: an error of one ends it.
func with(conn *amqp091.Connection, use func(*amqp091.Channel) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	return use(ch)
}
