package kv

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// Limits of the service.
const (
	MaxKey        = 512                  // bytes
	MaxValue      = int(mayfly.MaxByRef) // bytes; larger things belong in a bucket
	MaxBatch      = 128                  // operations
	MaxPage       = 1000                 // keys
	Shards        = 8                    // logs that Config.Open is asked for
	maxBatchBytes = int(2 * mayfly.MiB)
)

// Config says what the service is made of.
type Config struct {
	Open    func(ctx context.Context, shard int) (Log, error) // the log of a shard, 0 to Shards-1
	Authz   service.Authorizer
	Changed func(ctx context.Context, c service.KVChange) error // takes a change for its functions, durably; nil: none listens
	Quotas  *service.Quotas                                     // of apps; nil: none has one
	Memory  mayfly.Bytes                                        // of values kept in memory, of all shards; default 64 MiB
	Slack   mayfly.Bytes                                        // of a shard's log that is never cleaned; default 8 MiB
	Log     *slog.Logger                                        // default: discards
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Memory == 0 {
		c.Memory = 64 * mayfly.MiB
	}
	if c.Slack == 0 {
		c.Slack = 8 * mayfly.MiB
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Driver is the key-value service of a node. It is safe for concurrent use.
type Driver struct {
	cfg    Config
	shards [Shards]*shard
	wake   chan struct{} // a change or a store with a time to live is there

	mu     sync.Mutex // of Apply
	stores atomic.Pointer[map[string]*storeSpec]
}

var _ service.Driver = (*Driver)(nil)

// storeSpec is what a manifest says of a store. It does not change.
type storeSpec struct {
	name     string // "app/store"
	ttl      time.Duration
	quota    int64
	listened bool // a function has a trigger on it
	shard    *shard
}

// New makes the service; it opens a shard when an app first needs it.
func New(cfg Config) *Driver {
	cfg = cfg.WithDefaults()
	d := &Driver{cfg: cfg, wake: make(chan struct{}, 1)}
	for i := range d.shards {
		open := func(ctx context.Context) (Log, error) { return cfg.Open(ctx, i) }
		d.shards[i] = newShard(i, open, int64(cfg.Memory)/Shards, int64(cfg.Slack))
		d.shards[i].changes.wake, d.shards[i].quotas = d.poke, cfg.Quotas
	}
	d.stores.Store(&map[string]*storeSpec{})
	return d
}

func (d *Driver) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Kind is the kind of resource that grants name.
func (d *Driver) Kind() string { return service.KindKV }

// Check says which names cannot be stores.
func (d *Driver) Check(m *mayfly.Manifest) error {
	var problems []error
	for name := range m.KV {
		if !mayfly.ValidName(name) {
			problems = append(problems, mayfly.Errorf(mayfly.Invalid, "kv."+name, "%q cannot name a store: use lower case letters, digits and dashes", name))
		}
	}
	return errors.Join(problems...)
}

// Apply takes over what the apps declare and opens their shards.
func (d *Driver) Apply(ctx context.Context, apps []*mayfly.Manifest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := map[string]*storeSpec{}
	for _, m := range apps {
		for name, spec := range m.KV {
			if spec == nil {
				spec = &mayfly.KV{}
			}
			full := string(m.App) + "/" + name
			next[full] = &storeSpec{
				name: full, ttl: spec.TTL.D(), quota: int64(spec.Quota),
				listened: d.cfg.Changed != nil && listened(m, name), shard: d.shardOf(full),
			}
		}
	}
	for _, spec := range next {
		if err := spec.shard.ready(ctx); err != nil {
			return err
		}
		spec.shard.count(spec.name)
	}
	d.stores.Store(&next)
	d.poke()
	return nil
}

func listened(m *mayfly.Manifest, store string) bool {
	for _, fn := range m.Functions {
		if slices.ContainsFunc(fn.On, func(t mayfly.Trigger) bool { return t.KV == store }) {
			return true
		}
	}
	return false
}

// shardOf spreads stores; a store's shard never changes.
func (d *Driver) shardOf(store string) *shard {
	h := fnv.New32a()
	h.Write([]byte(store))
	return d.shards[h.Sum32()%Shards]
}

func (d *Driver) listens(store string) bool {
	spec := (*d.stores.Load())[store]
	return spec != nil && spec.listened
}

// sweepEvery is how often values past their time are deleted. Reads never show
// them meanwhile.
const sweepEvery = time.Second

// Run delivers changes and deletes what is past its time.
func (d *Driver) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	defer func() {
		for _, s := range d.shards {
			s.wait()
		}
	}()
	for {
		for _, s := range d.shards {
			if s.log.Load() != nil && ctx.Err() == nil {
				d.tend(ctx, s)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-tick.C:
		}
	}
}

// tend does a shard's background work. A failure is logged and tried again with
// the next tick.
func (d *Driver) tend(ctx context.Context, s *shard) {
	err := s.expire(ctx, d.listens)
	if d.cfg.Changed != nil {
		err = errors.Join(err, s.deliver(ctx, d.cfg.Changed))
	}
	if err != nil && ctx.Err() == nil {
		d.cfg.Log.Warn("key-value background work failed; it is tried again", "shard", s.index, "error", err)
	}
}

// Value is what a key holds.
type Value struct {
	Data        []byte // not to be written to
	ContentType string
	Revision    uint64
	Expires     time.Time // zero: never
	Size        int       // of Data, also where Data was not asked for
}

// OpKind is what an Op does.
type OpKind string

const (
	Put       OpKind = "put"
	Delete    OpKind = "delete"
	Increment OpKind = "increment"
	Check     OpKind = "check" // of the condition alone
)

// Op is one operation of a Commit.
type Op struct {
	Kind        OpKind
	Key         string
	Value       []byte         // put; not to be written to afterwards
	ContentType string         // put; default application/octet-stream
	TTL         *time.Duration // put, increment; nil: the store's, or what the number has; 0: for ever
	By          int64          // increment
	If          *uint64        // only where the key has this revision; 0: where it is not there
}

// Result is what an Op did.
type Result struct {
	Revision uint64 // of the key after it
	Number   int64  // of an increment
	Found    bool   // the key was there before
}

// Entry is one key of a listing.
type Entry struct {
	Key string
	Value
}

func (d *Driver) spec(app mayfly.AppName, store string) (*storeSpec, error) {
	if s := (*d.stores.Load())[string(app)+"/"+store]; s != nil {
		return s, nil
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "open key-value store", "app %s declares no store %q; add it under kv: in its manifest", app, store)
}

// Get returns a key's value, NotFound where there is none.
func (d *Driver) Get(ctx context.Context, app mayfly.AppName, store, key string) (Value, error) {
	spec, err := d.spec(app, store)
	if err != nil {
		return Value{}, err
	}
	v, ok, err := spec.shard.get(ctx, spec.name, key)
	if err == nil && !ok {
		err = mayfly.Errorf(mayfly.NotFound, "get key "+key, "store %s has no such key", store)
	}
	return v, err
}

// Commit does all operations or none, one after another. It returns a Conflict
// error where a condition does not hold, and Quota where the store is full. It
// is durable when it returns.
func (d *Driver) Commit(ctx context.Context, app mayfly.AppName, store string, ops []Op) ([]Result, error) {
	spec, err := d.spec(app, store)
	if err != nil {
		return nil, err
	}
	if err := checkOps(ops); err != nil {
		return nil, err
	}
	t := &txn{store: spec.name, spec: spec, ops: ops, hops: mayfly.HopsFrom(ctx)}
	if trace := mayfly.TraceFrom(ctx); trace.ID != "" {
		t.cause = trace.Header()
	}
	if err := spec.shard.commit(ctx, t); err != nil {
		return nil, err
	}
	return t.results, nil
}

func checkOps(ops []Op) error {
	if len(ops) == 0 || len(ops) > MaxBatch {
		return mayfly.Errorf(mayfly.Invalid, "write to key-value store", "a batch has 1 to %d operations, not %d", MaxBatch, len(ops))
	}
	total := 0
	for i := range ops {
		o := &ops[i]
		if err := checkKey(o.Key); err != nil {
			return err
		}
		if len(o.Value) > MaxValue {
			return mayfly.Errorf(mayfly.TooLarge, "put key "+o.Key, "the value has %d bytes, the limit is %d; put it in a bucket and its name here", len(o.Value), MaxValue)
		}
		if o.TTL != nil && *o.TTL < 0 {
			return mayfly.Errorf(mayfly.Invalid, "put key "+o.Key, "a time to live cannot be negative")
		}
		if o.ContentType == "" {
			o.ContentType = "application/octet-stream"
		}
		if len(o.ContentType) > 256 {
			return mayfly.Errorf(mayfly.Invalid, "put key "+o.Key, "the content type is longer than 256 bytes")
		}
		total += len(o.Value)
	}
	if total > maxBatchBytes {
		return mayfly.Errorf(mayfly.TooLarge, "write to key-value store", "the batch has %d bytes of values, the limit is %d", total, maxBatchBytes)
	}
	return nil
}

func checkKey(key string) error {
	switch {
	case key == "":
		return mayfly.Errorf(mayfly.Invalid, "use key", "a key cannot be empty")
	case len(key) > MaxKey:
		return mayfly.Errorf(mayfly.Invalid, "use key", "the key has %d bytes, the limit is %d", len(key), MaxKey)
	case !utf8.ValidString(key) || strings.ContainsRune(key, 0):
		return mayfly.Errorf(mayfly.Invalid, "use key", "a key is UTF-8 text without NUL; encode other bytes")
	}
	return nil
}

// List returns up to limit keys that begin with prefix, in order, those above
// after; next is where the following page begins, "" at the end. Values are
// filled where wanted.
func (d *Driver) List(ctx context.Context, app mayfly.AppName, store, prefix, after string, limit int, values bool) (page []Entry, next string, err error) {
	spec, err := d.spec(app, store)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	entries, more := spec.shard.mem.page(spec.name, prefix, after, limit, time.Now())
	for i := range entries {
		e := Entry{Key: entries[i].key, Value: entries[i].head()}
		if values && !entries[i].cached && entries[i].size > 0 {
			v, ok, err := spec.shard.get(ctx, spec.name, e.Key)
			if err != nil {
				return nil, "", fmt.Errorf("list store %s: %w", store, err)
			}
			if !ok {
				continue // deleted meanwhile
			}
			e.Value = v
		}
		page = append(page, e)
	}
	if more {
		next = entries[len(entries)-1].key
	}
	return page, next, nil
}

// Watch returns the writes to keys that begin with prefix from now on. The
// channel is closed when the reader falls behind; stop ends it.
func (d *Driver) Watch(app mayfly.AppName, store, prefix string) (events <-chan Event, stop func(), err error) {
	spec, err := d.spec(app, store)
	if err != nil {
		return nil, nil, err
	}
	events, stop = spec.shard.watch.add(spec.name, prefix)
	return events, stop, nil
}

// Stats is what a store holds.
type Stats struct {
	Store string `json:"store"`
	Keys  int    `json:"keys"`
	Bytes int64  `json:"bytes"`
	Quota int64  `json:"quota,omitempty"`
	TTL   string `json:"ttl,omitempty"`
}

// Stats lists the stores of an app by name.
func (d *Driver) Stats(app mayfly.AppName) []Stats {
	out := []Stats{}
	for name, spec := range *d.stores.Load() {
		store, ok := strings.CutPrefix(name, string(app)+"/")
		if !ok {
			continue
		}
		s := Stats{Store: store, Quota: spec.quota}
		if spec.ttl > 0 {
			s.TTL = mayfly.Duration(spec.ttl).String()
		}
		s.Keys, s.Bytes = spec.shard.mem.holds(name)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Stats) int { return strings.Compare(a.Store, b.Store) })
	return out
}
