package manifest

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// methods that a route may name.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// reserved are the gateway's own paths.
var reserved = []string{"/_fn/", "/_bucket/", "/_health/", "/_mayfly/"}

type route struct{ pattern, path string }

// routes checks every HTTP route, webhook path and website's path with Go's ServeMux itself,
// which is what the gateway uses, so that both agree on what conflicts.
func (v *validation) routes() {
	mux := http.NewServeMux()
	var taken []route
	for _, name := range slices.Sorted(maps.Keys(v.m.Functions)) {
		for i, t := range first(v.m.Functions[name], &mayfly.Function{}).On {
			at := fmt.Sprintf("functions.%s.on[%d]", name, i)
			r := route{pattern: t.HTTP, path: at + ".http"}
			if t.Webhook != "" {
				r = route{pattern: "POST " + t.Webhook, path: at + ".webhook"}
			}
			if t.HTTP == "" && t.Webhook == "" {
				continue
			}
			if why := badRoute(r.pattern); why != "" {
				v.add(r.path, "%s", why)
				continue
			}
			if err := register(mux, r.pattern); err != nil {
				v.conflict(r, taken, err)
				continue
			}
			taken = append(taken, r)
		}
	}
	each("buckets", v.m.Buckets, func(at, _ string, b *mayfly.Bucket) {
		if b.Website != nil {
			taken = v.site(at+".website.path", b.Website, mux, taken)
		}
	})
}

func (v *validation) conflict(r route, taken []route, err error) {
	for _, other := range taken {
		mux := http.NewServeMux()
		_ = register(mux, other.pattern)
		if register(mux, r.pattern) == nil {
			continue
		}
		if other.pattern == r.pattern {
			v.add(r.path, "the route %q is already that of %s", r.pattern, parentPath(other.path))
			return
		}
		v.add(r.path, "the route %q conflicts with %q of %s: some requests fit both and neither is more specific; make one narrower in both its method and its path", r.pattern, other.pattern, parentPath(other.path))
		return
	}
	v.add(r.path, "%q is not a route: %v", r.pattern, err)
}

// register is mux.Handle with an error in place of its panic.
func register(mux *http.ServeMux, pattern string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	mux.Handle(pattern, http.NotFoundHandler())
	return nil
}

var parsing = regexp.MustCompile(`^parsing ".*?": (at offset \d+: )?`)

// badRoute says what is wrong with a route by itself.
func badRoute(pattern string) string {
	method, path, hasMethod := strings.Cut(pattern, " ")
	path = strings.TrimLeft(path, " \t")
	if !hasMethod {
		method, path = "", pattern
	}
	switch {
	case method != "" && !slices.Contains(methods, method):
		up := strings.ToUpper(method)
		if slices.Contains(methods, up) {
			return fmt.Sprintf("%q is not a method; write %s", method, up)
		}
		return fmt.Sprintf("%q is not a method; it is %s, or none for all%s", method, oneOf(methods), hint(up, methods))
	case !strings.HasPrefix(path, "/"):
		return fmt.Sprintf("%q is not a route; write METHOD /path/{id} or /path", pattern)
	case strings.ContainsAny(path, "?#"):
		return fmt.Sprintf("%q: a route is a path only; read the query in the function", pattern)
	}
	for _, r := range reserved {
		if strings.HasPrefix(path, r) || path+"/" == r {
			return fmt.Sprintf("%s is a path of the platform; choose another", r)
		}
	}
	if better := otherStyle(path); better != path {
		return fmt.Sprintf("%q is not a route as Mayfly has them; write %s", pattern, strings.TrimSpace(method+" "+better))
	}
	if err := register(http.NewServeMux(), pattern); err != nil {
		return fmt.Sprintf("%q is not a route: %s", pattern, parsing.ReplaceAllString(err.Error(), ""))
	}
	return ""
}

var (
	colonParameter = regexp.MustCompile(`/:(\w+)`)
	plusParameter  = regexp.MustCompile(`\{(\w+)\+\}$`)
	starRest       = regexp.MustCompile(`/\*$`)
)

// otherStyle is a path with the parameters of web frameworks and API Gateway
// (/a/:id, /a/{proxy+}, /a/*) as Go's ServeMux has them.
func otherStyle(path string) string {
	path = colonParameter.ReplaceAllString(path, "/{$1}")
	path = plusParameter.ReplaceAllString(path, "{$1...}")
	return starRest.ReplaceAllString(path, "/{rest...}")
}
