package kv

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
)

// serve answers as function f of app a, which may do all to s and read heard.
func serve(t testing.TB) *httptest.Server {
	t.Helper()
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		if e := (*mayfly.Error)(nil); errors.As(errors.Join(errs...), &e) {
			status, msg = e.Code.HTTPStatus(), e.Error()
		}
		return &huma.ErrorModel{Status: status, Detail: msg}
	}
	authz := identity.NewAuthorizer(nil)
	m := app("a")
	m.Functions["f"].Allow = []string{"* kv/s", "read kv/heard"}
	if err := authz.Apply([]*mayfly.Manifest{m, app("b")}); err != nil {
		t.Fatal(err)
	}
	d := newDriver(t, openEngine(t, t.TempDir()), func(c *Config) { c.Authz = authz })
	mux := http.NewServeMux()
	d.Register(humago.New(mux, huma.DefaultConfig("test", "1")))
	who := mayfly.Caller{Kind: mayfly.CallerFunction, App: "a", Function: "f"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), who)))
	}))
	t.Cleanup(server.Close)
	return server
}

func call(t testing.TB, server *httptest.Server, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestHTTP(t *testing.T) {
	server := serve(t)
	for _, c := range []struct {
		method, path, body string
		headers            []string
		status             int
		want               string
	}{
		{"GET", "/v1/apps/a/kv/s/keys/k", "", nil, 404, "no such key"},
		{"PUT", "/v1/apps/a/kv/s/keys/a%2Fb%20c%2F%2Fd", "<b>\xff", []string{"Content-Type", "text/html"}, 200, `"revision":1`},
		{"GET", "/v1/apps/a/kv/s/keys/a%2Fb%20c%2F%2Fd", "", nil, 200, "<b>\xff"},
		{"PUT", "/v1/apps/a/kv/s/keys/j?ttl=1h", `{"a":1}`, []string{"Content-Type", "application/json"}, 200, `"found":false`},
		{"PUT", "/v1/apps/a/kv/s/keys/j", `2`, []string{"If-None-Match", "*"}, 409, "has revision"},
		{"PUT", "/v1/apps/a/kv/s/keys/j", `2`, []string{"If-Match", `"77"`}, 409, "not 77"},
		{"PUT", "/v1/apps/a/kv/s/keys/j", `2`, []string{"If-Match", `abc`}, 400, "revision"},
		{"PUT", "/v1/apps/a/kv/s/keys/j?ttl=soon", `2`, nil, 400, "not a duration"},
		{"POST", "/v1/apps/a/kv/s/increment/n?by=5", "", nil, 200, `"value":5`},
		{"POST", "/v1/apps/a/kv/s/increment/n", "", nil, 200, `"value":6`},
		{"GET", "/v1/apps/a/kv/s/keys?values=true&prefix=j", "", nil, 200, `"value":{"a":1}`},
		{"GET", "/v1/apps/a/kv/s/keys?values=true&prefix=a", "", nil, 200, `"base64":"PGI+/w=="`},
		{"GET", "/v1/apps/a/kv/s/keys?limit=1", "", nil, 200, `"next":"a/b c//d"`},
		{"GET", "/v1/apps/a/kv/s/keys?limit=5000", "", nil, 422, ""},
		{"POST", "/v1/apps/a/kv/s/batch", `{"operations":[{"op":"put","key":"x","value":[1]},{"op":"increment","key":"n"},{"op":"delete","key":"j"}]}`, nil, 200, `"value":7`},
		{"POST", "/v1/apps/a/kv/s/batch", `{"operations":[{"op":"check","key":"x","revision":0}]}`, nil, 409, ""},
		{"GET", "/v1/apps/a/kv/s/keys/x", "", nil, 200, "[1]"},
		{"DELETE", "/v1/apps/a/kv/s/keys/x", "", nil, 200, `"found":true`},
		{"GET", "/v1/apps/a/kv/heard/keys/x", "", nil, 404, ""},
		{"PUT", "/v1/apps/a/kv/heard/keys/x", "1", nil, 403, `add \"write kv/heard\" to functions.f.allow`},
		{"GET", "/v1/apps/a/kv/ttl/keys/x", "", nil, 403, "read kv/ttl"},
		{"GET", "/v1/apps/b/kv/s/keys/x", "", nil, 403, "cannot reach app b"},
		{"GET", "/v1/apps/b/kv/s/watch", "", nil, 403, ""},
		{"GET", "/v1/apps/b/kv/s/keys", "", nil, 403, ""},
		{"POST", "/v1/apps/b/kv/s/batch", `{"operations":[{"op":"put","key":"x","value":1}]}`, nil, 403, ""},
		{"GET", "/v1/apps/a/kv", "", nil, 403, "list kv/*"},
	} {
		res, body := call(t, server, c.method, c.path, c.body, c.headers...)
		if res.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %q, want %d with %q", c.method, c.path, res.StatusCode, body, c.status, c.want)
		}
	}
	res, _ := call(t, server, "GET", "/v1/apps/a/kv/s/keys/a%2Fb%20c%2F%2Fd", "")
	if res.Header.Get("Content-Type") != "text/html" || res.Header.Get("ETag") != `"1"` {
		t.Errorf("headers: %v", res.Header)
	}
}

func TestHTTPWatch(t *testing.T) {
	server := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/apps/a/kv/s/watch?prefix=x", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Scan() // ": watching": the watch is on
	call(t, server, "PUT", "/v1/apps/a/kv/s/keys/x1", `{"n":1}`, "Content-Type", "application/json")
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var got keyJSON
		if err := json.Unmarshal([]byte(data), &got); err != nil || got.Key != "x1" || string(got.Value) != `{"n":1}` {
			t.Errorf("got %s, %v", data, err)
		}
		return
	}
	t.Errorf("the stream ended: %v", lines.Err())
}

func BenchmarkHTTPGet(b *testing.B) {
	server := serve(b)
	call(b, server, "PUT", "/v1/apps/a/kv/s/keys/k", "value")
	client := server.Client()
	for b.Loop() {
		res, err := client.Get(server.URL + "/v1/apps/a/kv/s/keys/k")
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}
