package wasm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
)

// streamFrom is how much of a response is held before it leaves in parts.
const streamFrom = 16 << 10

// output is what a call prints on stdout, on its way to the caller.
//
// It begins held. An HTTP response that turns out to have a header block streams
// once more than streamFrom bytes are held, or at a flush; all else is held to
// the end.
type output struct {
	wire *wire
	id   uint32
	http bool

	held      []byte
	streaming bool
	credit    int // bytes that may be sent before the caller has read some
	refused   error
	broken    error // the daemon is gone
}

// write takes what the module printed. It ends the module where the result is
// too large or nobody wants it any more.
func (o *output) write(p []byte) {
	o.held = append(o.held, p...)
	switch {
	case o.streaming, o.http && len(o.held) > streamFrom:
		o.flush()
	}
	if !o.streaming && len(o.held) > int(mayfly.MaxEvent) {
		o.refused = &mayfly.FunctionError{Type: "Function.ResponseSizeTooLarge",
			Message: fmt.Sprintf("the result is larger than %s; a response with a header block streams", mayfly.MaxEvent)}
		stop()
	}
}

// flush sends what is held of a response with a header block.
func (o *output) flush() {
	if !o.http || len(o.held) == 0 {
		return
	}
	if !o.streaming {
		head, body, ok := cutHeader(o.held)
		if !ok {
			return
		}
		o.streaming, o.credit, o.held = true, frame.WindowSize, body
		first := o.take()
		o.send(&frame.Frame{ID: o.id, Kind: frame.Head, Head: head, Body: first})
	}
	for len(o.held) > 0 {
		for o.credit == 0 {
			o.await()
		}
		o.send(&frame.Frame{ID: o.id, Kind: frame.Chunk, Body: o.take()})
	}
	o.held = nil
}

// take parts from held what may be sent now.
func (o *output) take() []byte {
	n := min(len(o.held), o.credit)
	b := o.held[:n]
	o.held = o.held[n:]
	o.credit -= n
	return b
}

// await waits until the caller has read some, or has left.
func (o *output) await() {
	f, err := o.wire.during()
	switch {
	case err != nil:
		o.broken = err
		stop()
	case f.ID != o.id:
	case f.Kind == frame.Cancel:
		o.refused = &mayfly.FunctionError{Type: mayfly.ErrorTypeExit, Message: "the caller left"}
		stop()
	case len(f.Body) >= 4:
		o.credit += int(binary.LittleEndian.Uint32(f.Body))
	}
}

func (o *output) send(f *frame.Frame) {
	if o.broken != nil {
		return
	}
	o.broken = o.wire.send(f)
}

// finish answers the call; failed is why the module failed, nil where it did
// not. Its error is the worker's end.
func (o *output) finish(failed error) (err error) {
	if o.streaming {
		return o.finishStream(failed)
	}
	if failed != nil {
		return o.wire.fail(frame.Error, o.id, failed)
	}
	if !o.http {
		return o.wire.send(&frame.Frame{ID: o.id, Kind: frame.Result, Body: asJSON(o.held)})
	}
	head, body, ok := cutHeader(o.held)
	if ok && len(body) <= frame.WindowSize {
		return o.wire.send(&frame.Frame{ID: o.id, Kind: frame.Head, Flags: frame.Whole, Head: head, Body: body})
	}
	if ok {
		return o.finishStream(nil)
	}
	if json.Valid(o.held) {
		return o.wire.send(&frame.Frame{ID: o.id, Kind: frame.Result, Body: o.held})
	}
	plain := response{status: http.StatusOK}
	plain.header("Content-Type", []byte(http.DetectContentType(o.held)))
	return o.wire.send(&frame.Frame{ID: o.id, Kind: frame.Head, Flags: frame.Whole, Head: plain.json(), Body: o.held})
}

// finishStream sends the rest of a streamed response and its end.
func (o *output) finishStream(failed error) (err error) {
	defer func() {
		if r := recover(); r != nil { // of stop: the caller or the daemon left
			err = o.broken
		}
	}()
	if o.refused == nil {
		o.flush()
	}
	if o.broken != nil {
		return o.broken
	}
	if failed != nil {
		return o.wire.fail(frame.End, o.id, failed)
	}
	return o.wire.send(&frame.Frame{ID: o.id, Kind: frame.End})
}

// asJSON is a result: JSON as it is, nothing as null, text as a JSON string.
func asJSON(b []byte) []byte {
	switch {
	case len(b) == 0:
		return []byte("null")
	case json.Valid(b):
		return b
	}
	text, _ := json.Marshal(string(b)) // a string cannot fail
	return text
}
