package invoke

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Session is a call of a function that serves HTTP itself: the caller sends the
// request over Transport and says at the end what came of it.
type Session struct {
	call      *call
	Transport http.RoundTripper
	Timeout   time.Duration // to the head of the reply, and between parts of a streamed one
}

// Session admits a call of a function that serves HTTP itself. It returns nil
// and no error where the instance takes events instead: the caller then uses
// Invoke, which takes the same slot again.
func (i *Invoker) Session(ctx context.Context, req *Request) (*Session, error) {
	c, err := i.admit(ctx, req)
	if err != nil {
		return nil, err
	}
	transport, ok := c.lease.Transport()
	if !ok {
		c.unwatch()
		c.lease.PutBack()
		return nil, nil
	}
	c.began = time.Now()
	return &Session{call: c, Transport: transport, Timeout: c.version.Spec.Timeout.D()}, nil
}

// Invocation is the session's record, complete after End.
func (s *Session) Invocation() *mayfly.Invocation { return s.call.record }

// End records the call: the reply's status and size, and what broke off.
func (s *Session) End(status int, sent int64, err error) {
	s.call.record.Status, s.call.record.BytesOut = status, sent
	switch {
	case err == nil:
		s.call.finish(mayfly.OutcomeOK, nil)
	case errors.Is(err, context.Canceled):
		s.call.finish(mayfly.OutcomeOK, nil)
	default:
		_ = s.call.fail(s.Explain(err)) // the caller has it already
	}
}

// Explain says what a failed round trip means for the caller: how the program
// ended, or that it broke off.
func (s *Session) Explain(err error) error {
	var ferr *mayfly.FunctionError
	if errors.As(err, &ferr) {
		return ferr
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return s.call.overran()
	}
	select {
	case <-s.call.lease.Instance().Done():
		if errors.As(s.call.lease.Instance().Err(), &ferr) {
			return ferr
		}
	case <-time.After(100 * time.Millisecond): // the exit may be noticed just after the broken connection
	}
	return &mayfly.FunctionError{Type: mayfly.ErrorTypeExit, Message: "the program closed the connection without a reply"}
}
