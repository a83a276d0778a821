package mqtt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event/cloudevent"
	"github.com/mayfly-cloud/mayfly/trigger"
)

const (
	connectTimeout = 10 * time.Second
	sideBySide     = 64 // messages that are being accepted; brokers hand out 20 by default
)

// Config of the sources.
type Config = trigger.SourceConfig

// Driver consumes the topics of all bindings. It is safe for concurrent use.
type Driver struct{ *trigger.Source }

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without bindings.
func New(cfg Config) *Driver {
	d := &Driver{}
	d.Source = trigger.NewSource(cfg, d.consume)
	return d
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerMQTT }

// Check wants a topic filter and the url of one broker.
func (d *Driver) Check(_ *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: mqtt %s", fn, t.MQTT)
	levels := strings.Split(t.MQTT, "/")
	for i, level := range levels {
		if strings.Contains(level, "+") && level != "+" || strings.Contains(level, "#") && (level != "#" || i < len(levels)-1) {
			return mayfly.Errorf(mayfly.Invalid, op, "%q is not a topic filter; + stands for one level, and # for all the rest, at the end", t.MQTT)
		}
	}
	if strings.Contains(t.URL, ",") {
		return mayfly.Errorf(mayfly.Invalid, op, "url names several brokers; sessions are one broker's: name one")
	}
	return trigger.CheckSource(op, t, "mqtt", "mqtts")
}

// session is one connection to a broker.
type session struct {
	ctx      context.Context
	messages chan paho.Message
	lost     chan error // holds the first error
}

func (s *session) fail(err error) {
	select {
	case s.lost <- err:
	default:
	}
}

func (d *Driver) consume(ctx context.Context, b *trigger.Binding, l *trigger.Link) error {
	user, password, err := d.Credentials(ctx, b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &session{ctx: ctx, messages: make(chan paho.Message, sideBySide), lost: make(chan error, 1)}
	client := paho.NewClient(s.options(b).SetUsername(user).SetPassword(password))
	defer client.Disconnect(0)
	defer cancel() // frees what receive waits for, before the client waits for it
	if err := wait(ctx, client.Connect()); err != nil {
		return err
	}
	// What the broker kept comes before its answer, which waits behind it.
	subscribed := client.Subscribe(b.Trigger.MQTT, 1, s.receive)
	answered, late := subscribed.Done(), time.After(2*connectTimeout)
	for {
		select {
		case <-answered:
			if err := subscribed.Error(); err != nil {
				return fmt.Errorf("subscribe to %s: %w", b.Trigger.MQTT, err)
			}
			answered, late = nil, nil
			l.Up()
		case <-late:
			return fmt.Errorf("subscribe to %s: the broker does not answer", b.Trigger.MQTT)
		case m := <-s.messages:
			if err := acceptAll(ctx, b, l, s.gather(m)); err != nil {
				return err
			}
		case err := <-s.lost:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) options(b *trigger.Binding) *paho.ClientOptions {
	return paho.NewClientOptions().AddBroker(b.Trigger.URL).SetClientID(clientID(b)).SetProtocolVersion(4).
		SetCleanSession(false).SetResumeSubs(false).SetAutoReconnect(false).SetConnectRetry(false).SetAutoAckDisabled(true).
		SetConnectTimeout(connectTimeout).SetDefaultPublishHandler(s.receive).
		SetConnectionLostHandler(func(_ paho.Client, err error) { s.fail(err) })
}

// receive hands a message over; one that nobody takes is not acknowledged, and
// comes again.
func (s *session) receive(_ paho.Client, m paho.Message) {
	select {
	case s.messages <- m:
	case <-s.ctx.Done():
	}
}

func wait(ctx context.Context, t paho.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-time.After(2 * connectTimeout):
		return errors.New("the broker does not answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gather is a message with those that are there already.
func (s *session) gather(first paho.Message) []paho.Message {
	all := []paho.Message{first}
	for len(all) < sideBySide {
		select {
		case m := <-s.messages:
			all = append(all, m)
		default:
			return all
		}
	}
	return all
}

// acceptAll accepts messages side by side, since each waits for the disk, and
// acknowledges them in the order in which they came, as MQTT has it, until one
// that could not be accepted.
func acceptAll(ctx context.Context, b *trigger.Binding, l *trigger.Link, all []paho.Message) error {
	errs := make([]error, len(all))
	var accepting sync.WaitGroup
	for i, m := range all {
		accepting.Go(func() { errs[i] = accept(ctx, b, l, m) })
	}
	accepting.Wait()
	for i, m := range all {
		if errs[i] != nil {
			return errs[i]
		}
		m.Ack()
	}
	return nil
}

func accept(ctx context.Context, b *trigger.Binding, l *trigger.Link, m paho.Message) error {
	source := strings.TrimSuffix(b.Trigger.URL, "/")
	event, err := cloudevent.Encode(trigger.Outside(mayfly.TriggerMQTT, source, m.Topic(), "", time.Now(), m.Payload()))
	if err != nil {
		return err
	}
	_, err = l.Accept(ctx, 1, m.Topic(), "", event)
	return err
}

// clientID is the same for a binding each time, which is what finds its session
// again. Brokers must take 23 letters and digits.
func clientID(b *trigger.Binding) string {
	sum := sha256.Sum256([]byte(string(b.App) + "/" + b.Key()))
	return "mayfly" + hex.EncodeToString(sum[:])[:17]
}
