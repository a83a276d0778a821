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
