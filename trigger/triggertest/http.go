package triggertest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mayfly-cloud/mayfly"
)

// Do makes one request, with the headers "NAME: VALUE", and returns the reply.
type Do func(method, path, body string, headers ...string) (status int, reply string)

// Serve serves the operations that register adds, to one caller.
func Serve(t testing.TB, who mayfly.Caller, register func(huma.API)) Do {
	t.Helper()
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		err := errors.Join(errs...)
		var e *mayfly.Error
		if errors.As(err, &e) {
			return &huma.ErrorModel{Status: e.Code.HTTPStatus(), Detail: e.Error()}
		}
		if err != nil {
			msg += ": " + err.Error()
		}
		return &huma.ErrorModel{Status: status, Detail: msg}
	}
	mux := http.NewServeMux()
	register(humago.New(mux, huma.DefaultConfig("test", "1")))
	return ServeHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), who)))
	}))
}

// ServeHandler serves a handler.
func ServeHandler(t testing.TB, h http.Handler) Do {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return func(method, path, body string, headers ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		reply, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(reply)
	}
}
