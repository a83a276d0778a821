package table

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// follower tells one binding's function of the changes of its table.
type follower struct {
	d    *Driver
	b    trigger.Binding
	wake chan struct{}
	stop context.CancelFunc
}

func (f *follower) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.follow(ctx); err != nil && ctx.Err() == nil {
			f.d.cfg.Log.Warn("changes of a table wait", "binding", f.b.String(), "table", f.b.Trigger.Table, "error", err)
		}
		f.rest(ctx, f.d.cfg.Poll)
	}
}

// rest waits for a while, or until there may be work.
func (f *follower) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-f.wake:
	case <-timer.C:
	}
}

// follow delivers what there is, from the position that the database has.
func (f *follower) follow(ctx context.Context) error {
	name, table, _ := strings.Cut(f.b.Trigger.Table, ".")
	at, err := f.d.cfg.Source.Position(ctx, f.b.App, name, f.b.Key())
	if err != nil {
		return err
	}
	batch := f.b.Trigger.Batch
	if batch == 0 {
		batch = defaultBatch
	}
	for ctx.Err() == nil {
		changes, upTo, err := f.d.cfg.Source.Changes(ctx, f.b.App, name, table, f.b.Trigger.Events, at, batch)
		if err != nil || upTo == at {
			return err
		}
		for len(changes) > 0 {
			done, err := f.deliver(ctx, changes)
			if err != nil {
				return err
			}
			if at, changes = changes[done-1].Position, changes[done:]; len(changes) > 0 {
				if err := f.d.cfg.Source.Advance(ctx, f.b.App, name, f.b.Key(), at); err != nil {
					return err
				}
			}
		}
		at = upTo
		if err := f.d.cfg.Source.Advance(ctx, f.b.App, name, f.b.Key(), at); err != nil {
			return err
		}
	}
	return nil
}

// deliver calls the function with changes until it took some of them, or sets
// them aside. It returns how many are done, at least one, or ctx's error.
func (f *follower) deliver(ctx context.Context, changes []service.RowChange) (done int, err error) {
	attempts := f.b.Trigger.Attempts
	if attempts == 0 {
		attempts = defaultAttempts
	}
	event := encode(changes)
	id := fmt.Sprintf("table-%s-%d-%d", f.b.Key(), changes[0].Position, changes[len(changes)-1].Position)
	backoff := f.d.cfg.Backoff
	cause, others := causesOf(changes)
	hops := 0
	for i := range changes {
		hops = max(hops, changes[i].Hops)
	}
	for attempt := 1; ; {
		done, err := f.call(ctx, &trigger.Call{
			App: f.b.App, Function: f.b.Function, Event: event, Trigger: mayfly.TriggerTable, Route: f.b.Trigger.Table,
			Attempt: attempt, Trace: cause.Child(), Caller: mayfly.Caller{Kind: mayfly.CallerPlatform}, Hops: hops,
			Source: "table/" + f.b.Trigger.Table, Sent: changes[0].Time, Causes: others,
		}, id, changes)
		if done > 0 {
			return done, nil
		}
		verdict := trigger.Judge(err)
		if verdict == trigger.Retry {
			attempt++
		}
		if verdict == trigger.Reject || attempt > attempts {
			f.d.cfg.Log.Warn("a batch of changes failed too often and is set aside", "binding", f.b.String(), "changes", len(changes), "error", err)
			if err = f.d.cfg.Aside(mayfly.WithHops(ctx, hops), &f.b, id, event); err == nil {
				return len(changes), nil
			}
			attempt = attempts
		}
		if !sleep(ctx, backoff) {
			return 0, ctx.Err()
		}
		backoff = min(2*backoff, longestBackoff)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// causesOf are the trace that the calls for a batch of changes go on in, which
// is that of the first one's write, and those of the further writes.
func causesOf(changes []service.RowChange) (first mayfly.Trace, others []mayfly.Trace) {
	if first = changes[0].Trace; first.ID == "" {
		first = mayfly.NewTrace()
	}
	last := first
	for i := range changes {
		if t := changes[i].Trace; t.ID != "" && t != last {
			others, last = append(others, t), t
		}
	}
	return first, others
}

// call is one attempt. It returns how many changes the function took.
func (f *follower) call(ctx context.Context, c *trigger.Call, id string, changes []service.RowChange) (int, error) {
	payload, err := f.d.cfg.Invoker.Call(ctx, c)
	if err != nil {
		return 0, err
	}
	failed := firstFailure(payload, changes)
	if failed == 0 {
		return 0, &mayfly.FunctionError{Type: "BatchItemFailures", Message: "the function did not take the first change of " + id}
	}
	return failed, nil
}

// firstFailure is how many changes come before the first that the function says
// it did not take: all of them where it says none.
func firstFailure(payload []byte, changes []service.RowChange) int {
	var reply struct {
		Failures []struct {
			ID string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if json.Unmarshal(payload, &reply) != nil {
		return len(changes)
	}
	first := len(changes)
	for _, failure := range reply.Failures {
		for i := range changes[:first] {
			if strconv.FormatInt(changes[i].Position, 10) == failure.ID {
				first = i
				break
			}
		}
	}
	return first
}

// Event is what a handler gets, in the outer shape of the other data events.
type Event struct {
	Records []Record `json:"Records"`
}

// Record is one committed change of a row.
type Record struct {
	EventID     string          `json:"eventID"`     // the position; what batchItemFailures names
	EventSource string          `json:"eventSource"` // "mayfly:sql"
	EventName   string          `json:"eventName"`   // insert, update, delete or truncate
	EventTime   time.Time       `json:"eventTime"`
	App         string          `json:"app"`
	Database    string          `json:"database"`
	Table       string          `json:"table"`
	Position    int64           `json:"position"`
	New         json.RawMessage `json:"new,omitempty"`
	Old         json.RawMessage `json:"old,omitempty"`
}

func encode(changes []service.RowChange) []byte {
	event := Event{Records: make([]Record, len(changes))}
	for i, c := range changes {
		event.Records[i] = Record{
			EventID: strconv.FormatInt(c.Position, 10), EventSource: "mayfly:sql", EventName: c.Event, EventTime: c.Time,
			App: string(c.App), Database: c.Database, Table: c.Table, Position: c.Position, New: c.New, Old: c.Old,
		}
	}
	out, err := json.Marshal(event)
	if err != nil { // a number that JSON has not, such as an infinity
		for i := range event.Records {
			r := &event.Records[i]
			r.New, r.Old = valid(r.New), valid(r.Old)
		}
		out, _ = json.Marshal(event)
	}
	return out
}

func valid(b json.RawMessage) json.RawMessage {
	if len(b) == 0 || json.Valid(b) {
		return b
	}
	return json.RawMessage(`{"$invalid": true}`)
}
