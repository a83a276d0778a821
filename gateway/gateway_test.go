package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// invoker answers what a test says, and keeps the last request.
type invoker struct {
	last  *invoke.Request
	reply string
	err   error
}

func (i *invoker) Invoke(_ context.Context, req *invoke.Request) (*invoke.Result, error) {
	i.last = req
	res := &invoke.Result{Invocation: &mayfly.Invocation{ID: req.ID, Version: 3}, Payload: []byte(i.reply)}
	if i.err == nil && req.Inspect != nil {
		return res, req.Inspect(res.Payload, res.Invocation)
	}
	return res, i.err
}

func (i *invoker) Session(context.Context, *invoke.Request) (*invoke.Session, error) { return nil, nil }

func (i *invoker) Enqueue(_ context.Context, req *invoke.Request) (string, error) {
	i.last = req
	return req.ID, i.err
}

type tokens struct{}

func (tokens) Verify(token string) (mayfly.Caller, error) {
	if token != "secret" {
		return mayfly.Caller{}, mayfly.Errorf(mayfly.Unauthorized, "", "wrong token")
	}
	return mayfly.Caller{Kind: mayfly.CallerAdmin}, nil
}

func newGateway(t *testing.T, inv *invoker, apps ...App) *Gateway {
	t.Helper()
	g := New(Config{Invoker: inv, Async: inv, Tokens: tokens{}, Dev: true, Log: slog.New(slog.DiscardHandler)})
	if err := g.Apply(apps); err != nil {
		t.Fatal(err)
	}
	return g
}

func photos() App {
	return App{Name: "photos", Routes: []Route{
		{Pattern: "POST /photos/{id}/thumbnail", Function: "thumbnail"},
		{Pattern: "GET /photos/{id}", Function: "show", CORS: &mayfly.CORS{Origins: []string{"https://a.example"}}},
		{Pattern: "/files/{rest...}", Function: "files"},
		{Pattern: "GET /private", Function: "show", Auth: "token"},
	}}
}

func do(g http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func TestEventIsPayload2(t *testing.T) {
	inv := &invoker{reply: `"ok"`}
	g := newGateway(t, inv, photos())
	do(g, "POST", "http://photos.example.com:8080/photos/a%20b/thumbnail?x=1&x=2&y=%C3%A4", `{"k":"vä"}`,
		"Content-Type", "application/json", "X-Two", "1", "X-Two", "2", "Cookie", "a=1; b=2", "User-Agent", "test",
		"X-Forwarded-For", "10.0.0.1", "X-Forwarded-Proto", "https", "X-Amzn-Trace-Id", "Root=1-00000001-000000000000000000000002;Parent=0000000000000003;Sampled=1")
	var ev mayfly.HTTPRequest
	if err := json.Unmarshal(inv.last.Event, &ev); err != nil {
		t.Fatalf("%v in %s", err, inv.last.Event)
	}
	for _, c := range []struct{ what, got, want string }{
		{"version", ev.Version, "2.0"},
		{"routeKey", ev.RouteKey, "POST /photos/{id}/thumbnail"},
		{"rawPath", ev.RawPath, "/photos/a%20b/thumbnail"},
		{"rawQueryString", ev.RawQueryString, "x=1&x=2&y=%C3%A4"},
		{"x", ev.QueryStringParameters["x"], "1,2"},
		{"y", ev.QueryStringParameters["y"], "ä"},
		{"id", ev.PathParameters["id"], "a b"},
		{"x-two", ev.Headers["x-two"], "1,2"},
		{"host", ev.Headers["host"], "photos.example.com:8080"},
		{"forwarded for", ev.Headers["x-forwarded-for"], "192.0.2.1"},
		{"forwarded port", ev.Headers["x-forwarded-port"], "8080"},
		{"forwarded proto", ev.Headers["x-forwarded-proto"], "http"},
		{"trace for X-Ray", ev.Headers["x-amzn-trace-id"], inv.last.Trace.XRay()},
		{"trace", inv.last.Trace.ID, "00000001000000000000000000000002"},
		{"cookies", strings.Join(ev.Cookies, "|"), "a=1|b=2"},
		{"body", ev.Body, `{"k":"vä"}`},
		{"method", ev.RequestContext.HTTP.Method, "POST"},
		{"agent", ev.RequestContext.HTTP.UserAgent, "test"},
		{"ip", ev.RequestContext.HTTP.SourceIP, "192.0.2.1"},
		{"requestId", ev.RequestContext.RequestID, inv.last.ID},
		{"domainPrefix", ev.RequestContext.DomainPrefix, "photos"},
		{"stage", ev.RequestContext.Stage, "$default"},
	} {
		if c.got != c.want {
			t.Errorf("%s = %q, want %q", c.what, c.got, c.want)
		}
	}
	if ev.IsBase64Encoded {
		t.Error("a JSON body travels base64")
	}
}

func TestBinaryBodyTravelsBase64(t *testing.T) {
	inv := &invoker{reply: `"ok"`}
	g := newGateway(t, inv, photos())
	do(g, "PUT", "/files/a/b.png", "\xff\xd8", "Content-Type", "image/png")
	var ev mayfly.HTTPRequest
	if err := json.Unmarshal(inv.last.Event, &ev); err != nil {
		t.Fatal(err)
	}
	if !ev.IsBase64Encoded || ev.Body != "/9g=" || ev.PathParameters["rest"] != "a/b.png" || ev.RouteKey != "ANY /files/{rest+}" {
		t.Errorf("got %+v", ev)
	}
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		name, result string
		status       int
		body, kind   string
	}{
		{"text", `"hello"`, 200, "hello", "application/json"},
		{"object", `{"a":1}`, 200, `{"a":1}`, "application/json"},
		{"null", `null`, 200, `null`, "application/json"},
		{"response", `{"statusCode":201,"headers":{"content-type":"text/html","x-n":7},"cookies":["a=1"],"body":"<p>"}`, 201, "<p>", "text/html"},
		{"status in quotes", `{"statusCode":"404","body":"no"}`, 404, "no", "application/json"},
		{"base64", `{"statusCode":200,"headers":{"content-type":"image/png"},"body":"/9g=","isBase64Encoded":true}`, 200, "\xff\xd8", "image/png"},
		{"no content", `{"statusCode":204}`, 204, "", ""},
		{"multi value", `{"statusCode":200,"multiValueHeaders":{"X-A":["1","2"]},"body":""}`, 200, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := do(newGateway(t, &invoker{reply: c.result}, photos()), "GET", "/photos/1", "")
			if w.Code != c.status || w.Body.String() != c.body || w.Header().Get("Content-Type") != c.kind {
				t.Errorf("got %d %q %q", w.Code, w.Body, w.Header().Get("Content-Type"))
			}
		})
	}
}

// Adapters from before payload 2.0 tell several cookies apart by the case of
// their headers' names.
func TestCookiesByCase(t *testing.T) {
	w := do(newGateway(t, &invoker{reply: `{"statusCode":200,"headers":{"set-cookie":"a=1","Set-Cookie":"b=2","x-a":"1"},"body":""}`}, photos()), "GET", "/photos/1", "")
	if got := slices.Sorted(slices.Values(w.Header()["Set-Cookie"])); !slices.Equal(got, []string{"a=1", "b=2"}) {
		t.Errorf("%q", got)
	}
}

func TestMalformedRepliesSayWhat(t *testing.T) {
	for _, result := range []string{
		`{"statusCode":99,"body":"x"}`, `{"statusCode":"many"}`, `{"statusCode":200,"body":{"a":1}}`,
		`{"statusCode":200,"body":"%%","isBase64Encoded":true}`, `{"statusCode":200,"headers":[]}`,
	} {
		w := do(newGateway(t, &invoker{reply: result}, photos()), "GET", "/photos/1", "")
		if w.Code != 502 || !strings.Contains(w.Body.String(), "Runtime.MalformedResponse") {
			t.Errorf("%s: %d %s", result, w.Code, w.Body)
		}
	}
}

func TestErrors(t *testing.T) {
	failed := &mayfly.FunctionError{Type: "ValueError", Message: "bad", Trace: []string{"app.py:3"}}
	for _, c := range []struct {
		name, method, target, body string
		err                        error
		header                     []string
		status                     int
		says                       string
	}{
		{"no route", "GET", "/nothing", "", nil, nil, 404, "it has POST /photos/{id}/thumbnail"},
		{"method", "DELETE", "/photos/1", "", nil, nil, 405, "it takes GET"},
		{"function failed", "GET", "/photos/1", "", failed, nil, 502, "ValueError"},
		{"timeout", "GET", "/photos/1", "", &mayfly.FunctionError{Type: mayfly.ErrorTypeTimeout, Message: "too long"}, nil, 504, "too long"},
		{"throttled", "GET", "/photos/1", "", mayfly.Errorf(mayfly.Throttled, "", "full"), nil, 429, `"code":"throttled"`},
		{"no token", "GET", "/private", "", nil, nil, 401, "needs a token"},
		{"wrong token", "POST", "/_fn/photos/show", "{}", nil, []string{"Authorization", "Bearer x"}, 401, "wrong token"},
		{"direct, not JSON", "POST", "/_fn/photos/show", "{", nil, []string{"Authorization", "Bearer secret"}, 400, "not JSON"},
		{"direct, failed", "POST", "/_fn/photos/show", "{}", failed, []string{"Authorization", "Bearer secret"}, 502, `"stackTrace":["app.py:3"]`},
		{"direct, no trace", "POST", "/_fn/photos/show", "{}", &mayfly.FunctionError{Type: mayfly.ErrorTypeExit}, []string{"Authorization", "Bearer secret"}, 502, `"stackTrace":[]`},
		{"direct, GET", "GET", "/_fn/photos/show", "", nil, nil, 405, "with POST"},
		{"too large", "POST", "/photos/1/thumbnail", strings.Repeat("x", int(mayfly.MaxBody)+1), nil, nil, 413, "limit of 6MiB"},
		{"internal", "GET", "/photos/1", "", io.ErrUnexpectedEOF, nil, 500, "internal error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := do(newGateway(t, &invoker{reply: "1", err: c.err}, photos()), c.method, c.target, c.body, c.header...)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if w.Header().Get(ErrorHeader) == "" {
				t.Error("no " + ErrorHeader)
			}
		})
	}
}

// TestTooLargeIsReadByPlainClients sends a body that is refused to the end
// before looking for the answer, as many clients do.
func TestTooLargeIsReadByPlainClients(t *testing.T) {
	srv := httptest.NewServer(newGateway(t, &invoker{reply: "1"}, photos()))
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := strings.Repeat("x", 3*int(mayfly.MaxBody))
	if _, err := fmt.Fprintf(c, "POST /photos/1/thumbnail HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %s", res.Status)
	}
}

func TestDirectCalls(t *testing.T) {
	inv := &invoker{reply: `{"a":1}`}
	g := newGateway(t, inv, photos())
	auth := []string{"Authorization", "Bearer secret"}
	if w := do(g, "POST", "/_fn/photos/show?qualifier=2", `{"n":1}`, auth...); w.Code != 200 || w.Body.String() != `{"a":1}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if inv.last.App != "photos" || inv.last.Function != "show" || inv.last.Qualifier != "2" || string(inv.last.Event) != `{"n":1}` || inv.last.HTTP {
		t.Errorf("got %+v", inv.last)
	}
	w := do(g, "POST", "/_fn/photos/show?async=1", "", auth...)
	var got struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 202 || got.ID != inv.last.ID || string(inv.last.Event) != "{}" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestCORS(t *testing.T) {
	g := newGateway(t, &invoker{reply: "1"}, photos())
	w := do(g, "OPTIONS", "/photos/1", "", "Origin", "https://a.example", "Access-Control-Request-Method", "GET")
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "https://a.example" || w.Header().Get("Access-Control-Allow-Methods") != "GET" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
	w = do(g, "GET", "/photos/1", "", "Origin", "https://b.example")
	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("a foreign origin is allowed")
	}
}

func TestSeveralApps(t *testing.T) {
	inv := &invoker{reply: "1"}
	g := newGateway(t, inv, photos(), App{Name: "shop", Routes: []Route{{Pattern: "GET /cart", Function: "cart"}, {Pattern: "GET /private", Function: "p"}}})
	for _, c := range []struct {
		target string
		status int
		app    mayfly.AppName
	}{
		{"http://x/cart", 200, "shop"},
		{"http://x/photos/1", 200, "photos"},
		{"http://shop.localhost:1/private", 200, "shop"},
		{"http://x/private", 404, ""},
		{"http://shop.localhost:1/photos/1", 404, ""},
	} {
		inv.last = nil
		w := do(g, "GET", c.target, "")
		if w.Code != c.status || (c.app != "" && inv.last.App != c.app) {
			t.Errorf("%s: %d %s", c.target, w.Code, w.Body)
		}
	}
}

func TestConflictingRoutesChangeNothing(t *testing.T) {
	g := newGateway(t, &invoker{reply: "1"}, photos())
	err := g.Apply([]App{{Name: "x", Routes: []Route{{Pattern: "/a/{b}"}, {Pattern: "/{a}/b"}}}})
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Fatalf("err = %v", err)
	}
	if w := do(g, "GET", "/photos/1", ""); w.Code != 200 {
		t.Errorf("the earlier routes are gone: %d", w.Code)
	}
}

// TestStalledBodyIsCutOff sends half a request and waits.
func TestStalledBodyIsCutOff(t *testing.T) {
	inv := &invoker{reply: "1"}
	g := newGateway(t, inv, photos())
	g.cfg.Stall = 50 * time.Millisecond
	srv := httptest.NewServer(g)
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /photos/1/thumbnail HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("the connection is still open: %v", err)
	}
	if !strings.Contains(string(reply), "broke off") || inv.last != nil {
		t.Errorf("got %q", reply)
	}
}

// TestStalledReaderIsCutOff asks for an object that is larger than what the
// connection holds, and takes nothing of it.
func TestStalledReaderIsCutOff(t *testing.T) {
	ended := make(chan error, 1)
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	})
	g := New(Config{Bucket: endless, Stall: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	srv := httptest.NewServer(g)
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /_bucket/a/b/c HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("a client that takes nothing is still served")
	}
}

func TestRouteKeysAreWrittenAsAPIGatewayHasThem(t *testing.T) {
	for pattern, want := range map[string]string{
		"GET /a/{id}": "GET /a/{id}", "/a": "ANY /a", "/files/{rest...}": "ANY /files/{rest+}", "PUT /{all...}": "PUT /{all+}", "GET /{$}": "GET /", "/a/{$}": "ANY /a/",
	} {
		if got := routeKeyOf(pattern); got != want {
			t.Errorf("%s: got %s, want %s", pattern, got, want)
		}
	}
}

func TestDirectCallsHaveOneForm(t *testing.T) {
	g := newGateway(t, &invoker{reply: `"ok"`}, photos())
	for _, path := range []string{"/_fn/", "/_fn/photos", "/_fn/photos/thumbnail/more"} {
		if w := do(g, "POST", "http://localhost"+path, "{}"); w.Code != 404 || !strings.Contains(w.Body.String(), "POST /_fn/APP/FUNCTION") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func FuzzEvent(f *testing.F) {
	f.Add("/photos/1?a=b", "x-a", "v", []byte("body"))
	f.Add("/files/\u2028%00?%zz=1&a=%ff", "cookie", "a=\"\xff;;b", []byte{0, 255})
	f.Fuzz(func(t *testing.T, target, name, value string, body []byte) {
		r, err := http.NewRequest("POST", "http://h/", nil)
		if err != nil {
			t.Skip()
		}
		if u, err := r.URL.Parse(target); err == nil {
			r.URL = u
		}
		if strings.ContainsAny(name, "\"\\") || !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 127 }) {
			t.Skip() // net/http lets only tokens through
		}
		r.Header.Add(name, value)
		b := appendEvent(nil, r, "app", "POST /{a}", "id", body)
		var ev mayfly.HTTPRequest
		if err := json.Unmarshal(b, &ev); err != nil {
			t.Fatalf("%v in %q", err, b)
		}
		if !ev.IsBase64Encoded && ev.Body != string(body) {
			t.Errorf("body %q became %q", body, ev.Body)
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	r := httptest.NewRequest("GET", "/photos/7?a=1", nil)
	r.Header.Set("User-Agent", "bench")
	r.Header.Set("Accept", "*/*")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendEvent(buf[:0], r, "photos", "GET /photos/{id}", "00000000-0000-4000-8000-000000000000", nil)
	}
}

func TestStreamedRepliesGetATypeWhereTheyHaveABody(t *testing.T) {
	g := newGateway(t, &invoker{})
	for status, want := range map[int]string{200: "application/octet-stream", 302: "", 204: ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := io.NopCloser(strings.NewReader(""))
			g.writeStream(w, r, &invoke.Result{Invocation: &mayfly.Invocation{}, Body: body, Meta: &sandbox.Meta{Status: status}})
		}))
		res, err := server.Client().Transport.RoundTrip(httptest.NewRequest("GET", server.URL, nil))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		server.Close()
		if got := res.Header.Get("Content-Type"); res.StatusCode != status || got != want {
			t.Errorf("status %d (want %d), type %q, want %q", res.StatusCode, status, got, want)
		}
	}
}

func TestWholeRepliesSayTheirLength(t *testing.T) {
	for _, c := range []struct{ method, given, body, want string }{
		{"GET", "", "four", "4"}, {"GET", "9", "four", "4"}, {"HEAD", "", "", "0"}, {"HEAD", "9", "", "9"},
	} {
		w := httptest.NewRecorder()
		if c.given != "" {
			w.Header().Set("Content-Length", c.given)
		}
		writeWhole(w, httptest.NewRequest(c.method, "/", nil), 200, []byte(c.body))
		if got := w.Header().Get("Content-Length"); got != c.want || w.Body.String() != c.body {
			t.Errorf("%+v: length %s, body %q", c, got, w.Body)
		}
	}
}

// TestPublicBucketsGetEveryMethod leaves preflights and refusals to the bucket's
// own handler.
func TestPublicBucketsGetEveryMethod(t *testing.T) {
	g := New(Config{Tokens: tokens{}, Log: slog.New(slog.DiscardHandler), Bucket: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path)
	})})
	for _, method := range []string{"GET", "OPTIONS", "PUT"} {
		if w := do(g, method, "/_bucket/a/b/key", ""); w.Body.String() != method+" /_bucket/a/b/key" {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}

// TestRestTakesWhatNoRouteDoes has a site beside functions.
func TestRestTakesWhatNoRouteDoes(t *testing.T) {
	site := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name+" "+r.Method) })
	}
	app := photos()
	app.Rest = site("site")
	inv := &invoker{reply: `"function"`}
	g := newGateway(t, inv, app)
	for ask, want := range map[string]string{
		"GET /": "site GET", "GET /a/b": "site GET", "HEAD /a": "site HEAD", "OPTIONS /a": "site OPTIONS", "POST /a": "site POST",
		"GET /photos/7": "function", "POST /files/x": "function", "GET /photos/7/thumbnail": "site GET",
	} {
		method, path, _ := strings.Cut(ask, " ")
		if w := do(g, method, path, ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q, want %q", ask, w.Code, w.Body, want)
		}
	}
	if w := do(g, "DELETE", "/photos/7", ""); w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Header().Get("Allow"), "GET") {
		t.Errorf("a route's other methods: %d %v", w.Code, w.Header())
	}
	if w := do(g, "OPTIONS", "/photos/7", "", "Origin", "https://a.example", "Access-Control-Request-Method", "GET"); w.Code != http.StatusNoContent {
		t.Errorf("a route's preflight: %d", w.Code)
	}
	// A route of one app comes before the site of another at the plain address.
	if err := g.Apply([]App{app, {Name: "shop", Routes: []Route{{Pattern: "GET /cart", Function: "cart"}}, Rest: site("shop")}}); err != nil {
		t.Fatal(err)
	}
	if w := do(g, "GET", "/cart", ""); w.Body.String() != "function" || inv.last.App != "shop" {
		t.Errorf("a route beside another app's site: %d %q", w.Code, w.Body)
	}
	if w := do(g, "GET", "/page", ""); w.Code != 404 || !strings.Contains(w.Body.String(), "several apps") {
		t.Errorf("two sites: %d %q", w.Code, w.Body)
	}
	if w := do(g, "GET", "http://shop.localhost/page", ""); w.Body.String() != "shop GET" {
		t.Errorf("a site by its app's name: %d %q", w.Code, w.Body)
	}
}

// TestHostsComeFirst serves a host name of its own whole, the platform's paths too.
func TestHostsComeFirst(t *testing.T) {
	g := New(Config{Log: slog.New(slog.DiscardHandler), Hosts: func(host string) http.Handler {
		if host != "own.example" {
			return nil
		}
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "own") })
	}})
	if w := do(g, "GET", "http://own.example/_health", ""); w.Body.String() != "own" {
		t.Errorf("got %q", w.Body)
	}
	if w := do(g, "GET", "http://other.example/_health", ""); !strings.Contains(w.Body.String(), "ok") {
		t.Errorf("got %q", w.Body)
	}
}
