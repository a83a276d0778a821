package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWebsiteBesideFunctions fills an app's site from a folder and asks for its
// pages, and for a function's route among them, at the app's own address.
func TestWebsiteBesideFunctions(t *testing.T) {
	needs(t, "python3")
	dir := app(t, map[string]string{
		"mayfly.yaml": `app: shop
functions:
  api: {runtime: python, source: ./api, handler: app.handler, on: [{http: "/api/{rest...}"}]}
buckets:
  site: {website: {error: 404.html, redirects: [{from: /old/, to: /docs/}]}}
`,
		"api/app.py":             "def handler(event, context):\n    return {'path': event['rawPath']}\n",
		"public/index.html":      "home",
		"public/404.html":        "none",
		"public/docs/index.html": "docs",
		"public/style.css":       "a {}",
	})
	n := start(t, t.TempDir(), "serve")
	public := filepath.Join(dir, "public")
	for _, c := range []struct{ args, want string }{
		{"deploy " + dir, "shop is live"},
		{"bucket sync " + public + " site", "4 put, 0 removed, 0 the same"},
		{"bucket sync " + public + " site --delete", "0 put, 0 removed, 4 the same"},
	} {
		if out, code := n.cli(strings.Fields(c.args)...); code != 0 || !strings.Contains(out, c.want) {
			t.Fatalf("%s: %d %s", c.args, code, out)
		}
	}
	n.pages(map[string]string{
		"/": "200 home", "/docs/": "200 docs", "/style.css": "200 a {}", "/none": "404 none", "/api/x": `200 {"path":"/api/x"}`,
	})
	if r := n.call("HEAD", "/docs/", ""); r.status != 200 || r.body != "" || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Errorf("HEAD: %d %v %q", r.status, r.header, r.body)
	}
	if r := n.call("GET", "/", "", "If-None-Match", n.call("GET", "/", "").header.Get("ETag")); r.status != http.StatusNotModified {
		t.Errorf("with its ETag: %d", r.status)
	}
	if r := n.call("POST", "/", ""); r.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", r.status)
	}
	// A new version of the folder; a page of it is gone.
	write(t, filepath.Join(public, "index.html"), "new home")
	if err := os.RemoveAll(filepath.Join(public, "docs")); err != nil {
		t.Fatal(err)
	}
	if out, code := n.cli("bucket", "sync", public, "site", "--delete"); code != 0 || !strings.Contains(out, "1 put, 1 removed, 2 the same") {
		t.Errorf("sync: %d %s", code, out)
	}
	n.pages(map[string]string{"/": "200 new home", "/docs/": "404 none"})
	n.stop()
}

// pages asks for paths and wants STATUS BODY.
func (n *node) pages(want map[string]string) {
	n.t.Helper()
	for path, want := range want {
		r := n.call("GET", path, "")
		if got := fmt.Sprint(r.status, " ", strings.ReplaceAll(r.body, `": "`, `":"`)); got != want {
			n.t.Errorf("%s: %d %q, want %s", path, r.status, r.body, want)
		}
	}
}

// TestKeyOfATool drives s3cmd with a key for one bucket, until it is revoked.
func TestKeyOfATool(t *testing.T) {
	needs(t, "s3cmd")
	n := start(t, t.TempDir(), "serve")
	if out, code := n.cli("deploy", app(t, map[string]string{"mayfly.yaml": "app: photos\nbuckets: {uploads: {}, private: {}}\n"})); code != 0 {
		t.Fatalf("deploy: %s", out)
	}
	out, code := n.cli("bucket", "key", "create", "tool", "--write", "uploads", "--expires", "1h")
	if code != 0 {
		t.Fatalf("create: %s", out)
	}
	key := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		key[name] = value
	}
	host := strings.TrimPrefix(n.S3, "http://")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.txt"), "hello")
	write(t, filepath.Join(dir, "cfg"), "[default]\naccess_key = "+key["AWS_ACCESS_KEY_ID"]+"\nsecret_key = "+key["AWS_SECRET_ACCESS_KEY"]+
		"\nhost_base = "+host+"\nhost_bucket = "+host+"\nuse_https = False\nbucket_location = us-east-1\n")
	run := func(args ...string) (string, error) {
		cmd := exec.Command("s3cmd", append([]string{"-c", filepath.Join(dir, "cfg")}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("put", filepath.Join(dir, "a.txt"), "s3://uploads/a.txt"); err != nil {
		t.Errorf("put: %v\n%s", err, out)
	}
	if out, err := run("ls"); err != nil || !strings.Contains(out, "s3://uploads") || strings.Contains(out, "private") {
		t.Errorf("buckets: %v\n%s", err, out)
	}
	if out, err := run("put", filepath.Join(dir, "a.txt"), "s3://private/a.txt"); err == nil {
		t.Errorf("a bucket that the key is not for: %s", out)
	}
	if out, code := n.cli("bucket", "key", "list"); code != 0 || !strings.Contains(out, "* bucket/uploads") || strings.Contains(out, key["AWS_SECRET_ACCESS_KEY"]) {
		t.Errorf("list: %d %s", code, out)
	}
	if out, code := n.cli("bucket", "key", "revoke", "tool", "--json"); code != 0 || !strings.Contains(out, `"done": "tool is revoked"`) {
		t.Errorf("revoke: %d %s", code, out)
	}
	if out, code := n.cli("bucket", "rm", "uploads/a.txt", "--json"); code != 0 || !strings.Contains(out, `"done": "uploads/a.txt is removed"`) {
		t.Errorf("rm: %d %s", code, out)
	}
	if out, err := run("ls", "s3://uploads"); err == nil {
		t.Errorf("a revoked key lists %s", out)
	}
	eventually(t, "the audit has it", func() bool {
		out, _ := n.cli("audit")
		return strings.Contains(out, "revoke key/tool") && strings.Contains(out, "write bucket/uploads")
	})
	n.stop()
}
