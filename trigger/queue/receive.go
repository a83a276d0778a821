package queue

import (
	"context"
	"encoding/json"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
)

// Received is a message as a program gets it over HTTP.
type Received struct {
	ID          string            `json:"id"`
	Receipt     string            `json:"receipt" doc:"Names this delivery in acknowledge, release and extend"`
	Body        json.RawMessage   `json:"body"`
	Key         string            `json:"key,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Attempt     int               `json:"attempt" doc:"1 for the first"`
	Sent        time.Time         `json:"sent"`
	Until       time.Time         `json:"until" doc:"When the lease ends, unless it is extended"`
	TraceParent string            `json:"traceparent,omitempty"`
}

// Receive leases up to n messages to the caller, and waits for the first one
// up to wait.
func (d *Driver) Receive(ctx context.Context, app mayfly.AppName, name string, n int, wait, visibility time.Duration) ([]Received, error) {
	spec, err := d.spec(app, name)
	if err != nil {
		return nil, err
	}
	if visibility == 0 {
		visibility = spec.Visibility.D()
	}
	lane := d.cfg.Store.Lane(laneName(app, name))
	by := mayfly.CallerFrom(ctx).String()
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	q := &queue{app: app, name: name}
	for {
		leases, err := lane.Take(ctx, n, visibility, by)
		if err != nil {
			return nil, err
		}
		if out := d.receive(ctx, q, leases, &spec); len(out) > 0 {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return []Received{}, nil
		case <-timeout.C:
			return []Received{}, nil
		case <-lane.Ready():
		}
	}
}

func (d *Driver) receive(ctx context.Context, q *queue, leases []*event.Lease, spec *mayfly.Queue) []Received {
	var out []Received
	for _, le := range leases {
		switch {
		case expired(&le.Item, spec, time.Now()):
			d.die(ctx, q, le, spec, event.DeadExpired, le.History)
			continue
		case le.Attempt > spec.Attempts:
			d.die(ctx, q, le, spec, event.DeadAttempts, le.History)
			continue
		}
		var m stored
		_ = json.Unmarshal(le.Body, &m)
		r := Received{ID: le.ID, Receipt: receipt(le), Body: m.Body, Key: le.Key, Attributes: m.Attributes, Attempt: le.Attempt, Sent: le.Created, Until: le.Until}
		if m.Trace.ID != "" {
			r.TraceParent = m.Trace.Header()
		}
		out = append(out, r)
	}
	return out
}

// Outcome is what happened to one receipt.
type Outcome struct {
	Receipt string `json:"receipt"`
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
}

// settle does something with the lease of each receipt.
func (d *Driver) settle(ctx context.Context, app mayfly.AppName, name string, receipts []string, fn func(le *event.Lease) bool) ([]Outcome, error) {
	if _, err := d.spec(app, name); err != nil {
		return nil, err
	}
	out := make([]Outcome, len(receipts))
	for i, r := range receipts {
		out[i].Receipt = r
		le, err := d.held(ctx, app, name, r)
		switch {
		case err != nil:
			out[i].Error = mayfly.MessageOf(err)
		case !fn(le):
			out[i].Error = "the lease has ended"
		default:
			out[i].OK = true
		}
	}
	return out, nil
}

// Acknowledge finishes the messages of receipts.
func (d *Driver) Acknowledge(ctx context.Context, app mayfly.AppName, name string, receipts []string) ([]Outcome, error) {
	return d.settle(ctx, app, name, receipts, (*event.Lease).Done)
}

// Extend makes the leases of receipts last from now.
func (d *Driver) Extend(ctx context.Context, app mayfly.AppName, name string, receipts []string, visibility time.Duration) ([]Outcome, error) {
	return d.settle(ctx, app, name, receipts, func(le *event.Lease) bool { return le.Extend(visibility) })
}

// Release gives the messages of receipts back after a delay. With a reason the
// attempt counts, and the last one makes a dead letter.
func (d *Driver) Release(ctx context.Context, app mayfly.AppName, name string, receipts []string, delay time.Duration, reason string) ([]Outcome, error) {
	spec, err := d.spec(app, name)
	if err != nil {
		return nil, err
	}
	return d.settle(ctx, app, name, receipts, func(le *event.Lease) bool {
		at := time.Now().Add(delay)
		if reason == "" {
			return le.Release(at)
		}
		last := event.Attempt{At: time.Now(), Error: reason}
		if le.Attempt < spec.Attempts {
			return le.Fail(at, last)
		}
		d.die(ctx, &queue{app: app, name: name}, le, &spec, event.DeadAttempts, append(le.History, last))
		return true
	})
}
