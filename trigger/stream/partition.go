package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/event/pattern"
	"github.com/mayfly-cloud/mayfly/schedule"
	"github.com/mayfly-cloud/mayfly/trigger"
)

const (
	noteEvery  = 200 * time.Millisecond // a checkpoint, while events are dealt with
	passEvery  = 30 * time.Second       // a checkpoint, while events of others pass
	idle       = time.Hour
	retryAfter = time.Second
	waitMost   = 5 * time.Second // between tries of a function without capacity
)

// keyed is an event with the key that it is ordered by.
type keyed struct {
	event *event.Published
	key   string
}

// partition consumes one partition, one batch after the other. It is used by
// one goroutine, but for what it shows.
type partition struct {
	consumer *consumer
	index    int
	key      string // of its checkpoint

	at     event.Position // all before it is dealt with
	window *tumbling      // nil: none is open
	rev    uint64         // of the checkpoint
	noted  time.Time
	dirty  bool // there is something to note
	owed   bool // and soon: events were dealt with

	mu    sync.Mutex
	shown shown // guarded by mu
}

// tumbling is an open window.
type tumbling struct {
	Start time.Time       `json:"start"`
	State json.RawMessage `json:"state,omitempty"`
}

// checkpoint is how far a partition is.
type checkpoint struct {
	At     string    `json:"at"`
	Window *tumbling `json:"window,omitempty"`
}

// run consumes until ctx ends.
func (p *partition) run(ctx, working context.Context) {
	d := p.consumer.driver
	for opened := false; ctx.Err() == nil; {
		var err error
		if !opened {
			err = p.open(ctx)
			opened = err == nil
		}
		if err == nil {
			err = p.round(ctx, working)
		}
		if err != nil && ctx.Err() == nil {
			d.cfg.Logger.Error("a stream cannot go on; it will soon", "binding", p.consumer.binding.String(), "partition", p.index, "error", err)
			opened = opened && mayfly.CodeOf(err) != mayfly.Conflict // another node noted a checkpoint
			sleep(ctx, retryAfter)
		}
	}
	if err := p.note(context.WithoutCancel(ctx)); err != nil {
		d.cfg.Logger.Warn("a checkpoint cannot be noted", "binding", p.consumer.binding.String(), "error", err)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// open reads the checkpoint, which the consumer has made.
func (p *partition) open(ctx context.Context) error {
	value, rev, err := p.consumer.driver.cfg.Records.Get(ctx, p.key)
	if err != nil {
		return err
	}
	var c checkpoint
	if err := json.Unmarshal(value, &c); err != nil {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	at, ok := event.ParsePosition(c.At)
	if !ok {
		return mayfly.Errorf(mayfly.Internal, "read checkpoint", "%q is no position", c.At)
	}
	p.at, p.rev, p.window = at, rev, c.Window
	p.show(func(*shown) {})
	return nil
}

// start is where a consumer without a checkpoint begins.
func (c *consumer) start(ctx context.Context) (event.Position, error) {
	switch s := c.binding.Trigger.Start; s {
	case "", "latest":
		return c.driver.cfg.Journal.End(), nil
	case "oldest":
		return event.Position{Seq: 1}, nil
	default:
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return event.Position{}, mayfly.Errorf(mayfly.Invalid, "start stream", "%q is not a time", s)
		}
		return c.driver.cfg.Journal.Find(ctx, at)
	}
}

// note writes the checkpoint, where it changed.
func (p *partition) note(ctx context.Context) error {
	if !p.dirty {
		return nil
	}
	value, err := json.Marshal(checkpoint{p.at.String(), p.window})
	if err != nil {
		return err
	}
	rev, err := p.consumer.driver.cfg.Records.Put(ctx, p.key, value, p.rev)
	if err != nil {
		return err
	}
	p.rev, p.noted, p.dirty, p.owed = rev, time.Now(), false, false
	return nil
}

// reached sets how far the partition is, and notes it now and then: seldom
// where it has only seen events of others.
func (p *partition) reached(ctx context.Context, at event.Position, mine bool) error {
	p.owed = p.owed || mine
	p.dirty = p.dirty || at != p.at
	p.at = at
	since := time.Since(p.noted)
	if p.owed && since >= noteEvery || since >= passEvery {
		return p.note(ctx)
	}
	return nil
}

// round gathers one batch and deals with it.
func (p *partition) round(ctx, working context.Context) error {
	if err := p.closeWindow(working, time.Now(), false); err != nil {
		return err
	}
	batch, next, err := p.gather(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	mine := len(batch) > 0
	for len(batch) > 0 {
		p.show(func(s *shown) { s.first = batch[0].event.Time })
		part := batch
		if p.tumbles() > 0 {
			if part, err = p.sameWindow(working, batch); err != nil {
				return err
			}
		}
		if err := p.process(ctx, working, part, 1); err != nil {
			return err
		}
		batch = batch[len(part):]
	}
	err = p.reached(working, next, mine)
	p.show(func(s *shown) { *s = shown{} })
	return err
}

// gather collects events until the batch is full, or its window is over, or
// nothing more comes. next is the position after all that was looked at.
func (p *partition) gather(ctx context.Context) (batch []keyed, next event.Position, err error) {
	t := &p.consumer.binding.Trigger
	size, next := max(1, t.Batch), p.at
	wait := idle
	if p.owed || p.window != nil { // there is something to do where nothing comes
		wait = noteEvery
	}
	var until time.Time
	for len(batch) < size {
		if len(batch) > 0 {
			if until.IsZero() {
				until = time.Now().Add(t.Window.D())
			}
			wait = time.Until(until)
		}
		waiting, cancel := context.WithTimeout(ctx, max(wait, 0))
		if len(batch) > 0 && wait <= 0 && !next.Before(p.consumer.driver.cfg.Journal.End()) {
			cancel()
			break
		}
		if wait <= 0 { // what is there already is taken without waiting
			cancel()
			waiting, cancel = context.WithTimeout(ctx, time.Minute)
		}
		events, after, err := p.consumer.driver.cfg.Journal.Next(waiting, next)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return nil, next, err
		}
		for i, e := range events {
			if len(batch) == size {
				return batch, events[i].At, nil
			}
			if key, ok := p.mine(e); ok {
				batch = append(batch, keyed{e, key})
			}
		}
		if next = after; len(batch) == 0 { // only events of others passed
			if err := p.reached(ctx, next, false); err != nil {
				return nil, next, err
			}
			p.show(func(*shown) {})
		}
	}
	return batch, next, nil
}

// mine reports whether an event is of this partition, and its key.
func (p *partition) mine(e *event.Published) (key string, ok bool) {
	c := p.consumer
	if e.App != c.binding.App || e.Topic != c.binding.Trigger.Stream {
		return "", false
	}
	if c.match != nil && !c.match.MatchJSON(e.Body) {
		return "", false
	}
	key = c.keyOf(e)
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return key, int(h.Sum32()%uint32(c.partitions())) == p.index
}

// keyOf is the text of the field that the topic is partitioned by; an event
// without it has its id.
func (c *consumer) keyOf(e *event.Published) string {
	v, err := pattern.Event(e.Body)
	if err != nil {
		return ""
	}
	root, _ := v.(map[string]any)
	id, _ := root["id"].(string)
	for part := range strings.SplitSeq(c.by, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return id
		}
		v = object[part]
	}
	switch v := v.(type) {
	case nil:
		return id
	case string:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return id
	}
	return string(text)
}

// process deals with a batch: done, or dead. It returns an error only where
// neither can be said; the batch then comes again.
func (p *partition) process(ctx, working context.Context, batch []keyed, attempt int) error {
	t := &p.consumer.binding.Trigger
	attempts := t.Attempts
	if attempts == 0 {
		attempts = defaultAttempts
	}
	backoff := schedule.DefaultBackoff
	var history []event.Attempt
	wait := 20 * time.Millisecond
	for ; len(batch) > 0; attempt++ {
		state, done, err := p.call(working, batch, p.stateOf(), attempt)
		if err == nil {
			p.setState(state)
			if done == len(batch) {
				return nil
			}
			if done > 0 { // what is left is a batch of its own
				if err := p.reached(working, batch[done].event.At, true); err != nil {
					return err
				}
				batch, attempt, history = batch[done:], 0, nil
			}
			err = errors.New("the function reported the event in batchItemFailures")
		} else if trigger.Judge(err) == trigger.Wait || working.Err() != nil {
			sleep(ctx, wait)
			if wait = min(2*wait, waitMost); ctx.Err() != nil {
				return ctx.Err()
			}
			attempt--
			continue
		}
		history = append(history, event.Attempt{At: time.Now(), Error: mayfly.MessageOf(orPlain(err))})
		p.show(func(s *shown) {
			s.first, s.failing, s.problem = batch[0].event.Time, attempt, history[len(history)-1].Error
		})
		switch {
		case t.Bisect && len(batch) > 1:
			half := len(batch) / 2
			if err := p.process(ctx, working, batch[:half], 1); err != nil {
				return err
			}
			if err := p.reached(working, batch[half].event.At, true); err != nil {
				return err
			}
			return p.process(ctx, working, batch[half:], 1)
		case attempt >= attempts || trigger.Judge(err) == trigger.Reject:
			return p.bury(working, batch, history)
		}
		seed := schedule.Seed(sequence(batch[0].event.At))
		sleep(ctx, backoff.Delay(max(attempt, 1), seed))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// orPlain makes an error that is not ours one that people may read.
func orPlain(err error) error {
	var e *mayfly.Error
	var f *mayfly.FunctionError
	if errors.As(err, &e) || errors.As(err, &f) {
		return err
	}
	return mayfly.Errorf(mayfly.FunctionFailed, "", "%v", err)
}

// call calls the function and returns its state and how many are done.
func (p *partition) call(ctx context.Context, batch []keyed, w *tumbling, attempt int) (state json.RawMessage, done int, err error) {
	c := p.consumer
	cfg := &c.driver.cfg
	e := Event{Records: make([]Record, 0, len(batch))}
	call := &trigger.Call{
		ID: mayfly.NewID(), App: c.binding.App, Function: c.binding.Function, Trigger: mayfly.TriggerStream, Route: c.binding.Trigger.Stream, Attempt: max(attempt, 1),
		Caller: mayfly.Caller{Kind: mayfly.CallerPlatform, Name: "stream " + c.binding.Trigger.Stream}, Trace: mayfly.NewTrace(),
	}
	if len(batch) > 0 {
		call.Source, call.Sent = "topic/"+c.binding.Trigger.Stream, batch[0].event.Time
	}
	for i, k := range batch {
		e.Records = append(e.Records, record(k.event, k.key, cfg.Region, p.index))
		call.Hops = max(call.Hops, k.event.Hops)
		trace, ok := mayfly.ParseTrace(k.event.Trace, "")
		switch {
		case ok && i == 0:
			call.Trace = trace.Child()
		case ok:
			call.Causes = append(call.Causes, trace)
		}
	}
	if w != nil {
		p.describe(&e, w, len(batch) == 0)
	}
	if call.Event, err = json.Marshal(e); err != nil {
		return nil, 0, err
	}
	payload, err := cfg.Invoker.Call(ctx, call)
	if err != nil {
		return nil, 0, err
	}
	state, done = readReply(payload, batch)
	return state, done, nil
}

// bury makes a batch dead letters, so that the partition can go on.
func (p *partition) bury(ctx context.Context, batch []keyed, history []event.Attempt) error {
	c := p.consumer
	if len(history) > 10 {
		history = history[len(history)-10:]
	}
	for _, k := range batch {
		body, err := json.Marshal(deadBody{place(&c.binding), k.event.Topic, k.event.Body})
		if err != nil {
			return err
		}
		trace, _ := mayfly.ParseTrace(k.event.Trace, "")
		if err := c.driver.cfg.Dead.Add(ctx, &event.DeadLetter{
			Item: k.event.At.String(), App: c.binding.App, Source: "stream/" + k.event.Topic, Function: c.binding.Function, Reason: event.DeadAttempts,
			Attempts: len(history), History: history, Accepted: k.event.Time, Trace: trace, Body: body,
		}); err != nil {
			return err
		}
	}
	return nil
}
