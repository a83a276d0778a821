package queue

import (
	"context"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
)

// sweepEvery is how often queues are looked through for messages that nobody
// received in time.
const sweepEvery = 10 * time.Minute

// expired reports whether a message is kept no longer. One that was sent for a
// later time is kept from then on.
func expired(it *event.Item, spec *mayfly.Queue, now time.Time) bool {
	from := it.Created
	if it.At.After(from) {
		from = it.At
	}
	return now.Sub(from) > spec.Retention.D()
}

func tooOld(spec *mayfly.Queue) string {
	return "the message is older than the queue's retention of " + spec.Retention.String()
}

// sweep gives up messages of queues that nobody receives from, until ctx ends.
// Those that are received are looked at then.
func (d *Driver) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.expire(ctx, now)
		}
	}
}

// expire makes dead letters of all messages that are too old and that no receiver
// has. What was in queues that are not declared any more stays.
func (d *Driver) expire(ctx context.Context, now time.Time) {
	for _, lane := range d.cfg.Store.Lanes() {
		app, name, _ := strings.Cut(lane.Name(), "/")
		q := &queue{app: mayfly.AppName(app), name: name}
		spec, err := d.spec(q.app, q.name)
		if oldest := lane.Stats().Oldest; err != nil || oldest.IsZero() || now.Sub(oldest) <= spec.Retention.D() {
			continue
		}
		err = lane.Each(ctx, func(w *event.Waiting) error {
			if w.State == event.Leased || !expired(&w.Item, &spec, now) {
				return nil
			}
			letter := d.letter(q.app, q.name, &w.Item, event.DeadExpired)
			letter.Attempts, letter.History, letter.Error = w.Attempts, w.History, tooOld(&spec)
			if err := d.bury(ctx, q, &w.Item, &spec, letter); err != nil {
				return err
			}
			_, err := d.cfg.Store.Cancel(ctx, w.ID)
			return err
		})
		if err != nil && ctx.Err() == nil {
			d.cfg.Logger.Error("old messages cannot be given up; they will be", "app", app, "queue", name, "error", err)
		}
	}
}
