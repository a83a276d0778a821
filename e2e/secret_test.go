package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// rotating is an app whose functions read a secret's file at each call. Each
// tells which instance it is.
var rotating = map[string]string{
	"mayfly.yaml": `app: rotating
functions:
  py:
    runtime: python
    source: ./py
    handler: app.handler
    secrets: ["KEY:file"]
    keep_alive: 30m
  js:
    runtime: node
    source: ./js
    handler: index.handler
    secrets: ["KEY:file"]
    keep_alive: 30m
  web:
    runtime: http
    source: ./web
    handler: node server.js
    secrets: ["KEY:file"]
    keep_alive: 30m
`,
	"py/app.py": `import uuid
instance = str(uuid.uuid4())
def handler(event, context):
    if event.get("fail"):
        raise ValueError("cannot use " + open("/run/secrets/KEY").read())
    return {"instance": instance, "value": open("/run/secrets/KEY").read()}
`,
	"js/index.js": `const { randomUUID } = require("node:crypto"), { readFileSync } = require("node:fs");
const instance = randomUUID();
exports.handler = async () => ({ instance, value: readFileSync("/run/secrets/KEY", "utf8") });
`,
	"web/server.js": `const { randomUUID } = require("node:crypto"), { readFileSync } = require("node:fs");
const instance = randomUUID();
require("node:http").createServer((q, s) => s.end(JSON.stringify({ instance, value: readFileSync("/run/secrets/KEY", "utf8") }))).listen(process.env.PORT);
`,
}

// TestSecretFilesFollowARotation changes a secret under instances that run, by a
// set and by a staged version, and asks the same instances again.
func TestSecretFilesFollowARotation(t *testing.T) {
	needs(t, "python3", "node")
	n := start(t, t.TempDir(), "serve")
	file := filepath.Join(t.TempDir(), "value")
	set := func(value string, more ...string) {
		t.Helper()
		write(t, file, value)
		if out, code := n.cli(append([]string{"secret", "set", "KEY", "--app", "rotating", "--file", file}, more...)...); code != 0 {
			t.Fatalf("set: %s", out)
		}
	}
	set("first value")
	if out, code := n.cli("deploy", app(t, rotating)); code != 0 {
		t.Fatalf("deploy: %s", out)
	}
	type answer struct{ Instance, Value string }
	ask := func(fn string) (a answer) {
		t.Helper()
		r := n.direct("rotating", fn, "{}")
		if err := json.Unmarshal([]byte(r.body), &a); err != nil {
			t.Fatalf("%s: %d %s", fn, r.status, r.body)
		}
		return a
	}
	if r := n.direct("rotating", "py", `{"fail": true}`); !strings.Contains(r.body, "cannot use [secret]") {
		t.Errorf("what a failure says: %d %s", r.status, r.body)
	}
	var records []byte
	eventually(t, "the failure is recorded", func() bool {
		err := n.client().Do(t.Context(), "GET", "/v1/invocations?app=rotating&function=py", nil, &records)
		return err == nil && strings.Contains(string(records), "cannot use")
	})
	if strings.Contains(string(records), "first value") || !strings.Contains(string(records), "cannot use [secret]") {
		t.Errorf("what its record says: %s", records)
	}
	before := map[string]answer{}
	for _, fn := range []string{"py", "js", "web"} {
		if before[fn] = ask(fn); before[fn].Value != "first value" {
			t.Errorf("%s read %q", fn, before[fn].Value)
		}
	}
	check := func(want string) {
		t.Helper()
		for fn, was := range before {
			if now := ask(fn); now.Value != want || now.Instance != was.Instance {
				t.Errorf("%s: %+v, want %q in the same instance as %+v", fn, now, want, was)
			}
		}
	}
	set("second value")
	check("second value")
	set("third value", "--pending")
	check("second value")
	if out, code := n.cli("secret", "finish", "KEY", "--app", "rotating"); code != 0 {
		t.Fatalf("finish: %s", out)
	}
	check("third value")
	n.stop()
}
