package manifest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// website checks what a bucket says of its site, but for its path, which is among
// the routes.
func (v *validation) website(at string, w *mayfly.Website) {
	if w == nil {
		return
	}
	if strings.Contains(w.Index, "/") {
		v.add(at+".index", "%q is the name of the page in every folder, such as index.html, without a /", w.Index)
	}
	for key, page := range map[string]string{"error": w.Error, "fallback": w.Fallback} {
		if strings.HasPrefix(page, "/") {
			v.add(join(at, key), "%q is an object's key; write %s", page, strings.TrimLeft(page, "/"))
		}
	}
	if len(w.Redirects) > 50 {
		v.add(at+".redirects", "has %d entries; S3 allows 50", len(w.Redirects))
	}
	for i, r := range w.Redirects {
		path := fmt.Sprintf("%s.redirects[%d]", at, i)
		if r.From == "" || r.From == "/" {
			v.add(path+".from", "is missing; it is what the paths to redirect begin with, such as /blog/")
		}
		if r.To == "" || strings.Contains(r.To, "://") && badURL(r.To) {
			v.add(path+".to", "%q is neither a path of the site, such as /news/, nor a URL", r.To)
		}
		if r.Status != 0 && !slices.Contains([]int{301, 302, 303, 307, 308}, r.Status) {
			v.add(path+".status", "%d is no redirect; it is 301, 302, 303, 307 or 308", r.Status)
		}
	}
}

// site checks a website's path: a route where it is below the root. At the root it
// takes what no route does, which must not be nothing.
func (v *validation) site(at string, w *mayfly.Website, mux *http.ServeMux, taken []route) []route {
	if w.Path != "" && !strings.HasPrefix(w.Path, "/") || strings.ContainsAny(w.Path, "{}*") {
		v.add(at, "%q is not the path of a site; write / or /docs/", w.Path)
		return taken
	}
	if w.Root() == "/" {
		v.atRoot(at, taken)
		return append(taken, route{path: at, pattern: "/"})
	}
	for _, pattern := range w.Patterns() {
		r := route{pattern: pattern, path: at}
		if why := badRoute(pattern); why != "" {
			v.add(at, "%s", why)
			return taken
		}
		if err := register(mux, pattern); err != nil {
			v.conflict(r, taken, err)
			return taken
		}
		taken = append(taken, r)
	}
	return taken
}

// atRoot says what leaves nothing to a site at the root.
func (v *validation) atRoot(at string, taken []route) {
	for _, other := range taken {
		mux := http.NewServeMux()
		_ = register(mux, other.pattern)
		probe, err := http.NewRequest(http.MethodGet, "/any/page", nil)
		if err != nil {
			continue
		}
		if _, pattern := mux.Handler(probe); pattern != "" {
			v.add(at, "the site would serve nothing: %q of %s takes every path; give the site or the route a path of its own", other.pattern, parentPath(other.path))
			return
		}
	}
}
