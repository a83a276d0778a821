package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// TestCycles has functions that write what they listen to: each is called as
// often as it may be in a chain of causes, and then no more.
func TestCycles(t *testing.T) {
	needs(t, "python3")
	n := start(t, t.TempDir(), "dev", app(t, map[string]string{"mayfly.yaml": `
app: loop
kv: {own: {}, counts: {}}
buckets: {own: {}}
databases: {main: {migrations: ./m}}
functions:
  by-key:
    runtime: python
    source: ./src
    handler: app.by_key
    allow: [write kv/*]
    on: [{kv: own}]
  by-row:
    runtime: python
    source: ./src
    handler: app.by_row
    allow: [write kv/counts, write database/main]
    on: [{table: main.t, events: [insert]}]
  by-object:
    runtime: python
    source: ./src
    handler: app.by_object
    allow: [write kv/counts, write bucket/own]
    on: [{bucket: own}]
`, "m/1.sql": "CREATE TABLE t (n INTEGER)", "src/app.py": s3Put + `
def api(method, path, body=None):
    url = os.environ["MAYFLY_ENDPOINT"] + "/v1/apps/loop" + path
    data = None if body is None else json.dumps(body).encode()
    reply = urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)).read()
    return json.loads(reply or "null")

def by_key(event, context):
    api("POST", "/kv/counts/increment/key")
    api("PUT", "/kv/own/keys/k", event["Records"][0]["revision"])

def by_row(event, context):
    api("POST", "/kv/counts/increment/row")
    api("POST", "/databases/main/query", {"sql": "insert into t values (1)"})

def by_object(event, context): # by both doors, in turn
    if api("POST", "/kv/counts/increment/object")["value"] % 2:
        s3_put("own", "k", b"1")
    else:
        api("PUT", "/buckets/own/objects/k", 1)
`}))
	client := n.client()
	if err := client.Do(t.Context(), "PUT", "/v1/apps/loop/kv/own/keys/k", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), "POST", "/v1/apps/loop/databases/main/query", map[string]string{"sql": "insert into t values (1)"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), "PUT", "/v1/apps/loop/buckets/own/objects/k", 1, nil); err != nil {
		t.Fatal(err)
	}
	dead := func() (out struct {
		Letters []struct {
			Source, Reason string
		} `json:"dead_letters"`
	}) {
		if err := client.Do(t.Context(), "GET", "/v1/apps/loop/dead-letters", nil, &out); err != nil {
			t.Log(err)
		}
		return out
	}
	eventually(t, "all are stopped", func() bool {
		all := fmt.Sprint(dead())
		return strings.Contains(all, "function/by-key hops") && strings.Contains(all, "function/by-row hops") && strings.Contains(all, "function/by-object hops")
	})
	for _, key := range []string{"key", "row", "object"} {
		var count []byte
		if err := client.Do(t.Context(), "GET", "/v1/apps/loop/kv/counts/keys/"+key, nil, &count); err != nil || string(count) != fmt.Sprint(mayfly.MaxHops+1) {
			t.Errorf("%s: %s calls, %v", key, count, err)
		}
	}
	n.stop()
}
