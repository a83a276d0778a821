package stream

import (
	"context"
	"encoding/json"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// maxState bounds what a function may carry from call to call.
const maxState = int(mayfly.MiB)

// late is how long after a window's end an event of it may still be on its way
// from the journal.
const late = 500 * time.Millisecond

// tumbles is the length of the windows, 0 for none.
func (p *partition) tumbles() time.Duration { return p.consumer.binding.Trigger.Tumbling.D() }

func (p *partition) windowOf(at time.Time) time.Time { return at.UTC().Truncate(p.tumbles()) }

func (p *partition) stateOf() *tumbling {
	if p.tumbles() == 0 {
		return nil
	}
	return p.window
}

func (p *partition) setState(state json.RawMessage) {
	if p.window != nil && len(state) <= maxState {
		p.window.State, p.dirty = state, true
	}
}

// sameWindow is the part of a batch that is in the window of its first event,
// which is open when it returns.
func (p *partition) sameWindow(ctx context.Context, batch []keyed) ([]keyed, error) {
	start := p.windowOf(batch[0].event.Time)
	if p.window != nil && !p.window.Start.Equal(start) {
		if err := p.closeWindow(ctx, batch[0].event.Time, true); err != nil {
			return nil, err
		}
	}
	if p.window == nil {
		p.window, p.dirty = &tumbling{Start: start}, true
	}
	n := 1
	for n < len(batch) && p.windowOf(batch[n].event.Time).Equal(start) {
		n++
	}
	return batch[:n], nil
}

// closeWindow makes the last call of a window that is over, which it tries until
// it succeeds or is refused for good. passed says that an event of a later
// window came.
func (p *partition) closeWindow(ctx context.Context, now time.Time, passed bool) error {
	if p.window == nil || !passed && now.Before(p.window.Start.Add(p.tumbles()+late)) {
		return nil
	}
	for attempt := 1; ; attempt++ {
		_, _, err := p.call(ctx, nil, p.window, attempt)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case trigger.Judge(err) == trigger.Reject, trigger.Judge(err) == trigger.Retry && attempt >= defaultAttempts:
			p.consumer.driver.cfg.Logger.Error("the last call of a window failed; its state is dropped", "binding", p.consumer.binding.String(), "window", p.window.Start, "error", err)
		default:
			sleep(ctx, min(time.Duration(attempt)*100*time.Millisecond, waitMost))
			continue
		}
		break
	}
	p.window, p.dirty = nil, true
	return p.note(ctx)
}

// describe adds the window to an event.
func (p *partition) describe(e *Event, w *tumbling, final bool) {
	no := false
	e.Window = &Window{w.Start, w.Start.Add(p.tumbles())}
	e.State = w.State
	if len(e.State) == 0 {
		e.State = json.RawMessage("{}")
	}
	e.ShardID = shardID(p.index)
	e.EventSourceARN = ARN(p.consumer.driver.cfg.Region, p.consumer.binding.App, p.consumer.binding.Trigger.Stream)
	e.Final, e.TerminatedEarlier = &final, &no
}
