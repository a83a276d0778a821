package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-cloud/mayfly"
)

// Logs are the names of all logs there are.
var Logs = func() []string {
	names := []string{"EVENTS", "DEAD", "USAGE", "AUDIT"}
	for _, family := range []string{"INVOKE", "QUEUE", "DELIVER", "KV"} {
		for i := range Shards {
			names = append(names, LogName(family, i))
		}
	}
	return names
}()

// Shards is how many logs each of INVOKE, QUEUE, DELIVER and KV has. One log alone
// syncs about a thousand records a second on a common disk.
const Shards = 8

// LogName is the name of one shard, "QUEUE_3".
func LogName(family string, shard int) string { return family + "_" + string(rune('0'+shard)) }

// Log is one stream of records. A log has one writer at a time; readers may be
// any number.
type Log struct {
	engine *Engine
	name   string
	stream jetstream.Stream
}

// Log opens a log of the fixed set and makes it where missing.
func (e *Engine) Log(ctx context.Context, name string) (*Log, error) {
	if !slices.Contains(Logs, name) {
		return nil, mayfly.Errorf(mayfly.Internal, "open log", "there is no log %q", name)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.logs[name]; l != nil {
		return l, nil
	}
	ctx, cancel := e.call(ctx)
	defer cancel()
	stream, err := e.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        name,
		Subjects:    []string{subject(name)},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    int64(e.cfg.LogLimit),
		AllowDirect: true, // records never change
	})
	if err != nil {
		return nil, problem("open log "+name, err)
	}
	l := &Log{engine: e, name: name, stream: stream}
	e.logs[name] = l
	return l, nil
}

func subject(log string) string { return "mayfly.log." + log }

// MaxRecord is the most bytes that one record may have.
func (l *Log) MaxRecord() int { return int(l.engine.conn.MaxPayload()) - 512 }

// Append writes one record and returns its sequence number. The record is
// durable when it returns. A full disk or log is an Unavailable error.
func (l *Log) Append(ctx context.Context, record []byte) (uint64, error) {
	l.engine.writes.RLock()
	defer l.engine.writes.RUnlock()
	if err := l.engine.room("write "+l.name, len(record)); err != nil {
		return 0, err
	}
	ctx, cancel := l.engine.call(ctx)
	defer cancel()
	ack, err := l.engine.js.Publish(ctx, subject(l.name), record)
	if err != nil {
		return 0, problem("write "+l.name, err)
	}
	return ack.Sequence, nil
}

// Read returns one record, NotFound where it was truncated.
func (l *Log) Read(ctx context.Context, seq uint64) ([]byte, error) {
	ctx, cancel := l.engine.call(ctx)
	defer cancel()
	msg, err := l.stream.GetMsg(ctx, seq)
	if err != nil {
		return nil, problem("read "+l.name, err)
	}
	return msg.Data, nil
}

// Bounds are the sequence numbers of the first record and of the last one; the
// log is empty where last < first.
func (l *Log) Bounds(ctx context.Context) (first, last uint64, err error) {
	ctx, cancel := l.engine.call(ctx)
	defer cancel()
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, 0, problem("read "+l.name, err)
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

// Scan calls fn for every record from the sequence number from on that is there
// now, in order, until fn returns an error.
func (l *Log) Scan(ctx context.Context, from uint64, fn func(seq uint64, record []byte) error) error {
	first, last, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	if from = max(from, first, 1); from > last {
		return nil
	}
	consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   from,
	})
	if err != nil {
		return problem("scan "+l.name, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(256))
	if err != nil {
		return problem("scan "+l.name, err)
	}
	defer messages.Stop()
	return l.scan(ctx, messages, last, fn)
}

func (l *Log) scan(ctx context.Context, messages jetstream.MessagesContext, last uint64, fn func(uint64, []byte) error) error {
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return problem("scan "+l.name, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return problem("scan "+l.name, err)
		}
		if err := fn(meta.Sequence.Stream, msg.Data()); err != nil {
			return err
		}
		if meta.Sequence.Stream >= last || meta.NumPending == 0 {
			return nil
		}
	}
}

// Truncate removes every record before the sequence number.
func (l *Log) Truncate(ctx context.Context, before uint64) error {
	l.engine.writes.RLock()
	defer l.engine.writes.RUnlock()
	if err := l.engine.roomToRemove("truncate " + l.name); err != nil {
		return err
	}
	ctx, cancel := l.engine.call(ctx)
	defer cancel()
	return problem("truncate "+l.name, l.stream.Purge(ctx, jetstream.WithPurgeSequence(before)))
}

// Name is the log's name.
func (l *Log) Name() string { return l.name }

// problem gives an error of the server the code and words that a caller needs.
func problem(op string, err error) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrKeyNotFound):
		return mayfly.Errorf(mayfly.NotFound, op, "no such record: %w", err)
	case errors.As(err, &api) && full[api.ErrorCode]:
		return mayfly.Errorf(mayfly.Unavailable, op, "the disk or the log's limit is full, nothing was accepted: %w", err)
	}
	return mayfly.Errorf(mayfly.Unavailable, op, "the engine does not answer as it should: %w", err)
}

// full are the server's error codes for "no room": insufficient resources,
// account and server storage, and a store that failed to write.
var full = map[jetstream.ErrorCode]bool{10023: true, 10002: true, 10028: true, 10047: true, 10077: true}
