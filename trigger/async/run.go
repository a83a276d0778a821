package async

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/schedule"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// lease is how long a call is held; it is renewed while the function runs.
const lease = time.Minute

// worker runs the calls of one function.
func (c *Calls) worker(lane *event.Lane) *event.Worker {
	return event.NewWorker(event.WorkerConfig{
		Lane: lane, By: "an asynchronous call", Logger: c.cfg.Logger,
		Settings: func() event.Settings { return event.Settings{Visibility: lease, Max: c.most(lane.Name())} },
		Handle: func(ctx context.Context, leases []*event.Lease) bool {
			return c.call(ctx, leases[0])
		},
	})
}

// most is how many calls of a lane run at once: as many as its function can run,
// so that what waits does so in the lane, where its age is seen.
func (c *Calls) most(lane string) int {
	app, fn, _ := strings.Cut(lane, "/")
	spec, ok := c.cfg.Functions.Function(mayfly.AppName(app), mayfly.FunctionName(fn))
	if !ok {
		return c.cfg.InFlight
	}
	return min(c.cfg.InFlight, spec.Concurrency.Calls())
}

// call runs one call and settles what comes of it. It reports whether the
// function had no capacity.
func (c *Calls) call(ctx context.Context, le *event.Lease) (throttled bool) {
	var st stored
	if err := json.Unmarshal(le.Body, &st); err != nil {
		c.die(ctx, le, &st, event.DeadRejected, err)
		return false
	}
	fn, ok := c.cfg.Functions.Function(st.App, st.Function)
	p := st.policy(fn)
	switch {
	case !ok:
		c.die(ctx, le, &st, event.DeadRejected, mayfly.Errorf(mayfly.NotFound, "", "the function %s does not exist any more", st.Function))
		return false
	case time.Since(le.Created) > p.maxAge:
		c.die(ctx, le, &st, event.DeadExpired, mayfly.Errorf(mayfly.Timeout, "", "the call is older than %s", mayfly.Duration(p.maxAge)))
		return false
	case le.Attempt > p.attempts: // an attempt was cut short by a lease that ended
		c.die(ctx, le, &st, event.DeadAttempts, nil)
		return false
	}
	call := st.call(le.ID, le.Attempt)
	call.Source, call.Sent = "function/"+string(st.Function), le.Since()
	payload, err := c.invoke(ctx, le.ID, call)
	if ctx.Err() != nil && err != nil {
		le.Release(time.Time{})
		return false
	}
	switch verdict := trigger.Judge(err); {
	case err == nil:
		c.succeed(ctx, le, &st, fn, payload)
	case verdict == trigger.Wait:
		le.Release(time.Time{})
		return true
	case verdict == trigger.Reject:
		c.die(ctx, le, &st, event.DeadRejected, err)
	case le.Attempt >= p.attempts:
		c.die(ctx, le, &st, event.DeadAttempts, err)
	default:
		backoff, perr := schedule.ParseBackoff(p.backoff)
		if perr != nil {
			backoff = schedule.DefaultBackoff
		}
		at := time.Now().Add(backoff.Delay(le.Attempt, schedule.Seed(le.ID)))
		le.Fail(at, event.Attempt{At: time.Now(), Error: mayfly.MessageOf(err), Invocation: le.ID})
	}
	return false
}

// invoke runs a call that Cancel can stop.
func (c *Calls) invoke(ctx context.Context, id string, call *trigger.Call) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.running[id] = cancel
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.running, id)
		c.mu.Unlock()
	}()
	return c.cfg.Invoker.Call(ctx, call)
}

// succeed sends the result where the function wants it and ends the call. The
// result is durable there before the call ends.
func (c *Calls) succeed(ctx context.Context, le *event.Lease, st *stored, fn *mayfly.Function, payload []byte) {
	if fn.OnSuccess != "" {
		if err := c.send(ctx, fn.OnSuccess, st, c.outcome(le, st, "Success", payload, nil)); err != nil {
			c.cfg.Logger.Warn("a call's result cannot be sent; the call will run again", "call", le.ID, "to", fn.OnSuccess, "error", err)
			le.Fail(time.Now().Add(time.Second), event.Attempt{At: time.Now(), Error: "the result cannot be sent to " + fn.OnSuccess + ": " + mayfly.MessageOf(err)})
			return
		}
	}
	if le.Done() {
		c.ended(Status{ID: le.ID, App: st.App, Function: st.Function, State: Succeeded, Attempts: le.Attempt, Accepted: le.Created, Ended: time.Now(), History: le.History})
	}
}

// die writes the dead letter, tells the destination of failures, and then ends
// the call, in this order, so that the event is never nowhere.
func (c *Calls) die(ctx context.Context, le *event.Lease, st *stored, reason string, cause error) {
	if ctx.Err() != nil {
		le.Release(time.Time{})
		return
	}
	history := le.History
	attempts := le.Attempt
	if cause != nil && reason != event.DeadExpired { // this attempt was made
		history = append(history[:len(history):len(history)], event.Attempt{At: time.Now(), Error: mayfly.MessageOf(cause), Invocation: le.ID})
	} else {
		attempts--
	}
	app, fn := st.App, st.Function
	if spec, ok := c.cfg.Functions.Function(app, fn); ok && spec.OnFailure != "" {
		condition := "RetriesExhausted"
		if reason == event.DeadExpired {
			condition = "EventAgeExceeded"
		}
		if err := c.send(ctx, spec.OnFailure, st, c.outcome(le, st, condition, nil, cause)); err != nil {
			c.cfg.Logger.Warn("a failed call cannot be sent on; it is a dead letter all the same", "call", le.ID, "to", spec.OnFailure, "error", err)
		}
	}
	letter := &event.DeadLetter{
		Item: le.ID, App: app, Source: "function/" + string(fn), Function: fn, Reason: reason, Attempts: attempts, History: history,
		Accepted: le.Created, Trace: st.Trace, Body: le.Body,
	}
	if cause != nil {
		letter.Error = mayfly.MessageOf(cause)
	}
	if err := c.cfg.Dead.Add(ctx, letter); err != nil {
		c.cfg.Logger.Error("a dead letter cannot be written; the call will run again", "call", le.ID, "error", err)
		le.Release(time.Now().Add(time.Second))
		return
	}
	if le.Done() {
		c.ended(Status{
			ID: le.ID, App: app, Function: fn, State: Dead, Attempts: attempts, Accepted: le.Created, Ended: time.Now(),
			Error: letter.Error, DeadLetter: letter.ID, History: history,
		})
	}
}

func (c *Calls) send(ctx context.Context, to string, st *stored, body json.RawMessage) error {
	if c.cfg.Sender == nil {
		return mayfly.Errorf(mayfly.Internal, "send to "+to, "no destinations here")
	}
	return c.cfg.Sender.SendTo(ctx, st.App, to, &mayfly.Message{Body: body, Trace: st.Trace, Hops: st.Hops + 1})
}

// outcome is the record that a destination gets, in Lambda's form.
func (c *Calls) outcome(le *event.Lease, st *stored, condition string, payload []byte, cause error) json.RawMessage {
	type object = map[string]any
	response := object{"statusCode": 200, "executedVersion": "$LATEST"}
	record := object{
		"version":   "1.0",
		"timestamp": time.Now().UTC().Format(time.RFC3339Nano),
		"requestContext": object{
			"requestId":              le.ID,
			"functionArn":            "arn:aws:lambda:" + c.cfg.Region + ":000000000000:function:" + string(st.App) + "-" + string(st.Function) + ":live",
			"condition":              condition,
			"approximateInvokeCount": le.Attempt,
		},
		"requestPayload":  st.Event,
		"responseContext": response,
	}
	var failed *mayfly.FunctionError
	switch {
	case errors.As(cause, &failed):
		response["functionError"] = "Unhandled"
		record["responsePayload"] = failed
	case cause != nil:
		response["functionError"] = "Unhandled"
		record["responsePayload"] = object{"errorMessage": mayfly.MessageOf(cause)}
	case json.Valid(payload):
		record["responsePayload"] = json.RawMessage(payload)
	}
	body, err := json.Marshal(record)
	if err != nil {
		return json.RawMessage("null")
	}
	return body
}
