package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// withCORS adds the headers of a policy to a route's replies.
func withCORS(c *mayfly.CORS, next http.Handler) http.Handler {
	if c == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if allowOrigin(w.Header(), c, r.Header.Get("Origin")) && len(c.Expose) > 0 {
			w.Header().Set("Access-Control-Expose-Headers", strings.Join(c.Expose, ", "))
		}
		next.ServeHTTP(w, r)
	})
}

// preflight answers an OPTIONS request for a route of pattern.
func preflight(c *mayfly.CORS, pattern string) http.Handler {
	methods := c.Methods
	if method, _, ok := strings.Cut(pattern, " "); ok && len(methods) == 0 {
		methods = []string{method}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
		if allowOrigin(h, c, r.Header.Get("Origin")) {
			h.Set("Access-Control-Allow-Methods", orAsked(methods, r.Header.Get("Access-Control-Request-Method")))
			if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
				h.Set("Access-Control-Allow-Headers", orAsked(c.Headers, asked))
			}
			if c.MaxAge > 0 {
				h.Set("Access-Control-Max-Age", strconv.Itoa(int(c.MaxAge.D().Seconds())))
			}
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// allowOrigin reports whether the policy allows origin, and says so in h. With
// credentials the origin is named, since browsers refuse "*" there.
func allowOrigin(h http.Header, c *mayfly.CORS, origin string) bool {
	h.Add("Vary", "Origin")
	if origin == "" {
		return false
	}
	any := len(c.Origins) == 0 || slices.Contains(c.Origins, "*")
	if !any && !slices.Contains(c.Origins, origin) {
		return false
	}
	if any && !c.Credentials {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	return true
}

func orAsked(list []string, asked string) string {
	if len(list) == 0 || slices.Contains(list, "*") {
		return asked
	}
	return strings.Join(list, ", ")
}
