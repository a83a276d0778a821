package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBenchTells(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || string(body) != `{"n":1}` || r.Header.Get("X-A") != "b" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		w.Header().Set("X-Mayfly-Cold", "true")
		_, _ = io.WriteString(w, "ok")
	}))
	defer srv.Close()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"bench", srv.URL, "-n", "20", "-c", "3", "-d", `{"n":1}`, "-H", "X-A: b", "--duration", "1m"}, strings.NewReader(""), &out, &errs)
	if code != 0 || !strings.Contains(out.String(), "requests  20,") || !strings.Contains(out.String(), "20 cold") || !strings.Contains(out.String(), "p99") {
		t.Errorf("exit status %d: %s%s", code, &out, &errs)
	}
	if code := run(t.Context(), []string{"bench", srv.URL, "-n", "1"}, strings.NewReader(""), io.Discard, io.Discard); code != 1 {
		t.Errorf("exit status %d where the server fails, want 1", code)
	}
}

func TestWrongArgumentsShowTheUse(t *testing.T) {
	for _, args := range [][]string{{"versions"}, {"bench", "nowhere"}, {"replay"}, {"deploy", "--canary", "100"}} {
		var errs bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), io.Discard, &errs); code != 2 {
			t.Errorf("%v: exit status %d, want 2: %s", args, code, &errs)
		}
	}
}
