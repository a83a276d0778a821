package telemetry

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const (
	heartbeat    = 15 * time.Second // so that proxies keep a quiet stream open
	writeTimeout = 30 * time.Second // of one event to a reader that does not read
)

// events answers with server-sent events: produce sends them until it returns,
// its context ends, or the reader is gone.
func events(produce func(ctx context.Context, send func(event string, data any) error) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "text/event-stream")
		hc.SetHeader("Cache-Control", "no-store")
		w := &eventWriter{w: hc.BodyWriter()}
		if w.comment("ok") != nil {
			return
		}
		// An error here ends the stream: the status is long sent, and the reader
		// connects again.
		_ = produce(context.WithValue(hc.Context(), eventKey{}, w), w.send)
	}}
}

type eventKey struct{}

// flushEvents sends what is written to the reader of ctx's stream.
func flushEvents(ctx context.Context) error {
	if w, ok := ctx.Value(eventKey{}).(*eventWriter); ok {
		return w.flush()
	}
	return nil
}

// forward gives each row of a channel to use, and heartbeats in between.
func forward[T any](ctx context.Context, rows <-chan T, use func(T) error) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	w, _ := ctx.Value(eventKey{}).(*eventWriter)
	if w == nil {
		w = &eventWriter{w: io.Discard}
	}
	for {
		select {
		case row, ok := <-rows:
			if !ok {
				return nil
			}
			if err := use(row); err != nil {
				return err
			}
			if len(rows) == 0 {
				if err := w.flush(); err != nil {
					return err
				}
			}
		case <-beat.C:
			if err := w.comment("still here"); err != nil {
				return err
			}
		}
	}
}

// eventWriter writes server-sent events. It flushes when told, so that a burst
// travels in few packets.
type eventWriter struct{ w io.Writer }

func (e *eventWriter) send(event string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	out := make([]byte, 0, len(event)+len(b)+20)
	out = append(append(append(out, "event: "...), event...), "\ndata: "...)
	out = append(append(out, b...), "\n\n"...)
	e.deadline()
	_, err = e.w.Write(out)
	return err
}

func (e *eventWriter) comment(text string) error {
	e.deadline()
	if _, err := io.WriteString(e.w, ": "+text+"\n\n"); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventWriter) deadline() {
	if w, ok := e.w.(http.ResponseWriter); ok {
		// A writer that has no deadlines has none to miss.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	}
}

func (e *eventWriter) flush() error {
	if w, ok := e.w.(http.ResponseWriter); ok {
		return http.NewResponseController(w).Flush()
	}
	return nil
}
