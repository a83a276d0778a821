package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-cloud/mayfly"
)

// Buckets are the names of all buckets there are, with their limits.
var buckets = map[string]struct {
	history  int64
	maxBytes mayfly.Bytes
}{
	"config":  {5, mayfly.GiB},     // apps and versions
	"runtime": {1, mayfly.GiB},     // positions of schedules and subscriptions, leases
	"once":    {1, 4 * mayfly.GiB}, // first results by idempotency key
	"kv":      {1, 16 * mayfly.GiB},
}

// Bucket is a key-value store whose writes are all compare-and-set. The
// revision of a value is its fencing token. A key is letters, digits and
// "-/_=." and does not begin or end with a dot.
type Bucket struct {
	engine *Engine
	name   string
	kv     jetstream.KeyValue
}

// Bucket opens a bucket of the fixed set and makes it where missing.
func (e *Engine) Bucket(ctx context.Context, name string) (*Bucket, error) {
	spec, ok := buckets[name]
	if !ok {
		return nil, mayfly.Errorf(mayfly.Internal, "open bucket", "there is no bucket %q", name)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if b := e.kvs[name]; b != nil {
		return b, nil
	}
	ctx, cancel := e.call(ctx)
	defer cancel()
	// Made as a stream, since the client's own call would turn direct gets on,
	// which may answer with a stale value in a cluster.
	_, err := e.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              "KV_" + name,
		Subjects:          []string{"$KV." + name + ".>"},
		MaxMsgsPerSubject: spec.history,
		MaxBytes:          int64(spec.maxBytes),
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowMsgTTL:       true,
	})
	if err != nil {
		return nil, problem("open bucket "+name, err)
	}
	kv, err := e.js.KeyValue(ctx, name)
	if err != nil {
		return nil, problem("open bucket "+name, err)
	}
	b := &Bucket{engine: e, name: name, kv: kv}
	e.kvs[name] = b
	return b, nil
}

// Get returns a value and its revision, NotFound where there is none.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	ctx, cancel := b.engine.call(ctx)
	defer cancel()
	entry, err := b.kv.Get(ctx, key)
	if err != nil {
		return nil, 0, b.problem("read", key, err)
	}
	return entry.Value(), entry.Revision(), nil
}

// Put writes a value whose last revision is rev; rev 0 means that the key must
// not exist. It returns a Conflict error where the revision is another.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	b.engine.writes.RLock()
	defer b.engine.writes.RUnlock()
	if err := b.engine.room("write "+b.name+"/"+key, len(value)); err != nil {
		return 0, err
	}
	ctx, cancel := b.engine.call(ctx)
	defer cancel()
	var err error
	if rev == 0 {
		rev, err = b.kv.Create(ctx, key, value)
	} else {
		rev, err = b.kv.Update(ctx, key, value, rev)
	}
	if err != nil {
		return 0, b.problem("write", key, err)
	}
	return rev, nil
}

// PutTTL is Put for a value that ends after ttl, in whole seconds of at least
// one. Each renewal writes it again with the revision of the last.
func (b *Bucket) PutTTL(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error) {
	b.engine.writes.RLock()
	defer b.engine.writes.RUnlock()
	if err := b.engine.room("write "+b.name+"/"+key, len(value)); err != nil {
		return 0, err
	}
	ctx, cancel := b.engine.call(ctx)
	defer cancel()
	ttl = max(ttl.Round(time.Second), time.Second)
	if rev == 0 {
		rev, err := b.kv.Create(ctx, key, value, jetstream.KeyTTL(ttl))
		if err != nil {
			return 0, b.problem("write", key, err)
		}
		return rev, nil
	}
	// The client's Update drops the TTL, so this is its publish by hand.
	msg := &nats.Msg{Subject: "$KV." + b.name + "." + key, Data: value}
	ack, err := b.engine.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(rev), jetstream.WithMsgTTL(ttl))
	if err != nil {
		return 0, b.problem("write", key, err)
	}
	return ack.Sequence, nil
}

// Delete removes a key whose last revision is rev, 0 for any.
func (b *Bucket) Delete(ctx context.Context, key string, rev uint64) error {
	b.engine.writes.RLock()
	defer b.engine.writes.RUnlock()
	if err := b.engine.roomToRemove("delete " + b.name + "/" + key); err != nil {
		return err
	}
	ctx, cancel := b.engine.call(ctx)
	defer cancel()
	var opts []jetstream.KVDeleteOpt
	if rev != 0 {
		opts = append(opts, jetstream.LastRevision(rev))
	}
	// Purge rather than delete, so that the key's history does not stay.
	if err := b.kv.Purge(ctx, key, opts...); err != nil {
		return b.problem("delete", key, err)
	}
	return nil
}

// Keys lists the keys that begin with prefix, in no order.
func (b *Bucket) Keys(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := b.engine.call(ctx)
	defer cancel()
	lister, err := b.kv.ListKeys(ctx)
	if err != nil {
		return nil, b.problem("list", prefix, err)
	}
	defer func() { _ = lister.Stop() }()
	var keys []string
	for key := range lister.Keys() {
		if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (b *Bucket) problem(verb, key string, err error) error {
	op := verb + " " + b.name + "/" + key
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrKeyExists), errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return mayfly.Errorf(mayfly.Conflict, op, "it was changed by another meanwhile: %w", err)
	case errors.Is(err, jetstream.ErrInvalidKey):
		return mayfly.Errorf(mayfly.Invalid, op, "%q cannot be a key: %w", key, err)
	}
	return problem(op, err)
}
