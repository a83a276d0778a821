package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// TestErrorsKeepTheirMeaning has the API fail in every way that a verb meets.
func TestErrorsKeepTheirMeaning(t *testing.T) {
	mux := http.NewServeMux()
	problem := func(err error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			p := mayfly.ProblemOf(err, true)
			w.WriteHeader(p.Status)
			_ = json.NewEncoder(w).Encode(p)
		}
	}
	mux.HandleFunc("/gone", problem(mayfly.Errorf(mayfly.NotFound, "", "it is gone")))
	mux.HandleFunc("/failed", problem(&mayfly.FunctionError{Type: "ValueError", Message: "bad"}))
	mux.HandleFunc("/html", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<p>no", http.StatusBadGateway) })
	mux.HandleFunc("/before", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/midway", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{}\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	nobody := httptest.NewServer(mux)
	nobody.Close()
	for _, c := range []struct {
		base, path string
		code       mayfly.Code
		says       string
	}{
		{srv.URL, "/gone", mayfly.NotFound, "it is gone"},
		{srv.URL, "/failed", mayfly.FunctionFailed, "ValueError: bad"},
		{srv.URL, "/html", mayfly.Internal, "502 Bad Gateway"},
		{srv.URL, "/before", mayfly.Unavailable, "broke off"},
		{srv.URL, "/midway", mayfly.Unavailable, "broke off"},
		{nobody.URL, "/gone", mayfly.Unavailable, "start one with mayfly dev"},
	} {
		client := &Client{Base: c.base}
		err := client.Lines(t.Context(), http.MethodGet, c.path, "", nil, func([]byte) error { return nil })
		if mayfly.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%s)", c.path, err, mayfly.CodeOf(err))
		}
	}
}

// TestTheSendersErrorIsTold has the body fail, as an app that cannot be packed.
func TestTheSendersErrorIsTold(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer srv.Close()
	r, w := io.Pipe()
	w.CloseWithError(mayfly.Errorf(mayfly.Invalid, "", "mayfly.yaml:1:1: no"))
	err := (&Client{Base: srv.URL}).Do(t.Context(), http.MethodPost, "/", r, nil)
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&Client{Base: srv.URL}).Do(ctx, http.MethodGet, "/", nil, nil); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}
