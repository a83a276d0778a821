package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

const (
	defaultBatch = 100
	maxBatch     = 10_000
	ahead        = 2000 // records that are polled at once

	connectTimeout = 10 * time.Second
	pingEvery      = 10 * time.Second // where no records come
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
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerKafka }

// legal is a topic's name, as Kafka has it.
var legal = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

// Check wants a topic and the urls of brokers.
func (d *Driver) Check(_ *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: kafka %s", fn, t.Kafka)
	switch {
	case !legal.MatchString(t.Kafka):
		return mayfly.Errorf(mayfly.Invalid, op, "%q is not a topic; it has up to 249 letters, digits, dots, dashes and underscores", t.Kafka)
	case t.Start != "" && t.Start != "oldest" && t.Start != "latest":
		return mayfly.Errorf(mayfly.Invalid, op, "start is %q; choose oldest (default) or latest", t.Start)
	case t.Batch < 0 || t.Batch > maxBatch:
		return mayfly.Errorf(mayfly.Invalid, op, "batch is %d; choose 1 to %d", t.Batch, maxBatch)
	case strings.Contains(t.URL, "kafka://") && strings.Contains(t.URL, "kafkas://"):
		return mayfly.Errorf(mayfly.Invalid, op, "url mixes kafka:// and kafkas://; choose one for all brokers")
	}
	return trigger.CheckSource(op, t, "kafka", "kafkas")
}

func (d *Driver) consume(ctx context.Context, b *trigger.Binding, l *trigger.Link) error {
	options, err := d.options(ctx, b)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for {
		if err := ping(ctx, client); err != nil {
			return err
		}
		l.Up()
		if err := d.poll(ctx, client, b, l); err != nil {
			return err
		}
	}
}

// ping asks whether a broker answers: the client itself would try for ever.
func ping(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("no broker answers: %w", err)
	}
	return nil
}

// poll accepts records until none came for a while, or an error.
func (d *Driver) poll(ctx context.Context, client *kgo.Client, b *trigger.Binding, l *trigger.Link) error {
	for {
		quiet, cancel := context.WithTimeout(ctx, pingEvery)
		fetches := client.PollRecords(quiet, ahead)
		cancel()
		if err := fetches.Err0(); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			client.AllowRebalance()
			return nil
		} else if err != nil {
			return err
		}
		var failed error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if failed == nil && p.Err != nil {
				failed = fmt.Errorf("read %s, partition %d: %w", p.Topic, p.Partition, p.Err)
			}
			if failed == nil && len(p.Records) > 0 {
				failed = accept(ctx, client, b, l, p.Records)
			}
		})
		if failed != nil {
			return failed
		}
		client.AllowRebalance()
	}
}

// options of a client. Partitions are kept until what was polled of them is
// committed, so that a rebalance makes no duplicates.
func (d *Driver) options(ctx context.Context, b *trigger.Binding) ([]kgo.Opt, error) {
	user, password, err := d.Credentials(ctx, b)
	if err != nil {
		return nil, err
	}
	start := kgo.NewOffset().AtStart()
	if b.Trigger.Start == "latest" {
		start = kgo.NewOffset().AtEnd()
	}
	group := b.Trigger.Group
	if group == "" {
		group = "mayfly." + string(b.App) + "." + b.Key()
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(brokers(b.Trigger.URL)...), kgo.ConsumeTopics(b.Trigger.Kafka), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(start),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.ClientID("mayfly"),
	}
	if strings.HasPrefix(b.Trigger.URL, "kafkas://") {
		options = append(options, kgo.DialTLS())
	}
	if user != "" {
		options = append(options, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	}
	return options, nil
}

func brokers(url string) []string {
	var out []string
	for one := range strings.SplitSeq(url, ",") {
		_, host, _ := strings.Cut(one, "://")
		out = append(out, strings.TrimSuffix(host, "/"))
	}
	return out
}

// accept accepts the records of one partition, and commits each batch.
func accept(ctx context.Context, client *kgo.Client, b *trigger.Binding, l *trigger.Link, records []*kgo.Record) error {
	size := b.Trigger.Batch
	if size == 0 {
		size = defaultBatch
	}
	for batch := range slices.Chunk(records, size) {
		if err := acceptBatch(ctx, client, b, l, batch); err != nil {
			return err
		}
	}
	return nil
}

// acceptBatch accepts records in one call, or in several where they are too
// large for one.
func acceptBatch(ctx context.Context, client *kgo.Client, b *trigger.Binding, l *trigger.Link, batch []*kgo.Record) error {
	event, err := json.Marshal(encode(b, batch))
	if err != nil {
		return err
	}
	if half := len(batch) / 2; half > 0 && len(event) > int(mayfly.MaxAsync) {
		if err := acceptBatch(ctx, client, b, l, batch[:half]); err != nil {
			return err // a commit of what comes after it would skip it
		}
		return acceptBatch(ctx, client, b, l, batch[half:])
	}
	first := batch[0]
	id := fmt.Sprintf("kafka.%s.%s.%d.%d.%d.%d", b.Key(), first.Topic, first.Partition, first.Offset, len(batch), first.Timestamp.UnixMilli())
	where := fmt.Sprintf("%s, partition %d, offset %d", first.Topic, first.Partition, first.Offset)
	if _, err := l.Accept(traced(ctx, first), len(batch), where, id, event); err != nil {
		return err
	}
	return client.CommitRecords(ctx, batch...)
}

// traced is ctx with the trace that a record came with.
func traced(ctx context.Context, r *kgo.Record) context.Context {
	for _, h := range r.Headers {
		if h.Key == "traceparent" {
			return trigger.WithRemote(ctx, string(h.Value))
		}
	}
	return ctx
}

// Event is what a handler gets. Its shape is that of AWS Lambda's:
// https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html
type Event struct {
	EventSource      string              `json:"eventSource"` // "SelfManagedKafka"
	BootstrapServers string              `json:"bootstrapServers"`
	Records          map[string][]Record `json:"records"` // by TOPIC-PARTITION
}

// Record is one record of a topic.
type Record struct {
	Topic         string              `json:"topic"`
	Partition     int32               `json:"partition"`
	Offset        int64               `json:"offset"`
	Timestamp     int64               `json:"timestamp"` // milliseconds
	TimestampType string              `json:"timestampType"`
	Key           []byte              `json:"key,omitempty"` // base64, as JSON has bytes
	Value         []byte              `json:"value"`
	Headers       []map[string][]int8 `json:"headers"` // each a name and its bytes as numbers
}

func encode(b *trigger.Binding, records []*kgo.Record) *Event {
	var out []Record
	for _, r := range records {
		one := Record{
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), TimestampType: "CREATE_TIME",
			Key: r.Key, Value: r.Value, Headers: []map[string][]int8{},
		}
		if r.Attrs.TimestampType() == 1 {
			one.TimestampType = "LOG_APPEND_TIME"
		}
		for _, h := range r.Headers {
			bytes := make([]int8, len(h.Value))
			for i, c := range h.Value {
				bytes[i] = int8(c)
			}
			one.Headers = append(one.Headers, map[string][]int8{h.Key: bytes})
		}
		out = append(out, one)
	}
	key := fmt.Sprintf("%s-%d", records[0].Topic, records[0].Partition)
	return &Event{EventSource: "SelfManagedKafka", BootstrapServers: strings.Join(brokers(b.Trigger.URL), ","), Records: map[string][]Record{key: out}}
}
