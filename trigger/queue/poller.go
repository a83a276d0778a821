package queue

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/schedule"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// poller is one function that receives from one queue.
type poller struct {
	driver *Driver
	queue  *queue
	worker *event.Worker
	member *trigger.Member

	mu      sync.Mutex
	binding trigger.Binding // guarded by mu; replaced by each deploy
}

// Apply makes the pollers those of the bindings. New ones start when Run runs.
func (d *Driver) Apply(ctx context.Context, all []trigger.Binding) error {
	d.mu.Lock()
	first := !d.resumed
	d.resumed = true
	d.mu.Unlock()
	if first {
		if err := d.restore(ctx); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	wanted := map[string]bool{}
	for _, b := range all {
		key := string(b.App) + "/" + b.Key() + "/" + b.Trigger.Queue
		wanted[key] = true
		if p := d.pollers[key]; p != nil {
			p.set(b)
		} else {
			d.pollers[key] = d.poller(b)
		}
	}
	for key, p := range d.pollers {
		if !wanted[key] {
			p.member.Leave()
			delete(d.pollers, key)
		}
	}
	for _, q := range d.queues {
		if spec, err := d.spec(q.app, q.name); err == nil {
			q.gate.SetLimit(spec.Concurrency)
		}
	}
	return nil
}

func (d *Driver) poller(b trigger.Binding) *poller {
	lane := laneName(b.App, b.Trigger.Queue)
	q := d.queues[lane]
	if q == nil {
		q = &queue{app: b.App, name: b.Trigger.Queue}
		q.gate.SetLimit(withDefaults(b.Manifest.Queues[q.name]).Concurrency)
		d.queues[lane] = q
	}
	p := &poller{driver: d, queue: q, binding: b}
	p.worker = event.NewWorker(event.WorkerConfig{
		Lane: d.cfg.Store.Lane(lane), By: "function " + string(b.Function), Settings: p.settings, Gate: &q.gate, Handle: p.handle, Logger: d.cfg.Logger,
	})
	p.member = d.crew.Join(p.worker.Run)
	return p
}

// Run receives for the functions until ctx ends. Calls that run then have
// Config.Drain to end. The store should run until Run has returned.
func (d *Driver) Run(ctx context.Context) error {
	var sweeper sync.WaitGroup
	sweeper.Go(func() { d.sweep(ctx) })
	d.crew.Run(ctx)
	sweeper.Wait()
	return nil
}

func (p *poller) set(b trigger.Binding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.binding = b
}

func (p *poller) get() trigger.Binding {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.binding
}

func (p *poller) spec() mayfly.Queue {
	b := p.get()
	return withDefaults(b.Manifest.Queues[b.Trigger.Queue])
}

func (p *poller) settings() event.Settings {
	b := p.get()
	spec := withDefaults(b.Manifest.Queues[b.Trigger.Queue])
	return event.Settings{Batch: max(1, b.Trigger.Batch), Window: b.Trigger.Window.D(), Visibility: spec.Visibility.D(), Max: mostCalls(&b)}
}

// mostCalls is how many calls of its function a binding makes at once: what the
// trigger says, and no more than the function can run. What waits for it waits
// in the queue, where it can be seen and is not leased.
func mostCalls(b *trigger.Binding) int {
	most := b.Spec.Concurrency.Calls()
	if b.Trigger.MaxCalls > 0 {
		most = min(most, b.Trigger.MaxCalls)
	}
	return most
}

// handle calls the function with a batch and settles each message.
func (p *poller) handle(ctx context.Context, leases []*event.Lease) (throttled bool) {
	b, spec := p.get(), p.spec()
	leases = p.living(ctx, leases, &spec)
	if len(leases) == 0 {
		return false
	}
	call, ids := p.call(&b, leases)
	payload, err := p.driver.cfg.Invoker.Call(ctx, call)
	switch {
	case err == nil:
	case ctx.Err() != nil || trigger.Judge(err) == trigger.Wait:
		for _, le := range leases {
			le.Release(time.Time{})
		}
		return ctx.Err() == nil
	default:
		p.fail(ctx, leases, &spec, mayfly.MessageOf(err), call.ID)
		return false
	}
	failed, whole := failures(payload, ids)
	for _, le := range leases {
		switch {
		case whole:
			p.fail(ctx, []*event.Lease{le}, &spec, "the reply's batchItemFailures names a message that is not in the batch", call.ID)
		case failed[le.ID]:
			p.fail(ctx, []*event.Lease{le}, &spec, "the function reported the message in batchItemFailures", call.ID)
		default:
			le.Done()
		}
	}
	return false
}

// living gives up the messages that are too old or were tried often enough, and
// returns the others.
func (p *poller) living(ctx context.Context, leases []*event.Lease, spec *mayfly.Queue) []*event.Lease {
	var out []*event.Lease
	for _, le := range leases {
		switch {
		case expired(&le.Item, spec, time.Now()):
			p.driver.die(ctx, p.queue, le, spec, event.DeadExpired, le.History)
		case le.Attempt > spec.Attempts: // an attempt was cut short by a lease that ended
			p.driver.die(ctx, p.queue, le, spec, event.DeadAttempts, le.History)
		default:
			out = append(out, le)
		}
	}
	return out
}

func (p *poller) call(b *trigger.Binding, leases []*event.Lease) (*trigger.Call, map[string]bool) {
	region := p.driver.cfg.Region
	arn := ARN(region, p.queue.app, p.queue.name)
	ids := make(map[string]bool, len(leases))
	call := &trigger.Call{
		ID: mayfly.NewID(), App: b.App, Function: b.Function, Trigger: mayfly.TriggerQueue, Attempt: 1,
		Caller: mayfly.Caller{Kind: mayfly.CallerPlatform, Name: "queue " + p.queue.name},
		Source: "queue/" + p.queue.name, Sent: leases[0].Since(),
	}
	ev := Event{Records: make([]Record, 0, len(leases))}
	for i, le := range leases {
		var m stored
		_ = json.Unmarshal(le.Body, &m) // what Send wrote
		if i == 0 {
			call.Trace = m.Trace.Child()
		} else if m.Trace.ID != "" {
			call.Causes = append(call.Causes, m.Trace)
		}
		call.Hops, call.Attempt = max(call.Hops, m.Hops), max(call.Attempt, le.Attempt)
		ids[le.ID] = true
		ev.Records = append(ev.Records, record(le, &m, region, arn))
	}
	call.Event, _ = json.Marshal(ev)
	return call, ids
}

// fail counts an attempt of each message, and gives up those that had enough.
func (p *poller) fail(ctx context.Context, leases []*event.Lease, spec *mayfly.Queue, reason, invocation string) {
	for _, le := range leases {
		p.driver.fail(ctx, p.queue, le, spec, event.Attempt{At: time.Now(), Error: reason, Invocation: invocation})
	}
}

func (d *Driver) fail(ctx context.Context, q *queue, le *event.Lease, spec *mayfly.Queue, last event.Attempt) {
	if le.Attempt >= spec.Attempts {
		d.die(ctx, q, le, spec, event.DeadAttempts, append(le.History[:len(le.History):len(le.History)], last))
		return
	}
	backoff, err := schedule.ParseBackoff(spec.Backoff)
	if err != nil {
		backoff = schedule.DefaultBackoff
	}
	le.Fail(time.Now().Add(backoff.Delay(le.Attempt, schedule.Seed(le.ID))), last)
}

// die gives up a leased message and finishes it. One that cannot be buried now
// comes again.
func (d *Driver) die(ctx context.Context, q *queue, le *event.Lease, spec *mayfly.Queue, reason string, history []event.Attempt) {
	letter := d.letter(q.app, q.name, &le.Item, reason)
	letter.Attempts, letter.History = len(history), history
	if le.Attempt > letter.Attempts {
		letter.Attempts = le.Attempt
	}
	if reason == event.DeadExpired {
		letter.Attempts, letter.Error = le.Attempt-1, tooOld(spec)
	}
	if err := d.bury(ctx, q, &le.Item, spec, letter); err != nil {
		d.cfg.Logger.Error("a dead letter cannot be written; the message comes again", "queue", q.name, "message", le.ID, "error", err)
		le.Release(time.Now().Add(time.Second))
		return
	}
	le.Done()
}

// bury writes the dead letter of a message, then sends the message to the queue
// for dead ones where there is one. The message is finished after it, so that it
// is never nowhere.
func (d *Driver) bury(ctx context.Context, q *queue, it *event.Item, spec *mayfly.Queue, letter *event.DeadLetter) error {
	if err := d.cfg.Dead.Add(ctx, letter); err != nil || spec.DeadLetter == "" {
		return err
	}
	var m stored
	_ = json.Unmarshal(it.Body, &m)
	_, err := d.Send(ctx, q.app, spec.DeadLetter, &mayfly.Message{
		Body: m.Body, Key: it.Key, DedupID: "dead." + it.ID, Trace: m.Trace, Hops: m.Hops,
		Attributes: with(m.Attributes, "DeadLetterQueueSourceArn", ARN(d.cfg.Region, q.app, q.name)),
	})
	if err != nil && trigger.Judge(err) == trigger.Reject {
		d.cfg.Logger.Warn("a dead message cannot go to the queue for dead ones; it is a dead letter", "queue", q.name, "to", spec.DeadLetter, "error", err)
		return nil
	}
	return err
}

func with(attributes map[string]string, name, value string) map[string]string {
	out := map[string]string{name: value}
	for k, v := range attributes {
		out[k] = v
	}
	return out
}
