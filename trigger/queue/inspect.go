package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
)

// Info is the state of a queue.
type Info struct {
	App         mayfly.AppName `json:"app"`
	Name        string         `json:"name"`
	Messages    int            `json:"messages" doc:"Not finished"`
	Ready       int            `json:"ready" doc:"Could be received now"`
	Running     int            `json:"running" doc:"A receiver has them"`
	Delayed     int            `json:"delayed" doc:"Sent for later, or waiting for the next attempt"`
	Blocked     int            `json:"blocked" doc:"Behind another message of their key"`
	Failing     int            `json:"failing" doc:"Of all, those that failed at least once"`
	Dead        int            `json:"dead" doc:"Dead letters"`
	Paused      bool           `json:"paused"`
	OldestAge   string         `json:"oldest_age,omitempty" doc:"Of the oldest message that is not finished"`
	Consumers   []Consumer     `json:"consumers"`
	Concurrency int            `json:"concurrency,omitempty" doc:"Calls at once for the whole queue; absent: no bound"`
	Attempts    int            `json:"attempts"`
	Visibility  string         `json:"visibility"`
	OrderBy     string         `json:"order_by,omitempty"`
}

// Consumer is a function that receives from a queue.
type Consumer struct {
	Function  mayfly.FunctionName `json:"function"`
	Batch     int                 `json:"batch"`
	Calls     int                 `json:"calls" doc:"In flight"`
	Limit     int                 `json:"limit" doc:"How many calls it would make at once, as it learnt from the function"`
	Throttled bool                `json:"throttled,omitempty" doc:"The function had no capacity; the next try is soon"`
}

// Info describes a declared queue.
func (d *Driver) Info(app mayfly.AppName, name string) (*Info, error) {
	spec, err := d.spec(app, name)
	if err != nil {
		return nil, err
	}
	s := d.cfg.Store.Lane(laneName(app, name)).Stats()
	info := &Info{
		App: app, Name: name, Messages: s.Total, Ready: s.Ready, Running: s.Leased, Delayed: s.Delayed, Blocked: s.Blocked, Failing: s.Failing,
		Paused: s.Paused, Dead: d.cfg.Dead.Count(app, "queue/"+name), Consumers: d.consumers(app, name), Concurrency: spec.Concurrency,
		Attempts: spec.Attempts, Visibility: spec.Visibility.String(), OrderBy: spec.OrderBy,
	}
	if !s.Oldest.IsZero() {
		info.OldestAge = time.Since(s.Oldest).Round(time.Millisecond).String()
	}
	return info, nil
}

func (d *Driver) consumers(app mayfly.AppName, name string) []Consumer {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []Consumer{}
	for _, p := range d.pollers {
		if p.queue.app != app || p.queue.name != name {
			continue
		}
		calls, limit, until := p.worker.Load()
		b := p.get()
		out = append(out, Consumer{Function: b.Function, Batch: max(1, b.Trigger.Batch), Calls: calls, Limit: limit, Throttled: !until.IsZero()})
	}
	slices.SortFunc(out, func(a, b Consumer) int { return strings.Compare(string(a.Function), string(b.Function)) })
	return out
}

// View is a message that is not finished, and why it waits.
type View struct {
	ID         string            `json:"id"`
	State      event.State       `json:"state" enum:"ready,delayed,backoff,ordered,running,paused"`
	Why        string            `json:"why"`
	Age        string            `json:"age"`
	Sent       time.Time         `json:"sent"`
	Attempts   int               `json:"attempts" doc:"That failed"`
	Until      *time.Time        `json:"until,omitempty" doc:"When the delay, the backoff or the lease ends"`
	Key        string            `json:"key,omitempty"`
	Body       json.RawMessage   `json:"body"`
	Attributes map[string]string `json:"attributes,omitempty"`
	TraceID    string            `json:"trace_id,omitempty"`
	History    []event.Attempt   `json:"history,omitempty"`
}

// Peek describes up to n messages without receiving them.
func (d *Driver) Peek(ctx context.Context, app mayfly.AppName, name string, n int) ([]View, error) {
	if _, err := d.spec(app, name); err != nil {
		return nil, err
	}
	items, err := d.cfg.Store.Lane(laneName(app, name)).Peek(ctx, n)
	if err != nil {
		return nil, err
	}
	consumers := d.consumers(app, name)
	full := d.full(app, name)
	views := make([]View, 0, len(items))
	for _, w := range items {
		views = append(views, view(w, consumers, full))
	}
	return views, nil
}

// Find describes one message, NotFound where it is finished or was never there.
func (d *Driver) Find(ctx context.Context, app mayfly.AppName, name, id string) (*View, error) {
	if _, err := d.spec(app, name); err != nil {
		return nil, err
	}
	w, err := d.cfg.Store.Find(ctx, id)
	if err != nil || w.State == event.Finished || w.LaneName() != laneName(app, name) {
		return nil, mayfly.Errorf(mayfly.NotFound, "queue "+name, "no message %s waits here; it may have been dealt with", id)
	}
	v := view(w, d.consumers(app, name), d.full(app, name))
	return &v, nil
}

func (d *Driver) full(app mayfly.AppName, name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queues[laneName(app, name)]
	return q != nil && q.gate.Full()
}

func view(w *event.Waiting, consumers []Consumer, full bool) View {
	var m stored
	_ = json.Unmarshal(w.Body, &m)
	v := View{
		ID: w.ID, State: w.State, Age: time.Since(w.Created).Round(time.Millisecond).String(), Sent: w.Created, Attempts: w.Attempts,
		Key: w.Key, Body: m.Body, Attributes: m.Attributes, TraceID: m.Trace.ID, History: w.History, Why: why(w, consumers, full),
	}
	if w.Until.After(time.Now()) {
		v.Until = &w.Until
	}
	return v
}

// why says in words why a message is where it is.
func why(w *event.Waiting, consumers []Consumer, full bool) string {
	switch w.State {
	case event.Leased:
		return fmt.Sprintf("%s has it, attempt %d, until %s unless renewed", w.By, w.Attempts+1, w.Until.Format(time.TimeOnly))
	case event.Sleeping:
		return "sent for " + w.Until.Format(time.RFC3339)
	case event.Backoff:
		return fmt.Sprintf("failed %s, next attempt at %s; last: %s", times(w.Attempts), w.Until.Format(time.RFC3339), w.History[len(w.History)-1].Error)
	case event.Behind:
		return behind(w)
	case event.Halted:
		return "the queue is paused"
	}
	if len(consumers) == 0 {
		return "no function receives from the queue; a program may, over HTTP"
	}
	if full {
		return "no capacity: the queue's concurrency is reached"
	}
	for _, c := range consumers {
		switch {
		case c.Throttled:
			return fmt.Sprintf("no capacity: function %s is throttled", c.Function)
		case c.Calls >= c.Limit:
			return fmt.Sprintf("no capacity: function %s has %s in flight", c.Function, calls(c.Calls))
		}
	}
	return "next in line"
}

// behind says which message of its key a message waits for.
func behind(w *event.Waiting) string {
	first := "an earlier message"
	if w.BehindID != "" {
		first = "message " + w.BehindID
	}
	first = fmt.Sprintf("%s of the key %q", first, w.Key)
	switch {
	case w.Poisoned == 0:
		return "behind " + first
	case w.Until.After(time.Now()):
		return fmt.Sprintf("poisoned: behind %s, which failed %s and is tried again at %s", first, times(w.Poisoned), w.Until.Format(time.RFC3339))
	}
	return fmt.Sprintf("poisoned: behind %s, which failed %s", first, times(w.Poisoned))
}

func calls(n int) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Purge finishes all messages that no receiver has.
func (d *Driver) Purge(app mayfly.AppName, name string) (int, error) {
	if _, err := d.spec(app, name); err != nil {
		return 0, err
	}
	return d.cfg.Store.Lane(laneName(app, name)).Purge(), nil
}

// Delete finishes one message, NotFound where it is finished.
func (d *Driver) Delete(ctx context.Context, app mayfly.AppName, name, id string) error {
	if _, err := d.Find(ctx, app, name, id); err != nil {
		return err
	}
	_, err := d.cfg.Store.Cancel(ctx, id)
	return err
}
