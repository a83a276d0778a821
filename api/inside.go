package api

import (
	"net/http"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// inside is what code in a sandbox may reach, below /v1/apps/ITS-APP/. Each of
// these asks the app's grants; everything else is for people.
var inside = []string{"queues", "topics", "kv", "buckets", "databases", "secrets", "functions", "idempotency"}

// Inside serves the data services to one function. The caller is who says; a
// credential in the request counts for nothing.
func (a *API) Inside(who mayfly.Caller) http.Handler {
	own := "/v1/apps/" + string(who.App) + "/"
	known := a.known(a.mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := reachable(own, r); err != nil {
			writeProblem(w, err)
			return
		}
		known.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), who)))
	})
}

func reachable(own string, r *http.Request) error {
	rest, ok := strings.CutPrefix(r.URL.Path, own)
	if !ok {
		return mayfly.Errorf(mayfly.Denied, "", "a function reaches the services of its own app, below %s", own)
	}
	kind, rest, _ := strings.Cut(rest, "/")
	for _, k := range inside {
		if k != kind {
			continue
		}
		if k == "functions" && !(r.Method == http.MethodPost && strings.HasSuffix(rest, "/invoke")) {
			break
		}
		return nil
	}
	return mayfly.Errorf(mayfly.Denied, "", "%s %s is not for functions", r.Method, r.URL.Path)
}
