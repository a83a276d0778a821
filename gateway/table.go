package gateway

import (
	"net"
	"net/http"
	"sort"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// App is what the gateway serves of one application.
type App struct {
	Name   mayfly.AppName
	Routes []Route
	Rest   http.Handler // of GET and HEAD what no route takes; nil: nothing does
}

// Route binds a pattern of Go's ServeMux to a function, or to a handler of the
// platform such as a webhook's.
type Route struct {
	Pattern  string // "GET /photos/{id}", "/files/{rest...}"
	Function mayfly.FunctionName
	Serves   bool // the function's code may serve HTTP itself
	CORS     *mayfly.CORS
	Auth     string       // "token": a bearer token is needed
	Handler  http.Handler // instead of a function
}

// table is every app's routes. It never changes once made.
type table struct {
	apps   []*appMux // by name
	byName map[string]*appMux
}

// appMux is the routes of one app.
type appMux struct {
	*http.ServeMux
	name   mayfly.AppName
	routes []Route
	cors   *http.ServeMux // paths without methods, for preflights
	rest   http.Handler   // nil: none
}

// Apply replaces all routes. A pattern that conflicts with an earlier one of
// the same app is an Invalid error, and nothing changes.
func (g *Gateway) Apply(apps []App) error {
	t := &table{byName: map[string]*appMux{}}
	for _, a := range apps {
		m, err := g.mux(a)
		if err != nil {
			return err
		}
		t.apps = append(t.apps, m)
		t.byName[string(a.Name)] = m
	}
	sort.Slice(t.apps, func(i, j int) bool { return t.apps[i].name < t.apps[j].name })
	g.table.Store(t)
	return nil
}

func (g *Gateway) mux(a App) (*appMux, error) {
	m := &appMux{ServeMux: http.NewServeMux(), name: a.Name, routes: a.Routes, cors: http.NewServeMux()}
	if a.Rest != nil {
		m.rest = g.traced(a.Name, "", "/", g.paced(a.Rest))
	}
	seen := map[string]bool{}
	for _, r := range a.Routes {
		h := g.function(a.Name, r)
		if r.Handler != nil {
			h = g.paced(r.Handler)
		}
		h = g.traced(a.Name, r.Function, r.Pattern, h)
		if err := handle(m.ServeMux, r.Pattern, withCORS(r.CORS, h)); err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "routes of "+string(a.Name), "%v", err)
		}
		if path := pathOf(r.Pattern); r.CORS != nil && !seen[path] {
			seen[path] = true
			// A conflict here can only be one that the methods kept apart; the
			// first policy of a path then answers its preflights.
			_ = handle(m.cors, path, preflight(r.CORS, r.Pattern))
		}
	}
	return m, nil
}

// handle registers a pattern and turns ServeMux's panic into an error.
func handle(mux *http.ServeMux, pattern string, h http.Handler) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = mayfly.Errorf(mayfly.Invalid, "", "%v", r)
		}
	}()
	mux.Handle(pattern, h)
	return nil
}

func pathOf(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		return strings.TrimSpace(path)
	}
	return pattern
}

func (m *appMux) matches(r *http.Request) bool {
	_, pattern := m.Handler(r)
	return pattern != ""
}

// ServeHTTP serves a request that matches or that the rest takes.
func (m *appMux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.rest != nil && !m.matches(r) {
		m.rest.ServeHTTP(w, r)
		return
	}
	m.ServeMux.ServeHTTP(w, r)
}

// left reports whether a request that no route takes is for the rest. A path
// that routes take with other methods only is theirs, but for reading it.
func (m *appMux) left(r *http.Request) bool {
	switch {
	case m.rest == nil:
		return false
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return true
	}
	if _, pattern := m.cors.Handler(r); r.Method == http.MethodOptions && pattern != "" {
		return false
	}
	return m.allow(r) == ""
}

func (m *appMux) preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h, pattern := m.cors.Handler(r)
	if pattern == "" {
		return false
	}
	h.ServeHTTP(w, r)
	return true
}

// allow is the methods that r's path takes, "" where the path is unknown.
func (m *appMux) allow(r *http.Request) string {
	h, _ := m.Handler(r)
	probe := &headerOnly{header: http.Header{}}
	h.ServeHTTP(probe, r)
	return probe.header.Get("Allow")
}

// headerOnly keeps the headers of a reply and drops the rest.
type headerOnly struct{ header http.Header }

func (w *headerOnly) Header() http.Header         { return w.header }
func (w *headerOnly) Write(p []byte) (int, error) { return len(p), nil }
func (w *headerOnly) WriteHeader(int)             {}

// find is the app for a request: by host name, else the only one, else the only
// one with a route for it. Where there is no route the app is returned with the
// error, if it is known.
func (t *table) find(r *http.Request) (*appMux, error) {
	if m := t.byHost(r.Host); m != nil {
		return m.orNotFound(r)
	}
	switch len(t.apps) {
	case 0:
		return nil, mayfly.Errorf(mayfly.NotFound, "", "no app is deployed here yet; deploy one with: mayfly deploy DIR")
	case 1:
		return t.apps[0].orNotFound(r)
	}
	found, err := t.only(r, (*appMux).matches)
	if found == nil && err == nil {
		found, err = t.only(r, (*appMux).left)
	}
	if found == nil && err == nil {
		err = mayfly.Errorf(mayfly.NotFound, "", "no app has a route for %s %s; each app is at its own host name: %s", r.Method, r.URL.Path, t.hosts(r))
	}
	return found, err
}

// only is the one app that takes a request, nil where none does.
func (t *table) only(r *http.Request, takes func(*appMux, *http.Request) bool) (found *appMux, err error) {
	for _, m := range t.apps {
		if !takes(m, r) {
			continue
		}
		if found != nil {
			return nil, mayfly.Errorf(mayfly.NotFound, "", "several apps have a route for %s; say which one by its host name: %s", r.URL.Path, t.hosts(r))
		}
		found = m
	}
	return found, nil
}

func (m *appMux) orNotFound(r *http.Request) (*appMux, error) {
	if m.matches(r) || m.left(r) {
		return m, nil
	}
	return m, mayfly.Errorf(mayfly.NotFound, "", "app %s has no route for %s %s%s", m.name, r.Method, r.URL.Path, m.known())
}

// known lists a few routes, for whoever mistyped one.
func (m *appMux) known() string {
	if len(m.routes) == 0 {
		return "; none of its functions has an http trigger"
	}
	var list []string
	for _, r := range m.routes[:min(len(m.routes), 5)] {
		list = append(list, r.Pattern)
	}
	if len(m.routes) > 5 {
		list = append(list, "…")
	}
	return "; it has " + strings.Join(list, ", ")
}

func (t *table) hosts(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "80"
	}
	var list []string
	for _, m := range t.apps[:min(len(t.apps), 5)] {
		list = append(list, string(m.name)+".localhost:"+port)
	}
	return strings.Join(list, ", ")
}

// byHost takes APP.anything; the rest of the name is whatever reaches the node.
func (t *table) byHost(host string) *appMux {
	label, _, ok := strings.Cut(host, ".")
	if !ok {
		return nil
	}
	return t.byName[label]
}
