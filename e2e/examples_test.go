package e2e

import (
	"strings"
	"testing"
)

// TestHello calls every function of examples/hello, which needs every
// interpreter and Go's toolchain.
func TestHello(t *testing.T) {
	needs(t, "python3", "node")
	n := start(t, t.TempDir(), "dev", "../examples/hello")
	for path, want := range map[string]string{
		"/python/ada":        "Hello, ada!",
		"/python-async/ada":  "Hello, ada!",
		"/wsgi/ada":          "Hello from WSGI: GET /wsgi/ada",
		"/asgi/ada":          "Hello from ASGI: GET /asgi/ada",
		"/node/ada":          "Hello, ada!",
		"/node-callback/ada": "Hello, ada!",
		"/node-stream/ada":   "Hello, ada, piece by piece!",
		"/node-fetch/ada":    "Hello from fetch",
		"/binary/ada":        "Hello, ada!",
		"/http/ada":          "Hello from a server: GET /http/ada",
		"/wasm/ada":          "Hello, ada",
	} {
		if r := n.call("GET", path, ""); r.status != 200 || !strings.Contains(r.body, want) {
			t.Errorf("GET %s: %d %q, want %q", path, r.status, r.body, want)
		}
	}
	n.stop()
}
