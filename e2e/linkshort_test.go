package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestLinkshort shortens, follows, counts and removes a link: three languages
// over two stores.
func TestLinkshort(t *testing.T) {
	needs(t, "python3", "node")
	n := start(t, t.TempDir(), "dev", "../examples/linkshort")
	if r := n.call("GET", "/", ""); r.status != 200 || !strings.Contains(r.body, "<title>linkshort</title>") {
		t.Errorf("page: %d %.80q", r.status, r.body)
	}
	target := `{"url": "http://127.0.0.1:1/a?b=c", "code": "there"}`
	for _, want := range []int{201, 409} {
		if r := n.call("POST", "/api/links", target); r.status != want {
			t.Errorf("create: %d %s, want %d", r.status, r.body, want)
		}
	}
	if r := n.call("POST", "/api/links", `{"url": "ftp://x"}`); r.status != 400 {
		t.Errorf("create a link to no web page: %d %s", r.status, r.body)
	}
	straight := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range 3 {
		res, err := straight.Get(n.Gateway + "/there")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 302 || res.Header.Get("Location") != "http://127.0.0.1:1/a?b=c" {
			t.Errorf("follow: %d %v", res.StatusCode, res.Header)
		}
	}
	if r := n.call("GET", "/api/stats", ""); !strings.Contains(r.body, `"clicks":3`) || !strings.Contains(r.body, `["127.0.0.1",3]`) {
		t.Errorf("stats: %d %s", r.status, r.body)
	}
	if r := n.call("DELETE", "/api/links/there", ""); r.status != 204 {
		t.Errorf("remove: %d %s", r.status, r.body)
	}
	if r := n.call("GET", "/there", ""); r.status != 404 {
		t.Errorf("follow a removed link: %d %s", r.status, r.body)
	}
	if r := n.call("GET", "/api/links", ""); r.body != `{"links":[]}` {
		t.Errorf("list: %s", r.body)
	}
	n.stop()
}
