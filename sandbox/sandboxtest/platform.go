package sandboxtest

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Platform answers a function's client library as the platform's API does, and
// keeps what was asked.
type Platform struct {
	mu      sync.Mutex
	asked   []string          // guarded by mu; "METHOD path body"
	headers []http.Header     // guarded by mu
	store   map[string]string // guarded by mu
	conns   map[string]bool   // guarded by mu
}

// NewPlatform is one whose store is empty.
func NewPlatform() *Platform {
	return &Platform{store: map[string]string{}, conns: map[string]bool{}}
}

// Door leads to p from inside a sandbox.
func (p *Platform) Door() process.Door {
	return process.Door{Port: 9002, Env: []string{"MAYFLY_ENDPOINT=http://{addr}"}, Serve: func(l net.Listener, _ mayfly.Caller) {
		s := httptest.NewUnstartedServer(p)
		_ = s.Listener.Close()
		s.Listener = l
		_ = s.Config.Serve(l)
	}}
}

// ServeHTTP answers a request of the client library of Node or Python.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r.Method+" "+r.URL.RequestURI()+" "+compact(string(body)))
	p.headers = append(p.headers, r.Header)
	p.conns[r.RemoteAddr] = true
	reply := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/apps/app/kv/s/keys/"):
		p.serveKey(w, r, string(body))
	case strings.HasSuffix(r.URL.Path, "/queues/jobs/messages"):
		reply(map[string]any{"messages": []map[string]string{{"id": "m1"}, {"id": "m2"}}})
	case strings.HasSuffix(r.URL.Path, "/topics/t/events"):
		reply(map[string]any{"events": []any{}})
	case strings.HasSuffix(r.URL.Path, "/secrets/KEY/value"):
		reply(map[string]any{"version": 1, "value": "hidden"})
	case strings.HasSuffix(r.URL.Path, "/functions/other/invoke"):
		reply(map[string]any{"id": "call", "got": json.RawMessage(body)})
	case strings.HasSuffix(r.URL.Path, "/functions/bad/invoke"):
		w.WriteHeader(http.StatusBadGateway)
		reply(mayfly.FunctionError{Type: "E", Message: "m", Trace: []string{"at"}})
	case strings.HasSuffix(r.URL.Path, "/increment/n"):
		reply(map[string]any{"revision": 1, "found": false, "value": 5})
	case strings.HasSuffix(r.URL.Path, "/kv/s/keys"):
		page := map[string]any{"keys": []map[string]any{{"key": "a", "revision": 1, "value": 1}}, "next": "a"}
		if r.URL.Query().Get("after") != "" {
			page = map[string]any{"keys": []map[string]any{{"key": "b", "revision": 2, "base64": "AP8="}}}
		}
		reply(page)
	default:
		problem(w, mayfly.NotFound, "app app declares no store; see the manifest")
	}
}

// serveKey answers for a key of the store. The caller holds mu.
func (p *Platform) serveKey(w http.ResponseWriter, r *http.Request, body string) {
	key := strings.TrimPrefix(r.URL.Path, "/v1/apps/app/kv/s/keys/")
	switch {
	case r.Method == http.MethodGet && p.store[key] == "":
		problem(w, mayfly.NotFound, "store s has no such key")
	case r.Method == http.MethodGet:
		kind, data, _ := strings.Cut(p.store[key], "|")
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Mayfly-Revision", "7")
		_, _ = io.WriteString(w, data)
	case r.Method == http.MethodPut && r.Header.Get("If-Match") == `"3"`:
		problem(w, mayfly.Conflict, "another revision")
	case r.Method == http.MethodPut:
		p.store[key] = r.Header.Get("Content-Type") + "|" + body
		_, _ = io.WriteString(w, `{"revision": 8, "found": false}`)
	default:
		_, _ = io.WriteString(w, `{"revision": 9, "found": true}`)
	}
}

func problem(w http.ResponseWriter, code mayfly.Code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code.HTTPStatus())
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "detail": detail, "status": code.HTTPStatus()})
}

// TestClient has a function use every call of its language's client library
// once, and compares what the platform was asked and what the function saw.
// Errors of the library are of the type named failure.
func TestClient(t *testing.T, d sandbox.Driver, spec *sandbox.Spec, p *Platform, failure string) {
	t.Helper()
	if err := d.Prepare(Within(t), Complete(spec)); err != nil {
		t.Fatal(err)
	}
	f := Start(t, d, spec)
	trace := mayfly.NewTrace()
	reply, err := f.Instance.Call(Within(t), &sandbox.Call{ID: "a", Trace: trace, Hops: 3, Event: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(clientSaw, "FAILURE", failure); compact(string(reply.Payload)) != compact(want) {
		t.Errorf("the function saw\n%s, want\n%s", reply.Payload, want)
	}
	p.check(t, trace)
}

// check compares what the platform was asked.
func (p *Platform) check(t *testing.T, trace mayfly.Trace) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := strings.Join(p.asked, "\n")
	for _, want := range clientAsks {
		if !strings.Contains(got, want) {
			t.Errorf("nobody asked %s; asked was\n%s", want, got)
		}
	}
	for _, h := range p.headers {
		if h.Get("Traceparent") != trace.Header() || h.Get("X-Mayfly-Hops") != "3" {
			t.Errorf("a request has the headers %v", h)
			break
		}
	}
	if len(p.conns) != 1 {
		t.Errorf("%d connections were made, want 1", len(p.conns))
	}
}

var clientAsks = []string{
	`POST /v1/apps/app/queues/jobs/messages {"body":{"n":1},"delay":"30s","key":"k"}`,
	`POST /v1/apps/app/queues/jobs/messages {"messages":[{"body":1},{"body":2}]}`,
	`POST /v1/apps/app/topics/t/events {`,
	`"type":"t"`, `"source":"/app/fn"`, `"subject":"s"`, `"id":"e1"`, `"data":{"d":1}`,
	`PUT /v1/apps/app/kv/s/keys/a%2Fb%20c?ttl=1h {"v":1}`,
	`GET /v1/apps/app/kv/s/keys/a%2Fb%20c `,
	"PUT /v1/apps/app/kv/s/keys/raw \x00\xff",
	`DELETE /v1/apps/app/kv/s/keys/raw `,
	`POST /v1/apps/app/kv/s/increment/n?by=2 `,
	`POST /v1/apps/app/functions/other/invoke {"x":1}`,
	`POST /v1/apps/app/functions/other/invoke?async=true {"x":1}`,
}

// clientSaw is what the calls return, in their order; keys of objects are sorted.
const clientSaw = `["m1",["m1","m2"],"e1","d",8,{"v":1},7,8,[0,255],true,5,["a","b"],[["a",1],["b",[0,255]]],` +
	`["FAILURE","conflict","another revision"],["FAILURE","not_found","app app declares no store; see the manifest"],` +
	`"hidden",{"x":1},"call",["FunctionError","function_failed","E: m"]]`
