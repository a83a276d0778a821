package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/invoke"
	"github.com/mayfly-cloud/mayfly/pool"
)

// node answers for the parts that the API asks.
type node struct {
	Deploys
	last *invoke.Request
	err  error
}

func (node) Status() Status                { return Status{Version: "test"} }
func (node) Doctor(context.Context) Doctor { return Doctor{} }
func (node) Instances() []pool.Stats       { return nil }
func (node) State() *control.State         { return &control.State{} }
func (node) Verify(token string) (mayfly.Caller, error) {
	if token != "secret" {
		return mayfly.Caller{}, mayfly.Errorf(mayfly.Unauthorized, "", "the token is not known")
	}
	return mayfly.Caller{Kind: mayfly.CallerAdmin}, nil
}

func (node) Authorize(_ context.Context, who mayfly.Caller, _ mayfly.AppName, _, _, name string) error {
	if who.Kind == mayfly.CallerFunction && name != "friend" {
		return mayfly.Errorf(mayfly.Denied, "", "add %q", "call function/"+name)
	}
	return nil
}

func (n *node) Invoke(_ context.Context, r *invoke.Request) (*invoke.Result, error) {
	n.last = r
	return &invoke.Result{Payload: r.Event, Invocation: &mayfly.Invocation{ID: r.ID}}, n.err
}

func (n *node) Enqueue(_ context.Context, r *invoke.Request) (string, error) {
	n.last = r
	return r.ID, n.err
}

// part registers an operation like a service's.
type part struct{}

func (part) Register(api huma.API) {
	huma.Register(api, huma.Operation{OperationID: "get-thing", Method: http.MethodGet, Path: "/v1/apps/{app}/kv/{store}"},
		func(ctx context.Context, in *struct {
			App   string `path:"app"`
			Store string `path:"store" maxLength:"5"`
		}) (*reply, error) {
			if in.Store == "gone" {
				return nil, mayfly.Errorf(mayfly.NotFound, "read "+in.Store, "it is gone")
			}
			out := &reply{}
			out.Body.Who = mayfly.CallerFrom(ctx).String()
			return out, nil
		})
}

type reply struct {
	Body struct {
		Who  string
		List []string `json:"list"`
		More []string `json:"more,omitempty"`
	}
}

func newAPI(n *node) *API {
	return New(Config{Node: n, Deploys: n, Invoker: n, Async: n, Tokens: n, Grants: n, Parts: []Part{part{}}, Version: "test", Log: slog.New(slog.DiscardHandler)})
}

func do(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var admin = []string{"Authorization", "Bearer secret"}

func TestEveryErrorIsAProblem(t *testing.T) {
	n := &node{}
	h := newAPI(n).Handler()
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		err                      error
		status                   int
		code                     mayfly.Code
		says                     string
	}{
		{"no token", "GET", "/v1/node", "", nil, nil, 401, mayfly.Unauthorized, "token"},
		{"no such path", "GET", "/v1/nothing", "", admin, nil, 404, mayfly.NotFound, "/openapi.json"},
		{"a part's error", "GET", "/v1/apps/a/kv/gone", "", admin, nil, 404, mayfly.NotFound, "it is gone"},
		{"an invalid parameter", "GET", "/v1/apps/a/kv/muchtoolong", "", admin, nil, 400, mayfly.Invalid, "path.store"},
		{"not JSON", "POST", "/v1/apps/a/functions/f/invoke", "{", admin, nil, 400, mayfly.Invalid, "not JSON"},
		{"throttled", "POST", "/v1/apps/a/functions/f/invoke", "{}", admin, mayfly.Errorf(mayfly.Throttled, "", "full"), 429, mayfly.Throttled, "full"},
		{"unknown app", "GET", "/v1/apps/a", "", admin, nil, 404, mayfly.NotFound, "no app"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.err = c.err
			w := do(h, c.method, c.path, c.body, c.header...)
			var p mayfly.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			if w.Code != c.status || p.Status != c.status || p.Code != c.code || !strings.Contains(p.Detail, c.says) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if kind := w.Header().Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("content type %q", kind)
			}
		})
	}
}

func TestListsAreNeverNull(t *testing.T) {
	w := do(newAPI(&node{}).Handler(), "GET", "/v1/apps/a/kv/here", "", admin...)
	if got := strings.TrimSpace(w.Body.String()); got != `{"Who":"admin","list":[]}` {
		t.Error(got)
	}
}

func TestInvoke(t *testing.T) {
	n := &node{}
	h := newAPI(n).Handler()
	w := do(h, "POST", "/v1/apps/a/functions/f/invoke?qualifier=3", `{"n":1}`, append(admin, "Content-Type", "text/plain")...)
	if w.Code != 200 || w.Body.String() != `{"n":1}` || n.last.Qualifier != "3" || n.last.App != "a" || n.last.Function != "f" {
		t.Errorf("got %d %s for %+v", w.Code, w.Body, n.last)
	}
	n.err = &mayfly.FunctionError{Type: "ValueError", Message: "bad", Trace: []string{"x"}}
	w = do(h, "POST", "/v1/apps/a/functions/f/invoke", "", admin...)
	var f mayfly.FunctionError
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || w.Code != 502 || f.Type != "ValueError" || w.Header().Get("X-Mayfly-Error") != "function_failed" {
		t.Errorf("got %d %s %v", w.Code, w.Body, w.Header())
	}
}

func TestInsideSeesItsOwnAppOnly(t *testing.T) {
	n := &node{}
	h := newAPI(n).Inside(mayfly.Caller{Kind: mayfly.CallerFunction, App: "a", Function: "f"})
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v1/apps/a/kv/s", 200},
		{"GET", "/v1/apps/b/kv/s", 403},
		{"GET", "/v1/apps/a/../b/kv/s", 403},
		{"GET", "/v1/node", 403},
		{"DELETE", "/v1/apps/a", 403},
		{"POST", "/v1/deploys", 403},
		{"GET", "/v1/apps/a/functions/f", 403},
		{"POST", "/v1/apps/a/functions/friend/invoke", 200},
		{"POST", "/v1/apps/a/functions/other/invoke", 403},
		{"POST", "/v1/apps/a/functions/friend/promote", 403},
	} {
		// A token in the request counts for nothing: the listener tells who calls.
		if w := do(h, c.method, c.path, "{}", admin...); w.Code != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if n.last.Hops != 1 {
		t.Errorf("hops = %d", n.last.Hops)
	}
}

func TestOpenAPIDescribesAll(t *testing.T) {
	w := do(newAPI(&node{}).Handler(), "GET", "/openapi.json", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Paths["/v1/deploys"] == nil || doc.Paths["/v1/apps/{app}/kv/{store}"] == nil {
		t.Errorf("got %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
}
