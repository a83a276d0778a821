package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/mayfly-cloud/mayfly"
)

// ErrorHeader carries the code of a failed call.
const ErrorHeader = "X-Mayfly-Error"

func (g *Gateway) problem(w http.ResponseWriter, err error) {
	g.problemStatus(w, 0, err)
}

// problemStatus answers with a status of its own, 0 for that of err's code.
func (g *Gateway) problemStatus(w http.ResponseWriter, status int, err error) {
	p := mayfly.ProblemOf(err, g.cfg.Dev)
	if status != 0 {
		p.Status, p.Title = status, http.StatusText(status)
	}
	if p.Code == mayfly.Internal {
		g.cfg.Log.Error("request failed", "err", err)
	}
	body, _ := json.Marshal(p)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("Cache-Control", "no-store")
	h.Set(ErrorHeader, string(p.Code))
	switch p.Code {
	case mayfly.Throttled, mayfly.Quota, mayfly.Unavailable:
		h.Set("Retry-After", "1")
	case mayfly.Unauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="mayfly"`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
