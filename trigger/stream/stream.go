package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/event/pattern"
	"github.com/mayfly-cloud/mayfly/trigger"
)

const (
	defaultAttempts = 5
	maxBatch        = 10000
	maxPartitions   = 256
	maxWindow       = 15 * time.Minute
)

// Config of the streams. All but Authorize, Logger, Region and Drain are needed.
type Config struct {
	Journal *event.Journal // of the EVENTS log; who made it runs it
	Dead    *event.Dead
	Invoker trigger.Invoker
	Records Records       // checkpoints
	Logger  *slog.Logger  // default: discards
	Region  string        // in ARN-like ids; default "local"
	Drain   time.Duration // how long running calls may take when Run's context ends; default 5 s

	Authorize mayfly.Authorizer // for the API; nil: administrators only
}

// Records keeps small values, written by compare-and-set. *engine.Bucket is one.
type Records interface {
	Get(ctx context.Context, key string) (value []byte, rev uint64, err error)
	Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
}

// Driver runs the streams of all apps. It is safe for concurrent use.
type Driver struct {
	cfg  Config
	crew *trigger.Crew // of the consumers

	mu        sync.Mutex
	consumers map[string]*consumer // guarded by mu; by binding and what makes it a new one
}

// consumer is one binding. It does not change: a deploy that changes the
// binding makes another, which goes on from the same checkpoints.
type consumer struct {
	driver  *Driver
	binding trigger.Binding
	match   *pattern.Pattern
	by      string       // partition_by
	all     []*partition // by index
	member  *trigger.Member
	before  <-chan struct{} // closed when the consumer that it replaces has ended; nil for none
}

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without streams.
func New(cfg Config) *Driver {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Region == "" {
		cfg.Region = "local"
	}
	if cfg.Drain == 0 {
		cfg.Drain = 5 * time.Second
	}
	return &Driver{cfg: cfg, crew: trigger.NewCrew(cfg.Drain), consumers: map[string]*consumer{}}
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerStream }

// Check wants a declared topic and settings that make sense.
func (d *Driver) Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: stream %s", fn, t.Stream)
	if _, ok := m.Topics[t.Stream]; !ok {
		return mayfly.Errorf(mayfly.Invalid, op, "the app declares no topic %q; add it under topics:", t.Stream)
	}
	if len(t.Match) > 0 {
		if _, err := pattern.Compile(t.Match); err != nil {
			return mayfly.Errorf(mayfly.Invalid, op, "%s", mayfly.MessageOf(err))
		}
	}
	if _, err := time.Parse(time.RFC3339, t.Start); err != nil && t.Start != "" && t.Start != "latest" && t.Start != "oldest" {
		return mayfly.Errorf(mayfly.Invalid, op, "start is %q; write latest, oldest or a time as 2026-12-01T08:00:00Z", t.Start)
	}
	switch {
	case t.Batch < 0 || t.Batch > maxBatch:
		return mayfly.Errorf(mayfly.Invalid, op, "batch is %d; choose 1 to %d", t.Batch, maxBatch)
	case t.Partitions < 0 || t.Partitions > maxPartitions:
		return mayfly.Errorf(mayfly.Invalid, op, "partitions is %d; choose 1 to %d", t.Partitions, maxPartitions)
	case t.Window < 0 || t.Window.D() > 5*time.Minute:
		return mayfly.Errorf(mayfly.Invalid, op, "window is %s; choose at most 5m", t.Window)
	case t.Tumbling < 0 || t.Tumbling != 0 && t.Tumbling.D() < time.Second || t.Tumbling.D() > maxWindow:
		return mayfly.Errorf(mayfly.Invalid, op, "tumbling_window is %s; choose 1s to 15m", t.Tumbling)
	case t.Attempts < 0 || t.Attempts > 1000:
		return mayfly.Errorf(mayfly.Invalid, op, "attempts is %d; choose 1 to 1000", t.Attempts)
	}
	return nil
}

// place names a binding's checkpoints, which outlive a change of its settings.
func place(b *trigger.Binding) string { return string(b.App) + "/" + b.Key() }

// Apply makes the consumers those of the bindings. One whose settings changed is
// ended after the batch it is at, and goes on with the new ones.
func (d *Driver) Apply(_ context.Context, all []trigger.Binding) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	wanted := map[string]bool{}
	var errs []error
	for _, b := range all {
		c, err := d.consumer(b)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", &b, err))
			continue
		}
		key := place(&b) + "\n" + c.settings()
		wanted[key] = true
		if d.consumers[key] != nil {
			continue
		}
		for other, old := range d.consumers {
			if strings.HasPrefix(other, place(&b)+"\n") {
				c.before = old.member.Ended()
			}
		}
		c.member = d.crew.Join(c.run)
		d.consumers[key] = c
	}
	for key, c := range d.consumers {
		if !wanted[key] {
			c.member.Leave()
			delete(d.consumers, key)
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) consumer(b trigger.Binding) (*consumer, error) {
	c := &consumer{driver: d, binding: b, by: "subject"}
	if t := b.Manifest.Topics[b.Trigger.Stream]; t != nil && t.PartitionBy != "" {
		c.by = t.PartitionBy
	}
	if len(b.Trigger.Match) > 0 {
		var err error
		if c.match, err = pattern.Compile(b.Trigger.Match); err != nil {
			return nil, err
		}
	}
	for i := range c.partitions() {
		c.all = append(c.all, &partition{consumer: c, index: i, key: checkpointKey(&c.binding, i, c.partitions())})
	}
	return c, nil
}

// settings are what makes a consumer another one.
func (c *consumer) settings() string {
	text, err := json.Marshal(c.binding.Trigger)
	if err != nil {
		return err.Error()
	}
	return c.by + string(text)
}

func (c *consumer) partitions() int { return max(1, c.binding.Trigger.Partitions) }

// Run consumes until ctx ends. Calls that run then have Config.Drain to end. The
// journal should run until Run has returned.
func (d *Driver) Run(ctx context.Context) error {
	d.crew.Run(ctx)
	return nil
}

func (c *consumer) run(ctx, working context.Context) {
	if c.before != nil {
		select {
		case <-c.before:
		case <-ctx.Done():
			return
		}
	}
	for {
		err := c.prepare(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		c.driver.cfg.Logger.Error("a stream cannot begin; it will soon", "binding", c.binding.String(), "error", err)
		sleep(ctx, retryAfter)
	}
	var partitions sync.WaitGroup
	for _, p := range c.all {
		partitions.Go(func() { p.run(ctx, working) })
	}
	partitions.Wait()
}

// checkpointKey names a partition's checkpoint. Another number of partitions
// has other ones, since keys are then in other partitions.
func checkpointKey(b *trigger.Binding, index, of int) string {
	h := sha256.Sum256([]byte(place(b)))
	return fmt.Sprintf("streams.%s.%d.%d", hex.EncodeToString(h[:12]), of, index)
}

// prepare makes the checkpoints that are not there. A consumer that is new
// begins where its trigger says; one whose number of partitions changed, where
// the last of the old partitions is, so that nothing is left out.
func (c *consumer) prepare(ctx context.Context) error {
	records := c.driver.cfg.Records
	h := sha256.Sum256([]byte(place(&c.binding)))
	key := "streams." + hex.EncodeToString(h[:12])
	value, rev, err := records.Get(ctx, key)
	was, _ := strconv.Atoi(string(value))
	var at event.Position
	switch {
	case mayfly.CodeOf(err) == mayfly.NotFound:
		at, err = c.start(ctx)
	case err == nil && was == c.partitions():
		return nil
	case err == nil:
		at, err = c.slowest(ctx, was)
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(checkpoint{At: at.String()})
	if err != nil {
		return err
	}
	for i := range c.partitions() {
		name := checkpointKey(&c.binding, i, c.partitions())
		_, old, err := records.Get(ctx, name)
		if err != nil && mayfly.CodeOf(err) != mayfly.NotFound {
			return err
		}
		if _, err := records.Put(ctx, name, text, old); err != nil {
			return err
		}
	}
	_, err = records.Put(ctx, key, []byte(strconv.Itoa(c.partitions())), rev)
	return err
}

// slowest is the first of the checkpoints of a number of partitions.
func (c *consumer) slowest(ctx context.Context, of int) (at event.Position, err error) {
	for i := range of {
		p := &partition{consumer: c, key: checkpointKey(&c.binding, i, of)}
		if err := p.open(ctx); err != nil {
			return at, err
		}
		if i == 0 || p.at.Before(at) {
			at = p.at
		}
	}
	return at, nil
}

// deadBody is what a dead letter of a stream holds.
type deadBody struct {
	Binding string          `json:"binding"` // its place
	Topic   string          `json:"topic"`
	Event   json.RawMessage `json:"event"`
}

// Revive calls the function with a dead letter's event alone. It is out of
// order by then.
func (d *Driver) Revive(ctx context.Context, letter *event.DeadLetter, to string) error {
	var body deadBody
	if err := json.Unmarshal(letter.Body, &body); err != nil || to != "" {
		return mayfly.Errorf(mayfly.Invalid, "redrive", "dead letter %s can only go to the function that it came from", letter.ID)
	}
	d.mu.Lock()
	var c *consumer
	for key, other := range d.consumers {
		if strings.HasPrefix(key, body.Binding+"\n") {
			c = other
		}
	}
	d.mu.Unlock()
	if c == nil {
		return mayfly.Errorf(mayfly.NotFound, "redrive", "nothing consumes the topic %s as %s any more", body.Topic, body.Binding)
	}
	e := &event.Published{App: letter.App, Topic: body.Topic, Time: letter.Accepted, Trace: letter.Trace.Header(), Body: body.Event}
	p := &partition{consumer: c}
	_, done, err := p.call(ctx, []keyed{{e, c.keyOf(e)}}, nil, 1)
	if err == nil && done == 0 {
		err = mayfly.Errorf(mayfly.FunctionFailed, "redrive", "the function reported the event in batchItemFailures")
	}
	return err
}
