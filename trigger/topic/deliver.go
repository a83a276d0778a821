package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/event/pattern"
	"github.com/mayfly-cloud/mayfly/schedule"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// stored is an event on its way to a subscription, as its lane keeps it.
type stored struct {
	Topic string          `json:"topic"`
	Trace string          `json:"trace,omitempty"`
	Hops  int             `json:"hops,omitempty"`
	Event json.RawMessage `json:"event"`
}

func functionLane(b *trigger.Binding) string { return string(b.App) + "/" + b.Key() }

func hookLane(app mayfly.AppName, name string) string { return string(app) + "/webhook:" + name }

// Apply makes the subscriptions those of the bindings and of the apps' outgoing
// webhooks, and notes new versions of schemas.
func (d *Driver) Apply(ctx context.Context, all []trigger.Binding) error {
	wanted := map[string]func(s *subscription) error{}
	for _, b := range all {
		wanted[functionLane(&b)] = func(s *subscription) error { return s.setFunction(&b) }
	}
	for _, m := range d.cfg.Apps.Manifests() {
		for name, w := range m.Webhooks {
			wanted[hookLane(m.App, name)] = func(s *subscription) error { return s.setHook(ctx, m.App, name, w) }
		}
	}
	d.mu.Lock()
	var errs []error
	for lane, set := range wanted {
		s := d.subs[lane]
		if s == nil {
			s = d.subscription(lane)
		}
		if err := set(s); err != nil {
			errs = append(errs, fmt.Errorf("subscription %s: %w", lane, err))
			continue
		}
		if s.member == nil {
			s.member = d.crew.Join(s.worker.Run)
		}
		d.subs[lane] = s
	}
	for lane, s := range d.subs {
		if wanted[lane] == nil {
			s.member.Leave()
			delete(d.subs, lane)
		}
	}
	d.mu.Unlock()
	return errors.Join(append(errs, d.noteSchemas(ctx))...)
}

func (d *Driver) subscription(lane string) *subscription {
	s := &subscription{driver: d, lane: lane}
	s.worker = event.NewWorker(event.WorkerConfig{
		Lane: d.cfg.Store.Lane(lane), By: "subscription " + lane, Settings: s.settings, Handle: s.handle, Logger: d.cfg.Logger,
	})
	return s
}

func (s *subscription) setFunction(b *trigger.Binding) error {
	match, err := compileMatch(b.Trigger.Match)
	if err != nil {
		return err
	}
	shape, err := compileTransform(b.Trigger.Transform)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.app, s.topic, s.match, s.shape, s.binding = b.App, b.Trigger.Topic, match, shape, b
	return nil
}

func compileMatch(text json.RawMessage) (*pattern.Pattern, error) {
	if len(text) == 0 {
		return nil, nil
	}
	return pattern.Compile(text)
}

func (s *subscription) settings() event.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hook != nil {
		return event.Settings{Max: hookCalls}
	}
	return event.Settings{Batch: max(1, s.binding.Trigger.Batch), Max: s.binding.Spec.Concurrency.Calls()}
}

// wants reports whether a subscription takes an event, which decode decodes.
func (s *subscription) wants(e *event.Published, decode func() any) bool {
	s.mu.Lock()
	app, topic, match := s.app, s.topic, s.match
	s.mu.Unlock()
	return app == e.App && matches(topic, e.Topic) && (match == nil || match.Match(decode()))
}

// Run dispatches and delivers until ctx ends. Calls that run then have
// Config.Drain to end. The store and the journal should run until Run has
// returned.
func (d *Driver) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { d.dispatch(ctx) })
	loops.Go(func() { d.tidy(ctx) })
	d.crew.Run(ctx)
	loops.Wait()
	d.client.CloseIdleConnections()
	return nil
}

const (
	cursorKey  = "topics.dispatched"
	noteEvery  = 200 * time.Millisecond
	retryAfter = time.Second
)

// cursor is how far the dispatcher is.
type cursor struct {
	at    event.Position
	noted event.Position
	rev   uint64
	last  time.Time
}

func (d *Driver) readCursor(ctx context.Context) (*cursor, error) {
	c := &cursor{}
	value, rev, err := d.cfg.Records.Get(ctx, cursorKey)
	switch {
	case mayfly.CodeOf(err) == mayfly.NotFound:
		c.at = event.Position{Seq: 1} // of a new node: all that was published since
		return c, nil
	case err != nil:
		return nil, err
	}
	at, ok := event.ParsePosition(string(value))
	if !ok {
		return nil, mayfly.Errorf(mayfly.Internal, "dispatch events", "the noted position %q cannot be read", value)
	}
	c.at, c.noted, c.rev = at, at, rev
	return c, nil
}

func (c *cursor) note(ctx context.Context, r Records) error {
	if c.at == c.noted {
		return nil
	}
	rev, err := r.Put(ctx, cursorKey, []byte(c.at.String()), c.rev)
	if err == nil {
		c.noted, c.rev, c.last = c.at, rev, time.Now()
	}
	return err
}

// dispatch puts each event of the journal into the lanes of those who want it.
func (d *Driver) dispatch(ctx context.Context) {
	var c *cursor
	for ctx.Err() == nil {
		err := error(nil)
		if c == nil {
			c, err = d.readCursor(ctx)
		}
		if err == nil {
			err = d.dispatchSome(ctx, c)
		}
		if err != nil && ctx.Err() == nil {
			d.cfg.Logger.Error("events cannot be dispatched; they will be soon", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
			if mayfly.CodeOf(err) == mayfly.Conflict { // another node noted a position
				c = nil
			}
		}
	}
	if c != nil {
		if err := c.note(context.WithoutCancel(ctx), d.cfg.Records); err != nil {
			d.cfg.Logger.Warn("the position of the dispatcher cannot be noted", "error", err)
		}
	}
}

func (d *Driver) dispatchSome(ctx context.Context, c *cursor) error {
	waiting, cancel := context.WithTimeout(ctx, noteEvery)
	events, next, err := d.cfg.Journal.Next(waiting, c.at)
	cancel()
	if waiting.Err() != nil && err != nil { // nothing came
		return c.note(ctx, d.cfg.Records)
	}
	if err != nil {
		return err
	}
	if err := d.fanOut(ctx, events, nil); err != nil {
		return err
	}
	c.at = next
	if time.Since(c.last) > noteEvery {
		return c.note(ctx, d.cfg.Records)
	}
	return nil
}

// fanOut puts events into the lanes of the subscriptions that want them, or of
// one of them alone.
func (d *Driver) fanOut(ctx context.Context, events []*event.Published, only *subscription) error {
	d.mu.Lock()
	subs := make([]*subscription, 0, len(d.subs))
	for _, s := range d.subs {
		if only == nil || s == only {
			subs = append(subs, s)
		}
	}
	d.mu.Unlock()
	items := map[string][]*event.Item{}
	for _, e := range events {
		decoded := sync.OnceValue(func() any { v, _ := pattern.Event(e.Body); return v })
		var body []byte
		for _, s := range subs {
			if !s.wants(e, decoded) {
				continue
			}
			if body == nil {
				body, _ = json.Marshal(stored{e.Topic, e.Trace, e.Hops, e.Body})
			}
			items[s.lane] = append(items[s.lane], &event.Item{Body: body, Created: e.Time})
		}
	}
	var group errgroup.Group
	group.SetLimit(64)
	for lane, list := range items {
		group.Go(func() error { return d.putAll(ctx, lane, list) })
	}
	return group.Wait()
}

// putAll puts items in parts that the store takes at once.
func (d *Driver) putAll(ctx context.Context, lane string, items []*event.Item) error {
	for len(items) > 0 {
		n, bytes := 0, 0
		for n < len(items) && n < 500 && (n == 0 || bytes+len(items[n].Body) < 400<<10) {
			bytes += len(items[n].Body)
			n++
		}
		if err := d.cfg.Store.Lane(lane).Put(ctx, items[:n]...); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

func (d *Driver) put(ctx context.Context, lane string, s *stored, id string) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return d.cfg.Store.Lane(lane).Put(ctx, &event.Item{Body: body, Dedup: id, Window: time.Minute})
}

// handle delivers a batch and settles each event.
func (s *subscription) handle(ctx context.Context, leases []*event.Lease) (throttled bool) {
	s.mu.Lock()
	binding, h, shape := s.binding, s.hook, s.shape
	s.mu.Unlock()
	if h != nil {
		return s.driver.deliverHook(ctx, h, leases[0])
	}
	attempts := binding.Trigger.Attempts
	if attempts == 0 {
		attempts = defaultAttempts
	}
	return s.deliver(ctx, binding, shape, attempts, leases)
}

func (s *subscription) deliver(ctx context.Context, b *trigger.Binding, shape *transform, attempts int, leases []*event.Lease) (throttled bool) {
	d := s.driver
	var living []*event.Lease
	for _, le := range leases {
		if le.Attempt > attempts { // an attempt was cut short by a lease that ended
			d.die(ctx, s.lane, le, event.DeadAttempts, le.History)
		} else {
			living = append(living, le)
		}
	}
	if len(living) == 0 {
		return false
	}
	call, byID, err := s.call(b, shape, living)
	var payload []byte
	if err == nil {
		payload, err = d.cfg.Invoker.Call(ctx, call)
	}
	switch {
	case err == nil:
		for _, le := range d.reported(payload, byID, living) {
			d.fail(ctx, s.lane, le, attempts, "the function reported the event in batchItemFailures", call.ID, "")
		}
		for _, le := range living {
			le.Done() // but for those that failed, whose lease has ended
		}
	case ctx.Err() != nil || trigger.Judge(err) == trigger.Wait:
		for _, le := range living {
			le.Release(time.Time{})
		}
		return ctx.Err() == nil
	default:
		for _, le := range living {
			d.fail(ctx, s.lane, le, attempts, mayfly.MessageOf(err), call.ID, "")
		}
	}
	return false
}

// call makes the call for a batch: the event as it is, or a list of them where
// the trigger wants batches.
func (s *subscription) call(b *trigger.Binding, shape *transform, leases []*event.Lease) (*trigger.Call, map[string]*event.Lease, error) {
	call := &trigger.Call{
		ID: mayfly.NewID(), App: b.App, Function: b.Function, Trigger: mayfly.TriggerTopic, Attempt: 1,
		Caller: mayfly.Caller{Kind: mayfly.CallerPlatform, Name: "topic " + b.Trigger.Topic}, Sent: leases[0].Since(),
	}
	byID := map[string]*event.Lease{}
	events := make([]json.RawMessage, len(leases))
	for i, le := range leases {
		var st stored
		_ = json.Unmarshal(le.Body, &st) // what the dispatcher wrote
		var id struct{ ID string }
		_ = json.Unmarshal(st.Event, &id)
		byID[id.ID] = le
		if i == 0 {
			trace, _ := mayfly.ParseTrace(st.Trace, "")
			call.Trace, call.Route, call.Source = trace.Child(), st.Topic, "topic/"+st.Topic
		} else if trace, ok := mayfly.ParseTrace(st.Trace, ""); ok {
			call.Causes = append(call.Causes, trace)
		}
		call.Hops, call.Attempt = max(call.Hops, st.Hops), max(call.Attempt, le.Attempt)
		events[i] = st.Event
		if shape == nil {
			continue
		}
		v, err := pattern.Event(st.Event)
		if err != nil {
			return nil, nil, err
		}
		if events[i], err = shape.apply(v); err != nil {
			return nil, nil, err
		}
	}
	call.Event = events[0]
	if b.Trigger.Batch > 1 {
		call.Event, _ = json.Marshal(events)
	}
	return call, byID, nil
}

// reported are the leases of the events that a reply's batchItemFailures names
// by id; all of them where it names another.
func (d *Driver) reported(payload []byte, byID map[string]*event.Lease, all []*event.Lease) []*event.Lease {
	var reply struct {
		Failures []struct {
			ID string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if len(payload) == 0 || json.Unmarshal(payload, &reply) != nil {
		return nil
	}
	var out []*event.Lease
	for _, f := range reply.Failures {
		le := byID[f.ID]
		if le == nil {
			return all
		}
		out = append(out, le)
	}
	return out
}

// fail counts an attempt; the last one makes a dead letter.
func (d *Driver) fail(ctx context.Context, lane string, le *event.Lease, attempts int, reason, invocation, backoff string) {
	last := event.Attempt{At: time.Now(), Error: reason, Invocation: invocation}
	if le.Attempt >= attempts {
		d.die(ctx, lane, le, event.DeadAttempts, append(le.History[:len(le.History):len(le.History)], last))
		return
	}
	b, err := schedule.ParseBackoff(backoff)
	if err != nil {
		b = schedule.DefaultBackoff
	}
	le.Fail(time.Now().Add(b.Delay(le.Attempt, schedule.Seed(le.ID))), last)
}

// die writes the dead letter and finishes the event then.
func (d *Driver) die(ctx context.Context, lane string, le *event.Lease, reason string, history []event.Attempt) {
	var st stored
	_ = json.Unmarshal(le.Body, &st)
	app, _, _ := cutLane(lane)
	letter := d.letter(&event.Published{App: app, Topic: st.Topic, Time: le.Created, Trace: st.Trace, Body: st.Event}, lane, reason)
	letter.Item, letter.Attempts, letter.History = le.ID, max(len(history), le.Attempt), history
	if s := d.find(lane); s != nil && s.binding != nil {
		letter.Function = s.binding.Function
	}
	if err := d.cfg.Dead.Add(ctx, letter); err != nil {
		d.cfg.Logger.Error("a dead letter cannot be written; the event comes again", "subscription", lane, "error", err)
		le.Release(time.Now().Add(time.Second))
		return
	}
	le.Done()
}

func (d *Driver) find(lane string) *subscription {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.subs[lane]
}
