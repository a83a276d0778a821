package topic

import (
	"context"
	"time"

	"github.com/mayfly-cloud/mayfly/event"
)

// tidy drops what is older than it must be kept.
func (d *Driver) tidy(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.forget(ctx, time.Now())
		}
	}
}

// forget drops events beyond the longest retention of a topic, and what waits
// that long for subscriptions that are gone.
func (d *Driver) forget(ctx context.Context, now time.Time) {
	keep := DefaultRetention
	for _, m := range d.cfg.Apps.Manifests() {
		for _, t := range m.Topics {
			if t != nil {
				keep = max(keep, t.Retention.D())
			}
		}
	}
	if err := d.cfg.Journal.Forget(ctx, now.Add(-keep)); err != nil && ctx.Err() == nil {
		d.cfg.Logger.Warn("old events cannot be dropped", "error", err)
	}
	for _, lane := range d.cfg.Store.Lanes() {
		s := lane.Stats()
		if s.Oldest.IsZero() || now.Sub(s.Oldest) <= keep {
			continue
		}
		switch {
		case d.find(lane.Name()) == nil:
			d.cfg.Logger.Warn("events of a subscription that is gone are dropped", "subscription", lane.Name(), "events", lane.Purge())
		case s.Paused:
			d.dropOld(ctx, lane, now.Add(-keep))
		}
	}
}

// dropOld drops what waits for a webhook that is disabled and is kept no longer:
// a replay could not bring it back either.
func (d *Driver) dropOld(ctx context.Context, lane *event.Lane, before time.Time) {
	n := 0
	if err := lane.Each(ctx, func(w *event.Waiting) error {
		if !w.Created.Before(before) {
			return nil
		}
		n++
		_, err := d.cfg.Store.Cancel(ctx, w.ID)
		return err
	}); err != nil {
		d.cfg.Logger.Warn("old events of a webhook that is disabled cannot be dropped", "subscription", lane.Name(), "error", err)
		return
	}
	d.cfg.Logger.Warn("old events of a webhook that is disabled are dropped", "subscription", lane.Name(), "events", n)
}
