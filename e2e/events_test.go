package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// eventsManifest has a function for each kind of event; each notes what it got
// in the store, under the name of the function.
const eventsManifest = `
app: shop
kv: {seen: {}, carts: {}}
queues: {mail: {attempts: 2, backoff: 10ms..20ms}}
buckets: {uploads: {}, public: {public: true}}
functions:
  from-queue:
    runtime: python
    source: ./src
    handler: app.handler
    allow: [write kv/seen]
    on: [{queue: mail, batch: 5}]
  from-bucket:
    runtime: python
    source: ./src
    handler: app.handler
    allow: [write kv/seen]
    on: [{bucket: uploads, events: [created], prefix: raw/}]
  from-kv:
    runtime: python
    source: ./src
    handler: app.handler
    allow: [write kv/seen]
    on: [{kv: carts, events: [put]}]
  from-schedule:
    runtime: python
    source: ./src
    handler: app.handler
    allow: [write kv/seen]
    on: [{schedule: every 1s}]
  sender:
    runtime: python
    source: ./src
    handler: app.send
    allow: [send queue/mail]
    on: [{http: POST /send}]
  outsider:
    runtime: python
    source: ./src
    handler: app.send
    on: [{http: POST /denied}]
`

const eventsCode = `
import json, os, urllib.request, urllib.error

def api(method, path, body=None):
    url = os.environ["MAYFLY_ENDPOINT"] + "/v1/apps/" + os.environ["MAYFLY_APP"] + path
    data = None if body is None else json.dumps(body).encode()
    req = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    return urllib.request.urlopen(req).read()

def handler(event, context):
    api("PUT", "/kv/seen/keys/" + os.environ["MAYFLY_FUNCTION"], event)

def send(event, context):
    try:
        api("POST", "/queues/mail/messages", {"body": {"hello": event.get("body")}})
    except urllib.error.HTTPError as e:
        return {"statusCode": e.code, "body": e.read().decode()}
    return {"statusCode": 202, "body": "sent"}
`

func TestEventsReachFunctions(t *testing.T) {
	needs(t, "python3")
	n := start(t, t.TempDir(), "dev", app(t, map[string]string{"mayfly.yaml": eventsManifest, "src/app.py": eventsCode}))
	seen := func(fn string) string {
		var raw []byte
		_ = n.client().Do(t.Context(), "GET", "/v1/apps/shop/kv/seen/keys/"+fn, nil, &raw)
		return string(raw)
	}
	reaches := func(fn string, parts ...string) {
		t.Helper()
		eventually(t, fn+" was called", func() bool { return seen(fn) != "" })
		for _, p := range parts {
			if got := seen(fn); !strings.Contains(got, p) {
				t.Errorf("%s got %s, without %s", fn, got, p)
			}
		}
	}
	if r := n.call("POST", "/send", "ada"); r.status != 202 {
		t.Fatalf("send from a function: %d %s", r.status, r.body)
	}
	reaches("from-queue", `"eventSource": "aws:sqs"`, `ada`, `messageId`)
	if r := n.call("POST", "/denied", "ada"); r.status != 403 || !strings.Contains(r.body, "send queue/mail") {
		t.Errorf("send without a grant: %d %s", r.status, r.body)
	}
	if err := n.client().Do(t.Context(), "PUT", "/v1/apps/shop/kv/carts/keys/c1", map[string]int{"n": 1}, nil); err != nil {
		t.Fatal(err)
	}
	reaches("from-kv", `"c1"`, `put`)
	reaches("from-schedule", "Scheduled Event")

	var key struct {
		Access string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	if err := n.client().Do(t.Context(), "GET", "/v1/s3", nil, &key); err != nil {
		t.Fatal(err)
	}
	s3, err := minio.New(strings.TrimPrefix(n.S3, "http://"), &minio.Options{Creds: credentials.NewStaticV4(key.Access, key.Secret, "")})
	if err != nil {
		t.Fatal(err)
	}
	put := func(bucket, name, text string) {
		t.Helper()
		if _, err := s3.PutObject(context.Background(), bucket, name, strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{ContentType: "text/plain"}); err != nil {
			t.Fatal(err)
		}
	}
	put("shop.uploads", "raw/one.txt", "one")
	reaches("from-bucket", "raw/one.txt", "ObjectCreated:Put", `"uploads"`)
	put("shop.public", "hello.txt", "hello")
	if r := n.call("GET", "/_bucket/shop/public/hello.txt", ""); r.status != 200 || r.body != "hello" {
		t.Errorf("public object: %d %q", r.status, r.body)
	}
	if r := n.call("GET", "/_bucket/shop/uploads/raw/one.txt", ""); r.status != 404 && r.status != 403 {
		t.Errorf("private object: %d %q", r.status, r.body)
	}
}

// TestDeadLetters lets a message fail for good and brings it back.
func TestDeadLetters(t *testing.T) {
	needs(t, "python3")
	n := start(t, t.TempDir(), "dev", app(t, map[string]string{"mayfly.yaml": eventsManifest, "src/app.py": "def handler(event, context):\n    raise ValueError('no')\nsend = handler\n"}))
	if out, code := n.cli("queue", "send", "mail", `{"a":1}`); code != 0 {
		t.Fatalf("send: exit %d\n%s", code, out)
	}
	var out string
	eventually(t, "the message is dead", func() bool { out, _ = n.cli("queue", "dead", "mail"); return strings.Contains(out, "ValueError") })
	fmt.Fprintln(t.Output(), out)
}
