package frame

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// register makes an id for a request.
func (c *Conn) register(w *waiter) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		return 0, c.err
	}
	for c.last++; c.last == 0 || c.calls[c.last] != nil; c.last++ {
	}
	c.calls[c.last] = w
	return c.last, nil
}

// await waits for the answer to id.
func (c *Conn) await(ctx context.Context, id uint32, w *waiter) (Frame, error) {
	select {
	case f := <-w.answer:
		return f, nil
	default:
	}
	select {
	case f := <-w.answer:
		return f, nil
	case <-ctx.Done():
		c.forget(id)
		return Frame{}, ctx.Err()
	case <-c.closed:
	}
	select { // an answer may have come before the end
	case f := <-w.answer:
		return f, nil
	default:
		return Frame{}, c.Err()
	}
}

// request sends a frame that is answered by one.
func (c *Conn) request(ctx context.Context, f *Frame) (Frame, error) {
	w := &waiter{answer: make(chan Frame, 1)}
	id, err := c.register(w)
	if err != nil {
		return Frame{}, err
	}
	f.ID = id
	if err := c.out.send(f); err != nil {
		c.forget(id)
		return Frame{}, err
	}
	return c.await(ctx, id, w)
}

// Hello waits until the worker has started.
func (c *Conn) Hello(ctx context.Context) error {
	select {
	case <-c.hello:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return c.Err()
	}
}

// Load gives the worker its function and waits until it has initialised. A
// *mayfly.FunctionError is the user's failure.
func (c *Conn) Load(ctx context.Context, load any) (json.RawMessage, error) {
	body, err := json.Marshal(load)
	if err != nil {
		return nil, err
	}
	f, err := c.request(ctx, &Frame{Kind: Load, Body: body})
	switch {
	case err != nil:
		return nil, err
	case f.Kind == Loaded:
		return f.Body, nil
	case f.Kind == Failed:
		return nil, functionError(f.Body)
	}
	return nil, fmt.Errorf("the worker answered a load with a frame of kind %d", f.Kind)
}

// Call runs the handler once. ctx bounds a streamed body as well as the wait
// for its head.
func (c *Conn) Call(ctx context.Context, call *sandbox.Call) (*sandbox.Reply, error) {
	w := waiters.Get().(*waiter)
	w.call, w.trace = call.ID, call.Trace
	id, err := c.register(w)
	if err != nil {
		return nil, err
	}
	var room [512]byte
	f := Frame{ID: id, Kind: Call, Head: appendFields(room[:0], call), Body: call.Event}
	if call.HTTP {
		f.Flags = HTTP
	}
	if err := c.out.send(&f); err != nil {
		c.forget(id)
		return nil, err
	}
	f, err = c.await(ctx, id, w)
	if err != nil {
		if ctx.Err() != nil {
			c.cancel(id)
		}
		return nil, err
	}
	if f.Kind != Head { // its answer was all that there is, and it is no longer among the calls
		w.call, w.trace = "", mayfly.Trace{}
		waiters.Put(w)
	}
	return c.reply(ctx, &f, w)
}

// reply turns the answer to a call into what callers see.
func (c *Conn) reply(ctx context.Context, f *Frame, w *waiter) (*sandbox.Reply, error) {
	switch f.Kind {
	case Result:
		if !json.Valid(f.Body) {
			return nil, &mayfly.FunctionError{Type: mayfly.ErrorTypeMarshal, Message: "the reply is not JSON"}
		}
		return &sandbox.Reply{Payload: f.Body}, nil
	case Error:
		return nil, functionError(f.Body)
	case Head:
		return c.streamed(ctx, f, w)
	}
	return nil, fmt.Errorf("the worker answered a call with a frame of kind %d", f.Kind)
}

// streamed is a reply that began with a Head. w.stream is not written after
// its answer, so that no lock is needed to read it.
func (c *Conn) streamed(ctx context.Context, f *Frame, w *waiter) (*sandbox.Reply, error) {
	meta, err := parseMeta(f.Head)
	switch {
	case err != nil && w.stream != nil:
		w.stream.Close()
		return nil, err
	case err != nil:
		return nil, err
	case w.stream == nil:
		return &sandbox.Reply{Meta: meta, Body: &whole{f.Body}}, nil
	}
	w.stream.watch(ctx)
	return &sandbox.Reply{Meta: meta, Body: w.stream}, nil
}

// cancel tells the worker that nobody waits for id any more.
func (c *Conn) cancel(id uint32) {
	_ = c.out.send(&Frame{ID: id, Kind: Cancel}) // a closed connection has nothing to cancel
}

func field(b []byte, s string) []byte {
	if len(s) > 2048 {
		s = s[:2048]
	}
	if strings.ContainsAny(s, "\r\n") {
		s = lineless.Replace(s)
	}
	return append(append(b, s...), '\n')
}

// appendFields appends the head of a Call: request id, X-Ray trace header,
// deadline in milliseconds since 1970 (0: none), ARN, trigger, attempt,
// traceparent, hops.
func appendFields(b []byte, call *sandbox.Call) []byte {
	b = field(b, call.ID)
	b = append(call.Trace.AppendXRay(b), '\n')
	b = strconv.AppendInt(b, deadline(call.Deadline), 10)
	b = append(b, '\n')
	b = field(b, call.ARN)
	b = field(b, string(call.Trigger))
	b = strconv.AppendInt(b, int64(call.Attempt), 10)
	b = append(b, '\n')
	if call.Trace.ID != "" {
		b = call.Trace.AppendHeader(b)
	}
	b = append(b, '\n')
	return strconv.AppendInt(b, int64(call.Hops), 10)
}

func deadline(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// functionError reads the error of a worker, which may have sent anything.
func functionError(body []byte) error {
	var e mayfly.FunctionError
	if err := json.Unmarshal(body, &e); err != nil || e.Type == "" {
		return &mayfly.FunctionError{Type: "Error", Message: "the function failed and did not say how"}
	}
	return &e
}

func endError(body []byte) error {
	if len(body) == 0 {
		return io.EOF
	}
	return functionError(body)
}
