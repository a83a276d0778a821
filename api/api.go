package api

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
)

// Part registers the operations of a service, a trigger or a store.
type Part interface{ Register(huma.API) }

// Tokens tells who holds a bearer token.
type Tokens interface {
	Verify(token string) (mayfly.Caller, error)
}

// Invoker runs calls; *invoke.Invoker is it.
type Invoker interface {
	Invoke(ctx context.Context, req *invoke.Request) (*invoke.Result, error)
}

// Async accepts a call durably and returns its id before it ran.
type Async interface {
	Enqueue(ctx context.Context, req *invoke.Request) (id string, err error)
}

// Grants decides what a function may do.
type Grants interface {
	Authorize(ctx context.Context, who mayfly.Caller, app mayfly.AppName, verb, kind, name string) error
}

// Config configures an API.
type Config struct {
	Node    Node
	Deploys Deploys
	Stats   Stats // nil: lists have no figures
	Invoker Invoker
	Async   Async
	Tokens  Tokens
	Grants  Grants
	Parts   []Part
	Raw     map[string]http.Handler // further paths that need the token, by ServeMux pattern
	Open    map[string]http.Handler // paths that need none, such as the console's files
	Tmp     string                  // folder for what is being received
	Version string
	Log     *slog.Logger
}

// API holds the operations. It starts nothing.
type API struct {
	cfg  Config
	mux  *http.ServeMux
	huma huma.API
}

// New registers all operations.
func New(cfg Config) *API {
	a := &API{cfg: cfg, mux: http.NewServeMux()}
	a.huma = humago.New(a.mux, a.humaConfig())
	a.registerNode()
	a.registerCalls()
	a.registerDeploys()
	for _, p := range cfg.Parts {
		p.Register(a.huma)
	}
	for pattern, h := range cfg.Raw {
		a.mux.Handle(pattern, h)
	}
	return a
}

func (a *API) humaConfig() huma.Config {
	c := huma.DefaultConfig("Mayfly", a.cfg.Version)
	c.Info.Description = "The API of a Mayfly node. Everything the command line and the console do goes through it."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaNamer())
	c.Security = []map[string][]string{{"token": {}}}
	c.DocsPath = ""    // its page loads scripts from elsewhere
	c.SchemasPath = "" // OpenAPI has them
	c.Transformers = append(c.Transformers, emptyLists)
	c.CreateHooks = nil // no $schema member in replies
	return c
}

// schemaNamer names types in the document: a package's name stands before its
// types' names, so that a status of calls and a status of the node are two
// schemas; the root's nouns stand alone. Types without a name, such as a body
// written in place, are told apart by a number.
func schemaNamer() func(reflect.Type, string) string {
	taken := map[string]reflect.Type{}
	return func(t reflect.Type, hint string) string {
		name := schemaName(t, hint)
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		unique := name
		for n := 2; taken[unique] != nil && taken[unique] != t; n++ {
			unique = name + strconv.Itoa(n)
		}
		taken[unique] = t
		return unique
	}
}

func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	pkg := path.Base(t.PkgPath())
	if t.Name() == "" || t.PkgPath() == "" || pkg == "mayfly" || pkg == "api" {
		return name
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + name
}

// OpenAPI is the document of all operations, as JSON.
func (a *API) OpenAPI() ([]byte, error) { return a.huma.OpenAPI().MarshalJSON() }

// Handler serves the API's port.
func (a *API) Handler() http.Handler {
	top := http.NewServeMux()
	for pattern, h := range a.cfg.Open {
		top.Handle(pattern, h)
	}
	top.HandleFunc("GET /openapi.json", a.mux.ServeHTTP)
	top.HandleFunc("GET /openapi.yaml", a.mux.ServeHTTP)
	guarded := a.authenticated(tagged(a.known(a.mux)))
	top.Handle("/v1", guarded)
	top.Handle("/v1/", guarded)
	for pattern := range a.cfg.Raw {
		top.Handle(pattern, guarded)
	}
	if a.cfg.Open["/"] == nil {
		top.Handle("/", a.known(a.mux))
	}
	return top
}

// authenticated asks for the token.
func (a *API) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := bearer(r)
		if token == "" {
			writeProblem(w, mayfly.Errorf(mayfly.Unauthorized, "", "this needs a token: send it as Authorization: Bearer TOKEN"))
			return
		}
		who, err := a.cfg.Tokens.Verify(token)
		if err != nil {
			writeProblem(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), who)))
	})
}

func bearer(r *http.Request) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return strings.TrimSpace(token)
	}
	return ""
}

// known answers paths that there are not as a problem.
func (a *API) known(next *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := next.Handler(r); pattern == "" {
			writeProblem(w, mayfly.Errorf(mayfly.NotFound, "", "the API has no %s %s; /openapi.json lists what it has", r.Method, r.URL.Path))
			return
		}
		next.ServeHTTP(w, r)
	})
}
