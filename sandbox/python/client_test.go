package python_test

import (
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

func TestClient(t *testing.T) {
	for _, walls := range []string{process.WallsNone, process.WallsAuto} {
		t.Run(walls, func(t *testing.T) {
			p := sandboxtest.NewPlatform()
			spec := bundle(t, "app.handler", map[string]string{"app.py": clientCode})
			spec.Template = true
			sandboxtest.TestClient(t, driverOver(t, sandboxtest.NewLauncher(t, walls, p.Door()), -1), spec, p, "Error")
		})
	}
}

const clientCode = `
import json, mayfly
def compact(v): return json.dumps(v, separators=(",", ":"), sort_keys=True)
json.dumps = (lambda d: lambda v: d(v, separators=(",", ":"), sort_keys=True))(json.dumps)
def failure(f, *a, **k):
    try: f(*a, **k)
    except mayfly.Error as e: return [type(e).__name__, e.code, e.message]
def handler(event, context):
    q, kv = mayfly.queue("jobs"), mayfly.kv("s")
    return [
        q.send({"n": 1}, key="k", delay="30s"), q.send_all([1, 2]),
        mayfly.topic("t").publish({"d": 1}, subject="s", id="e1"),
        kv.get("none", default="d"), kv.put("a/b c", {"v": 1}, ttl="1h"), kv.get("a/b c"), kv.entry("a/b c").revision,
        kv.put("raw", b"\x00\xff"), list(kv.get("raw")), kv.delete("raw"), kv.increment("n", 2),
        list(kv.keys()), [[e.key, list(e.value) if isinstance(e.value, bytes) else e.value] for e in kv.items()],
        failure(kv.put, "a", 1, revision=3), failure(mayfly.kv("nope").get, "a"),
        mayfly.secret("KEY"), mayfly.invoke("other", {"x": 1})["got"], mayfly.invoke("other", {"x": 1}, wait=False), failure(mayfly.invoke, "bad"),
    ]
`
