package e2e

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// intruder asks an address as it is told, by the platform's door or, signed with
// its own key, by the one for S3.
const intruder = `
const { createHash, createHmac } = require("node:crypto");
const hash = (data) => createHash("sha256").update(data).digest("hex");
const mac = (key, data) => createHmac("sha256", key).update(data).digest();

function signed(method, path, query, body) {
  const e = process.env, host = new URL(e.AWS_ENDPOINT_URL_S3).host;
  const date = new Date().toISOString().replace(/[-:]|\.\d{3}/g, ""), day = date.slice(0, 8), sum = hash(body);
  const scope = [day, e.AWS_REGION, "s3", "aws4_request"].join("/");
  const names = "host;x-amz-content-sha256;x-amz-date";
  const canonical = [method, path, query, "host:" + host, "x-amz-content-sha256:" + sum, "x-amz-date:" + date, "", names, sum].join("\n");
  let key = "AWS4" + e.AWS_SECRET_ACCESS_KEY;
  for (const part of scope.split("/")) key = mac(key, part);
  const signature = mac(key, ["AWS4-HMAC-SHA256", date, scope, hash(canonical)].join("\n")).toString("hex");
  return { "x-amz-content-sha256": sum, "x-amz-date": date,
    authorization: "AWS4-HMAC-SHA256 Credential=" + e.AWS_ACCESS_KEY_ID + "/" + scope + ", SignedHeaders=" + names + ", Signature=" + signature };
}

exports.handler = async ({ door, method, path, query = "", body = "", headers = {} }) => {
  const s3 = door === "s3";
  const base = s3 ? process.env.AWS_ENDPOINT_URL_S3 : process.env.MAYFLY_ENDPOINT;
  const res = await fetch(base + path + (query && "?" + query), {
    method, headers: s3 ? { ...headers, ...signed(method, path, query, body) } : headers, body: body || undefined });
  return { status: res.status, body: await res.text() };
};
`

// attempt is what the intruder is told to ask.
type attempt struct {
	Door    string            `json:"door"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Query   string            `json:"query,omitempty"`
	Body    string            `json:"body,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}

// ask makes a function of an app ask.
func (n *node) ask(app string, a attempt) (status int, body string) {
	n.t.Helper()
	event, err := json.Marshal(a)
	if err != nil {
		n.t.Fatal(err)
	}
	var out struct {
		Status int
		Body   string
	}
	r := n.direct(app, "f", string(event))
	if err := json.Unmarshal([]byte(r.body), &out); err != nil || out.Status == 0 {
		n.t.Fatalf("%s of %s: %d %s", a.Path, app, r.status, r.body)
	}
	return out.Status, out.Body
}

func doorsApp(t *testing.T, name string) string {
	return app(t, map[string]string{
		"f/index.js": intruder,
		"mayfly.yaml": "app: " + name + `
functions:
  f:
    runtime: node
    source: ./f
    handler: index.handler
    allow: ["* bucket/*", "* kv/*", "* database/*", "* queue/*", "* topic/*", "* secret/*", "* function/*"]
buckets: {files: {}}
kv: {notes: {}}
queues: {jobs: {}}
topics: {news: {}}
databases: {main: {}}
`})
}

// TestDoors lets a function that may do all in its own app reach for what
// belongs to another app, door by door; the same request for its own app
// succeeds.
func TestDoors(t *testing.T) {
	needs(t, "node")
	n := start(t, t.TempDir(), "serve")
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "classified")
	for _, name := range []string{"mine", "theirs"} {
		for _, verb := range [][]string{{"deploy", doorsApp(t, name)}, {"secret", "set", "KEY", "--app", name, "--file", secret}} {
			if out, code := n.cli(verb...); code != 0 {
				t.Fatalf("mayfly %s: status %d\n%s", strings.Join(verb, " "), code, out)
			}
		}
	}
	asJSON := map[string]string{"Content-Type": "application/json"}
	for _, a := range []attempt{
		{Method: "PUT", Path: "/kv/notes/keys/k", Body: "classified"},
		{Method: "GET", Path: "/kv/notes/keys/k"},
		{Method: "GET", Path: "/kv/notes/keys"},
		{Method: "POST", Path: "/kv/notes/increment/n"},
		{Method: "POST", Path: "/kv/notes/batch", Body: `{"operations":[{"op":"put","key":"b","value":"classified"}]}`, Headers: asJSON},
		{Method: "POST", Path: "/databases/main/query", Body: `{"sql":"create table t as select 'classified' as c"}`, Headers: asJSON},
		{Method: "POST", Path: "/databases/main/query", Body: `{"sql":"select * from t"}`, Headers: asJSON},
		{Method: "POST", Path: "/databases/main/v3/pipeline", Body: `{"requests":[{"type":"execute","stmt":{"sql":"select * from t"}}]}`, Headers: asJSON},
		{Method: "GET", Path: "/databases/main/backup"},
		{Method: "PUT", Path: "/buckets/files/objects/a.txt", Body: "classified"},
		{Method: "GET", Path: "/buckets/files/objects/a.txt"},
		{Method: "GET", Path: "/buckets/files/objects"},
		{Method: "POST", Path: "/buckets/files/presign", Body: `{"method":"GET","key":"a.txt","expires":"1m"}`, Headers: asJSON},
		{Method: "POST", Path: "/queues/jobs/messages", Body: `{"body":"classified"}`, Headers: asJSON},
		{Method: "POST", Path: "/queues/jobs/receive", Body: `{}`, Headers: asJSON},
		{Method: "POST", Path: "/topics/news/events", Body: `{"data":{"a":"classified"}}`, Headers: asJSON},
		{Method: "GET", Path: "/kv"},
		{Method: "GET", Path: "/buckets"},
		{Method: "GET", Path: "/secrets"},
		{Method: "GET", Path: "/secrets/KEY/value"},
		{Method: "PUT", Path: "/secrets/KEY", Body: `{"value":"classified"}`, Headers: asJSON},
		{Door: "s3", Method: "PUT", Path: "files/a.txt", Body: "classified"},
		{Door: "s3", Method: "GET", Path: "files/a.txt"},
		{Door: "s3", Method: "GET", Path: "files", Query: "list-type=2"},
		{Method: "DELETE", Path: "/kv/notes/keys/k"},
		{Method: "DELETE", Path: "/secrets/KEY"},
		{Door: "s3", Method: "DELETE", Path: "files/a.txt"},
	} {
		own, foreign := a, a
		if a.Door == "s3" {
			own.Path, foreign.Path = "/"+a.Path, "/mine."+a.Path
		} else {
			own.Path, foreign.Path = "/v1/apps/mine"+a.Path, "/v1/apps/mine"+a.Path
		}
		if status, body := n.ask("theirs", foreign); status != 403 && status != 404 || strings.Contains(body, "classified") {
			t.Errorf("%s %s by another app: %d %s", a.Method, foreign.Path, status, body)
		}
		if status, body := n.ask("mine", own); status >= 300 {
			t.Errorf("%s %s by its own app: %d %s", a.Method, own.Path, status, body)
		}
	}
	if status, body := n.ask("theirs", attempt{Door: "s3", Method: "GET", Path: "/"}); status != 200 || strings.Contains(body, "mine") {
		t.Errorf("buckets that another app lists: %d %s", status, body)
	}
	for _, path := range []string{"/v1/apps/mine/functions/f/invoke", "/v1/apps/mine/kv/notes/watch", "/v1/apps/mine/secrets/KEY/finish", "/v1/apps/mine/databases/main/wire", "/v1/audit", "/v1/s3", "/v1/apps/mine/kv/notes/keys/" + url.PathEscape("../../x"), "/v1/backup", "/v1/apps"} {
		for _, method := range []string{"GET", "POST"} {
			if status, body := n.ask("theirs", attempt{Method: method, Path: path}); status < 400 {
				t.Errorf("%s %s by another app: %d %s", method, path, status, body)
			}
		}
	}
	n.stop()
}
