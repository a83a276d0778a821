package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The streams of an app are shown to people in short, and to programs as the API
// has them.
func TestTopicStreams(t *testing.T) {
	const reply = `{"streams":[{"function":"sum","name":"sum.orders","topic":"orders","batch":10,"partitions":[
		{"partition":0,"position":"7.0","window":"2026-01-02T03:04:05Z"},{"partition":1,"position":"5.0","behind":"3s","failing":2,"error":"Boom: no"}]}]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/v1/apps/shop/streams" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, reply)
	}))
	t.Cleanup(srv.Close)
	var out bytes.Buffer
	g := &globals{out: &out, err: &out, api: srv.URL, token: "x", app: "shop"}
	if err := verb(t, newTopicStreamsCmd(g)); err != nil || !strings.Contains(out.String(), "3s behind, failed 2 times: Boom: no") || !strings.Contains(out.String(), "up to date") {
		t.Errorf("%v\n%s", err, &out)
	}
	out.Reset()
	g.json = true
	if err := verb(t, newTopicStreamsCmd(g)); err != nil {
		t.Fatal(err)
	}
	var got, want bytes.Buffer
	if err := json.Compact(&got, out.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&want, []byte(reply)); err != nil || got.String() != want.String() {
		t.Errorf("%v\n%s", err, &got)
	}
}
