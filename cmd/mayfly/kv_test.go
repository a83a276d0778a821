package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A value is shown as it was put, and to programs as JSON, whatever it is.
func TestKVGet(t *testing.T) {
	values := map[string]string{"number": "42", "object": `{"a": "<b>"}`, "text": "3 o'clock", "empty": "", "bytes": "\xff\x00"}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(values[r.URL.Path[len("/v1/apps/shop/kv/s/keys/"):]]))
	}))
	t.Cleanup(srv.Close)
	var out bytes.Buffer
	g := &globals{out: &out, err: &out, api: srv.URL, token: "x", app: "shop"}
	for key, json := range map[string]string{
		"number": "42\n", "object": "{\n  \"a\": \"<b>\"\n}\n", "text": "\"3 o'clock\"\n", "empty": "\"\"\n", "bytes": "{\n  \"base64\": \"/wA=\"\n}\n",
	} {
		for asked, want := range map[bool]string{false: values[key], true: json} {
			out.Reset()
			g.json = asked
			if err := verb(t, newKVGetCmd(g), "s", key); err != nil || out.String() != want {
				t.Errorf("%s, as JSON: %v: %q, %v", key, asked, &out, err)
			}
		}
	}
}
