package invoke

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/pool"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// call is one admitted call on its way to its record, and what is made for it in
// one piece. The record outlives it.
type call struct {
	invoker *Invoker
	version *mayfly.Version
	lease   *pool.Lease
	record  *mayfly.Invocation
	hops    int
	began   time.Time // of the handler
	cancel  context.CancelFunc
	over    bool // recorded
	pid     int  // of the instance, while the Watcher knows the call

	sent  sandbox.Call
	reply Result
}

// watch tells the Watcher that the call has its instance; unwatch, that it gives
// it back.
func (c *call) watch() {
	if w := c.invoker.cfg.Watcher; w != nil {
		c.pid = c.lease.Instance().Info().PID
		w.Began(c.pid, c.record, c.hops)
	}
}

func (c *call) unwatch() {
	if c.pid != 0 {
		c.invoker.cfg.Watcher.Ended(c.pid, c.record)
		c.pid = 0
	}
}

func (c *call) result() *Result {
	if c == nil {
		return nil
	}
	c.reply.Invocation = c.record
	return &c.reply
}

// fail ends the call with what went wrong and returns that as the caller's
// error.
func (c *call) fail(err error) error {
	outcome, ferr := c.outcome(err)
	if ferr != nil {
		err = c.invoker.redacted(ferr)
	}
	c.finish(outcome, err)
	return err
}

// redacted is e without the secrets that code put into it.
func (i *Invoker) redacted(e *mayfly.FunctionError) *mayfly.FunctionError {
	if i.cfg.Redact == nil {
		return e
	}
	shown := &mayfly.FunctionError{Type: i.cfg.Redact(e.Type), Message: i.cfg.Redact(e.Message), Trace: slices.Clone(e.Trace)}
	for n, line := range shown.Trace {
		shown.Trace[n] = i.cfg.Redact(line)
	}
	return shown
}

// outcome tells the failures of user code from those of the platform.
func (c *call) outcome(err error) (mayfly.Outcome, *mayfly.FunctionError) {
	var ferr *mayfly.FunctionError
	switch {
	case errors.As(err, &ferr):
		return outcomeOf(ferr), ferr
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return mayfly.OutcomeCancelled, nil
	case errors.Is(err, sandbox.ErrStopped):
		return mayfly.OutcomeInternal, nil
	}
	switch mayfly.CodeOf(err) {
	case mayfly.Throttled, mayfly.Quota:
		return mayfly.OutcomeThrottled, nil
	}
	return mayfly.OutcomeInternal, nil
}

func outcomeOf(e *mayfly.FunctionError) mayfly.Outcome {
	switch e.Type {
	case mayfly.ErrorTypeTimeout:
		return mayfly.OutcomeTimeout
	case mayfly.ErrorTypeOutOfMemory:
		return mayfly.OutcomeMemory
	case mayfly.ErrorTypeExit:
		return mayfly.OutcomeExit
	}
	return mayfly.OutcomeError
}

// finish ends the lease and records the call, once.
func (c *call) finish(outcome mayfly.Outcome, err error) {
	if c.over {
		return
	}
	c.over = true
	r := c.record
	r.Outcome = outcome
	if !c.began.IsZero() {
		r.Duration = time.Since(c.began)
		r.Phases = append(r.Phases, mayfly.Phase{Name: mayfly.PhaseCall, Duration: r.Duration})
		r.Billed = billed(r)
	}
	if outcome == mayfly.OutcomeOK {
		r.Event = nil
	}
	errors.As(err, &r.Error)
	if c.cancel != nil {
		c.cancel()
	}
	c.settle(outcome)
	c.invoker.cfg.Recorder.Invocation(r)
}

// settle gives the instance back, or away where its state is unknown.
func (c *call) settle(outcome mayfly.Outcome) {
	if c.lease == nil {
		return
	}
	c.unwatch()
	usage := c.lease.Instance().Usage()
	c.record.MemoryPeak, c.record.CPU = usage.MemoryPeak, c.lease.CPU(usage.CPU)
	switch outcome {
	case mayfly.OutcomeOK, mayfly.OutcomeError:
		c.lease.Release(c.record.Duration, usage.CPU)
	default:
		c.lease.Discard()
	}
}

// billed is the handler's time, with the start's init where the call paid for
// it, rounded up to a millisecond as Lambda bills.
func billed(r *mayfly.Invocation) time.Duration {
	d := r.Duration
	if r.Cold {
		for _, p := range r.Phases {
			if p.Name == mayfly.PhaseInit {
				d += p.Duration
			}
		}
	}
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

// stream is a streamed reply: the call ends with it.
type stream struct {
	call *call
	body io.ReadCloser
	n    int64
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.n += int64(n)
	s.call.record.BytesOut = s.n
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		s.call.finish(mayfly.OutcomeOK, nil)
		return n, err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.call.overran()
	}
	return n, s.call.fail(err)
}

// whole ends the call and returns its reply where that came as a whole and not
// in parts. It reports false where the reply has to be read.
func (s *stream) whole() ([]byte, bool) {
	w, ok := s.body.(sandbox.Whole)
	if !ok {
		return nil, false
	}
	b := w.Rest()
	s.call.record.BytesOut = s.n + int64(len(b))
	s.call.finish(mayfly.OutcomeOK, nil)
	return b, true
}

// Close ends the reply early. A reader that went away is no failure of the
// function.
func (s *stream) Close() error {
	err := s.body.Close()
	s.call.finish(mayfly.OutcomeOK, nil)
	return err
}
