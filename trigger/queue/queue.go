package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/schedule"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Config of the queues. Store, Dead, Invoker and Apps are needed.
type Config struct {
	Store     *event.Store // of the QUEUE logs; who made it runs it
	Dead      *event.Dead
	Invoker   trigger.Invoker
	Apps      trigger.Apps
	Paused    Switches          // what is paused; nil: nothing stays paused through a restart
	Authorize mayfly.Authorizer // for the API; nil: administrators only
	Logger    *slog.Logger      // default: discards
	Region    string            // in ARN-like ids; default "local"
	Drain     time.Duration     // how long running calls may take when Run's context ends; default 5 s
}

// Switches keeps names that are switched on. *engine.Bucket is one.
type Switches interface {
	Keys(ctx context.Context, prefix string) ([]string, error)
	Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
}

// Driver runs the queues of all apps. It is safe for concurrent use.
type Driver struct {
	cfg  Config
	crew *trigger.Crew // of the pollers

	mu      sync.Mutex
	queues  map[string]*queue  // guarded by mu; by lane
	pollers map[string]*poller // guarded by mu; by binding
	resumed bool               // guarded by mu; what was paused before the start is again
}

// queue is what the pollers of one queue share.
type queue struct {
	app  mayfly.AppName
	name string
	gate event.Gate
}

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver.
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
	return &Driver{cfg: cfg, crew: trigger.NewCrew(cfg.Drain), queues: map[string]*queue{}, pollers: map[string]*poller{}}
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerQueue }

// Check wants a declared queue, and settings that make sense together.
func (d *Driver) Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: queue %s", fn, t.Queue)
	_, ok := m.Queues[t.Queue]
	switch {
	case !ok:
		return mayfly.Errorf(mayfly.Invalid, op, "the app declares no queue %q; add it under queues:", t.Queue)
	case t.Batch < 0 || t.Batch > 1000:
		return mayfly.Errorf(mayfly.Invalid, op, "batch is %d; choose 1 to 1000", t.Batch)
	case t.Window < 0 || t.Window.D() > 5*time.Minute:
		return mayfly.Errorf(mayfly.Invalid, op, "window is %s; choose at most 5m", t.Window)
	case t.MaxCalls < 0:
		return mayfly.Errorf(mayfly.Invalid, op, "max_concurrency is %d; choose 1 or more, or leave it out", t.MaxCalls)
	}
	return nil
}

// CheckQueue returns an Invalid error where a queue's own settings are wrong.
func CheckQueue(m *mayfly.Manifest, name string, q *mayfly.Queue) error {
	op := "queues." + name
	if q == nil {
		return nil
	}
	if _, err := schedule.ParseBackoff(q.Backoff); err != nil {
		return mayfly.Errorf(mayfly.Invalid, op+".backoff", "%w", err)
	}
	switch {
	case q.Attempts < 0 || q.Attempts > 1000:
		return mayfly.Errorf(mayfly.Invalid, op, "attempts is %d; choose 1 to 1000", q.Attempts)
	case q.Visibility != 0 && (q.Visibility.D() < time.Second || q.Visibility.D() > 12*time.Hour):
		return mayfly.Errorf(mayfly.Invalid, op, "visibility is %s; choose 1s to 12h", q.Visibility)
	case q.Retention != 0 && q.Retention.D() < time.Minute:
		return mayfly.Errorf(mayfly.Invalid, op, "retention is %s; choose at least 1m", q.Retention)
	case q.Delay.D() > MaxDelay:
		return mayfly.Errorf(mayfly.Invalid, op, "delay is %s; choose at most 365d", q.Delay)
	case q.Concurrency < 0:
		return mayfly.Errorf(mayfly.Invalid, op, "concurrency is %d; choose 1 or more, or leave it out", q.Concurrency)
	case q.DeadLetter == name:
		return mayfly.Errorf(mayfly.Invalid, op, "a queue cannot be its own dead_letter")
	}
	if q.DeadLetter != "" && m.Queues != nil {
		if _, ok := m.Queues[q.DeadLetter]; !ok {
			return mayfly.Errorf(mayfly.Invalid, op, "dead_letter names the queue %q, which the app does not declare", q.DeadLetter)
		}
	}
	return nil
}

func laneName(app mayfly.AppName, name string) string { return string(app) + "/" + name }

// spec is a declared queue with its defaults, NotFound with the nearest names
// where the app has none.
func (d *Driver) spec(app mayfly.AppName, name string) (mayfly.Queue, error) {
	m, ok := d.cfg.Apps.Manifest(app)
	if !ok {
		return mayfly.Queue{}, mayfly.Errorf(mayfly.NotFound, "queue "+name, "there is no app %s", app)
	}
	q, ok := m.Queues[name]
	if !ok {
		var names []string
		for n := range m.Queues {
			names = append(names, n)
		}
		slices.Sort(names)
		return mayfly.Queue{}, mayfly.Errorf(mayfly.NotFound, "queue "+name, "the app %s has no queue %s; it has [%s]", app, name, strings.Join(names, " "))
	}
	return withDefaults(q), nil
}

// Sent is one accepted message.
type Sent struct {
	ID        string `json:"id"`
	MD5       string `json:"md5_of_body"`
	Duplicate bool   `json:"duplicate,omitempty" doc:"A message with this deduplication id was accepted before; the id is its"`
}

// Send accepts messages: all of them, durably, or none.
func (d *Driver) Send(ctx context.Context, app mayfly.AppName, name string, messages ...*mayfly.Message) ([]Sent, error) {
	op := "send to queue " + name
	spec, err := d.spec(app, name)
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 || len(messages) > MaxBatch {
		return nil, mayfly.Errorf(mayfly.Invalid, op, "%d messages; send 1 to %d at once", len(messages), MaxBatch)
	}
	now := time.Now()
	sender := mayfly.CallerFrom(ctx).String()
	items := make([]*event.Item, len(messages))
	for i, m := range messages {
		if items[i], err = item(name, &spec, m, sender, now); err != nil {
			return nil, err
		}
		if m.Hops > mayfly.MaxHops {
			return nil, d.cycle(ctx, app, name, m, items[i])
		}
	}
	if err := d.cfg.Store.Lane(laneName(app, name)).Put(ctx, items...); err != nil {
		return nil, err
	}
	sent := make([]Sent, len(items))
	for i, it := range items {
		sent[i] = Sent{ID: it.ID, MD5: sum(text(messages[i].Body)), Duplicate: it.Duplicate}
	}
	return sent, nil
}

// SendTo sends one message, as a destination.
func (d *Driver) SendTo(ctx context.Context, app mayfly.AppName, name string, m *mayfly.Message) error {
	_, err := d.Send(ctx, app, name, m)
	return err
}

// cycle keeps a message that went through too many functions as a dead letter.
func (d *Driver) cycle(ctx context.Context, app mayfly.AppName, name string, m *mayfly.Message, it *event.Item) error {
	letter := d.letter(app, name, it, event.DeadHops)
	letter.Error = "functions send to each other in a cycle"
	letter.Trace = m.Trace
	if err := d.cfg.Dead.Add(ctx, letter); err != nil {
		return err
	}
	d.cfg.Logger.Warn("functions send to each other in a cycle, which is stopped", "app", app, "queue", name, "sender", mayfly.CallerFrom(ctx).String(), "trace", m.Trace.ID, "dead_letter", letter.ID)
	return mayfly.Errorf(mayfly.Invalid, "send to queue "+name, "the message came through more than %d functions: they send to each other in a cycle; it is kept as dead letter %s", mayfly.MaxHops, letter.ID)
}

// deadBody is what a dead letter of a queue holds: enough to send it again.
type deadBody struct {
	stored
	Key   string `json:"key,omitempty"`
	Dedup string `json:"deduplication_id,omitempty"`
}

func (d *Driver) letter(app mayfly.AppName, name string, it *event.Item, reason string) *event.DeadLetter {
	body := deadBody{Key: it.Key, Dedup: it.Dedup}
	_ = json.Unmarshal(it.Body, &body.stored)
	raw, err := json.Marshal(body)
	if err != nil {
		raw = it.Body
	}
	return &event.DeadLetter{Item: it.ID, App: app, Source: "queue/" + name, Reason: reason, Accepted: it.Created, Trace: body.Trace, Body: raw}
}

// Revive sends a dead letter's message again, to its queue or, where to is not
// empty, to another of the app.
func (d *Driver) Revive(ctx context.Context, letter *event.DeadLetter, to string) error {
	var body deadBody
	if err := json.Unmarshal(letter.Body, &body); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "redrive", "dead letter %s is not a message: %w", letter.ID, err)
	}
	if to == "" {
		to = strings.TrimPrefix(letter.Source, "queue/")
	}
	// The letter's id deduplicates a redrive that is repeated after a crash.
	_, err := d.Send(ctx, letter.App, to, &mayfly.Message{
		Body: body.Body, Key: body.Key, DedupID: "redrive." + letter.ID, Attributes: body.Attributes, Trace: body.Trace,
	})
	return err
}

// SetPaused stops or resumes deliveries of a queue, also through restarts.
func (d *Driver) SetPaused(ctx context.Context, app mayfly.AppName, name string, paused bool) error {
	if _, err := d.spec(app, name); err != nil {
		return err
	}
	lane := laneName(app, name)
	if d.cfg.Paused != nil {
		key := "paused.queue." + string(app) + "." + name
		var err error
		if paused {
			_, err = d.cfg.Paused.Put(ctx, key, []byte("paused"), 0)
		} else {
			err = d.cfg.Paused.Delete(ctx, key, 0)
		}
		if code := mayfly.CodeOf(err); err != nil && code != mayfly.Conflict && code != mayfly.NotFound {
			return err
		}
	}
	d.cfg.Store.Lane(lane).SetPaused(paused)
	return nil
}

// restore pauses what was paused before the restart.
func (d *Driver) restore(ctx context.Context) error {
	if d.cfg.Paused == nil {
		return nil
	}
	keys, err := d.cfg.Paused.Keys(ctx, "paused.queue.")
	if err != nil {
		return err
	}
	for _, key := range keys {
		app, name, _ := strings.Cut(strings.TrimPrefix(key, "paused.queue."), ".")
		d.cfg.Store.Lane(laneName(mayfly.AppName(app), name)).SetPaused(true)
	}
	return nil
}

// receipt names a lease for a receiver that answers in another request.
func receipt(le *event.Lease) string { return le.ID + "." + strconv.FormatUint(le.Token(), 36) }

// held is the open lease of a receipt.
func (d *Driver) held(ctx context.Context, app mayfly.AppName, name, receipt string) (*event.Lease, error) {
	id, token, ok := strings.Cut(receipt, ".")
	n, err := strconv.ParseUint(token, 36, 64)
	if !ok || err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "queue "+name, "%q is not a receipt; it is what receive answered", receipt)
	}
	return d.cfg.Store.Lane(laneName(app, name)).Held(ctx, id, n)
}
