package gateway

import (
	"net/http"
	"time"
)

// paced cuts off a client of a handler that stops taking bytes: slow is fine,
// stalled is not.
func (g *Gateway) paced(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &pacedWriter{ResponseWriter: w, rc: http.NewResponseController(w), stall: g.cfg.Stall}
		h.ServeHTTP(p, r)
		if p.set {
			_ = p.rc.SetWriteDeadline(time.Time{})
		}
	})
}

// pacedWriter gives each write its own deadline.
type pacedWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	stall time.Duration
	set   bool
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	w.set = true
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.stall))
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach Flush and deadlines.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
