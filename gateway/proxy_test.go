package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestHeadersOfTheGatewayOutliveEarlyHints(t *testing.T) {
	rec := httptest.NewRecorder()
	w := &watched{ResponseWriter: rec, own: http.Header{RequestIDHeader: {"1"}}, timer: time.NewTimer(time.Hour)}
	w.Header().Set(RequestIDHeader, "1")
	w.WriteHeader(http.StatusEarlyHints)
	clear(w.Header()) // as ReverseProxy does
	w.WriteHeader(http.StatusOK)
	if got := w.Header()[http.CanonicalHeaderKey(RequestIDHeader)]; len(got) != 1 || got[0] != "1" {
		t.Errorf("request id %q after early hints, want 1", got)
	}
}

// A WebSocket is not ended by the function's timeout.
func TestSwitchedProtocolsHaveNoTimeout(t *testing.T) {
	outer := &answered{}
	w := &watched{ResponseWriter: outer, timer: time.NewTimer(time.Hour)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		outer.ResponseWriter = rw
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}))
	if res, err := http.Get(server.URL); err == nil {
		res.Body.Close()
	}
	server.Close()
	if w.timer.Stop() {
		t.Error("the timer still runs")
	}
	if w.status.Load() != http.StatusSwitchingProtocols || outer.status != http.StatusSwitchingProtocols {
		t.Errorf("statuses %d and %d", w.status.Load(), outer.status)
	}
}
