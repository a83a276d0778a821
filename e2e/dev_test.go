package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mayfly-cloud/mayfly/control"
)

const pythonManifest = `
app: demo
functions:
  hello:
    runtime: python
    source: ./hello
    handler: app.handler
    timeout: 5s
    on: [{http: "GET /hello"}]
`

func pythonApp(t *testing.T, code string) string {
	needs(t, "python3")
	return app(t, map[string]string{"mayfly.yaml": pythonManifest, "hello/app.py": code})
}

const version1 = "def handler(event, context):\n    return 'one'\n"

func TestSaveIsLive(t *testing.T) {
	dir := pythonApp(t, version1)
	n := start(t, t.TempDir(), "dev", dir)
	if r := n.call("GET", "/hello", ""); r.body != "one" {
		t.Fatalf("got %d %q", r.status, r.body)
	}
	write(t, filepath.Join(dir, "hello/app.py"), strings.ReplaceAll(version1, "one", "two"))
	eventually(t, "the save is live", func() bool { return n.call("GET", "/hello", "").body == "two" })
	write(t, filepath.Join(dir, "hello/app.py"), "def handler(event, context)\n    return 3\n")
	eventually(t, "the failure is shown", func() bool {
		return strings.Contains(n.out.String(), "app.py") && strings.Contains(n.out.String(), "stays live")
	})
	if r := n.call("GET", "/hello", ""); r.body != "two" {
		t.Errorf("after a broken save: %d %q", r.status, r.body)
	}
	n.stop()
}

// TestFirstDeployFails mends an app whose first deploy failed: only then is it
// told what answers where, and again when that changes.
func TestFirstDeployFails(t *testing.T) {
	dir := pythonApp(t, "def handler(event, context)\n    return 1\n")
	n := start(t, t.TempDir(), "dev", dir)
	if said := n.out.String(); !strings.Contains(said, "not deployed") || strings.Contains(said, "stays live") || strings.Contains(said, "/hello") {
		t.Errorf("after a first deploy that failed: %s", said)
	}
	write(t, filepath.Join(dir, "hello/app.py"), version1)
	eventually(t, "the route is listed", func() bool { return strings.Contains(n.out.String(), n.Gateway+"/hello\n") })
	write(t, filepath.Join(dir, "mayfly.yaml"), strings.ReplaceAll(pythonManifest, "GET /hello", "GET /hallo"))
	eventually(t, "the new route is listed", func() bool { return strings.Contains(n.out.String(), n.Gateway+"/hallo\n") })
	write(t, filepath.Join(dir, "hello/app.py"), strings.ReplaceAll(version1, "one", "two"))
	eventually(t, "the save is live", func() bool { return n.call("GET", "/hallo", "").body == "two" })
	if said := n.out.String(); strings.Count(said, "/hallo\n") != 1 {
		t.Errorf("a save that changes no route lists them: %s", said)
	}
}

// TestSaveMendsCodeThatHangs saves while the first deploy still waits for code
// that never ends: the save is not kept waiting.
func TestSaveMendsCodeThatHangs(t *testing.T) {
	dir := pythonApp(t, version1)
	n := start(t, t.TempDir(), "dev", dir)
	write(t, filepath.Join(dir, "hello/app.py"), "while True: pass\n")
	eventually(t, "what the deploy waits for is said", func() bool { return strings.Contains(n.out.String(), "waiting for hello to start") })
	write(t, filepath.Join(dir, "hello/app.py"), strings.ReplaceAll(version1, "one", "two"))
	eventually(t, "the save is live", func() bool { return n.call("GET", "/hello", "").body == "two" })
	if said := n.out.String(); strings.Contains(said, "not deployed") {
		t.Errorf("the deploy was not given up: %s", said)
	}
}

func TestFailuresOfUserCode(t *testing.T) {
	dir := pythonApp(t, `
import os, sys, time
def handler(event, context):
    what = event.get("what")
    if what == "throw": raise ValueError("bad value")
    if what == "exit": sys.exit(3)
    if what == "kill": os._exit(7)
    if what == "hang": time.sleep(60)
    if what == "set": return {1, 2}
    if what == "flood":
        for i in range(20000): print("x" * 100)
    return what
`)
	n := start(t, t.TempDir(), "dev", dir)
	for _, c := range []struct {
		what   string
		status int
		says   string
	}{
		{"throw", 502, `"errorType":"ValueError"`},
		{"exit", 502, "Runtime.ExitError"},
		{"kill", 502, "Runtime.ExitError"},
		{"hang", 504, "timeout of 5s"},
		{"set", 502, "Runtime.MarshalError"},
		{"fine", 200, `"fine"`},
		{"flood", 200, `"flood"`},
	} {
		r := n.direct("demo", "hello", `{"what":"`+c.what+`"}`)
		if r.status != c.status || !strings.Contains(r.body, c.says) {
			t.Errorf("%s: %d %s", c.what, r.status, r.body)
		}
	}
	if r := n.direct("demo", "helo", "{}"); r.status != 404 || !strings.Contains(r.body, `did you mean \"hello\"`) {
		t.Errorf("unknown function: %d %s", r.status, r.body)
	}
	if r := n.call("POST", "/_fn/demo/hello", "{}", "Authorization", "Bearer nonsense"); r.status != 401 {
		t.Errorf("wrong token: %d %s", r.status, r.body)
	}
}

// TestRedeployUnderLoad changes the version ten times while clients call it.
func TestRedeployUnderLoad(t *testing.T) {
	dir := pythonApp(t, version1)
	n := start(t, t.TempDir(), "dev", dir)
	var stop atomic.Bool
	var calls, failed atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for !stop.Load() {
				r, err := n.try("GET", "/hello", "")
				calls.Add(1)
				if err != nil || r.status != 200 {
					failed.Add(1)
					t.Errorf("call %d: %d %s %v", calls.Load(), r.status, r.body, err)
				}
			}
		})
	}
	for i := range 10 {
		want := "v" + string(rune('a'+i))
		write(t, filepath.Join(dir, "hello/app.py"), strings.ReplaceAll(version1, "one", want))
		eventually(t, want+" is live", func() bool { r, err := n.try("GET", "/hello", ""); return err == nil && r.body == want })
	}
	stop.Store(true)
	clients.Wait()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
}

// TestAcceptedCallsSurviveKill accepts calls, kills the node while they run and
// starts it again: each must have run, as the store that the function writes
// to shows.
func TestAcceptedCallsSurviveKill(t *testing.T) {
	needs(t, "python3")
	dir := app(t, map[string]string{"mayfly.yaml": `
app: demo
kv: {runs: {}}
functions:
  work:
    runtime: python
    source: ./work
    handler: app.handler
    allow: [write kv/runs]
`, "work/app.py": `
import os, time, urllib.request
def handler(event, context):
    time.sleep(0.01)
    url = os.environ["MAYFLY_ENDPOINT"] + "/v1/apps/demo/kv/runs/increment/" + event["key"]
    urllib.request.urlopen(urllib.request.Request(url, method="POST")).read()
`})
	data := t.TempDir()
	n := start(t, data, "dev", dir)
	const accepted = 200
	for i := range accepted {
		r := n.call("POST", "/_fn/demo/work?async=1", fmt.Sprintf(`{"key":"k%03d"}`, i), "Authorization", "Bearer "+n.Token)
		if r.status != 202 {
			t.Fatalf("got %d %s", r.status, r.body)
		}
	}
	n.kill()
	n = start(t, data, "dev", dir)
	twice := 0
	eventually(t, "every accepted call ran", func() bool {
		ran := 0
		twice = 0
		for i := range accepted {
			var raw []byte
			if n.client().Do(t.Context(), "GET", fmt.Sprintf("/v1/apps/demo/kv/runs/keys/k%03d", i), nil, &raw) != nil {
				continue
			}
			ran++
			if strings.TrimSpace(string(raw)) != "1" {
				twice++
			}
		}
		return ran == accepted
	})
	t.Logf("%d accepted before the kill, all ran, %d of them twice", accepted, twice)
}

func TestCanaryAndRollback(t *testing.T) {
	dir := pythonApp(t, version1)
	data := t.TempDir()
	n := start(t, data, "serve")
	for i, want := range []string{"one", "two"} {
		write(t, filepath.Join(dir, "hello/app.py"), strings.ReplaceAll(version1, "one", want))
		if out, code := n.cli("plan", dir); code != 10 {
			t.Fatalf("plan %d: exit %d\n%s", i, code, out)
		}
		if out, code := n.cli("deploy", dir); code != 0 {
			t.Fatalf("deploy %d: exit %d\n%s", i, code, out)
		}
		if r := n.call("GET", "/hello", ""); r.body != want {
			t.Fatalf("got %d %q, want %q", r.status, r.body, want)
		}
	}
	if out, code := n.cli("plan", dir); code != 0 {
		t.Errorf("plan without changes: exit %d\n%s", code, out)
	}
	if out, code := n.cli("promote", "hello", "--version", "1", "--weight", "50"); code != 0 {
		t.Fatalf("promote: exit %d\n%s", code, out)
	}
	seen := map[string]bool{}
	eventually(t, "both versions answer", func() bool { seen[n.call("GET", "/hello", "").body] = true; return len(seen) == 2 })
	if out, code := n.cli("rollback", "hello", "--version", "1"); code != 0 {
		t.Fatalf("rollback: exit %d\n%s", code, out)
	}
	for range 20 {
		if r := n.call("GET", "/hello", ""); r.body != "one" {
			t.Fatalf("after the rollback: %q", r.body)
		}
	}
	historyOf(t, n)
	logsOfNothing(t, n)
	n.stop()
	n = start(t, data, "serve")
	if r := n.call("GET", "/hello", ""); r.body != "one" {
		t.Errorf("after a restart: %d %q", r.status, r.body)
	}
}

// logsOfNothing asks for lines of what is not there, and of what printed nothing.
func logsOfNothing(t *testing.T, n *node) {
	t.Helper()
	for want, args := range map[string][]string{
		`no app has a function "helo"`: {"helo"},
		`did you mean "hello"`:         {"helo", "-f", "--app", "demo"},
		`there is no app "dem"`:        {"--app", "dem"},
	} {
		if out, code := n.cli(append([]string{"logs"}, args...)...); code == 0 || !strings.Contains(out, want) {
			t.Errorf("logs %s: exit %d, want %q\n%s", strings.Join(args, " "), code, want, out)
		}
	}
	if out, code := n.cli("logs", "hello", "--text", "never printed"); code != 0 || !strings.Contains(out, "No line matches") {
		t.Errorf("logs of nothing: exit %d\n%s", code, out)
	}
}

// historyOf lists what was deployed, promoted and rolled back, compares, and goes
// back to the second deploy and from there to the rollback.
func historyOf(t *testing.T, n *node) {
	t.Helper()
	says := func(want string, args ...string) string {
		t.Helper()
		out, code := n.cli(args...)
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("mayfly %s: exit %d, want %q\n%s", strings.Join(args, " "), code, want, out)
		}
		return out
	}
	var all []control.Deployment
	if err := json.Unmarshal([]byte(says("rollback", "deploys", "--json")), &all); err != nil || len(all) != 4 {
		t.Fatalf("deploys: %v, %v", all, err)
	}
	rollback, second := all[0].ID, all[2].ID
	says(rollback+"  live", "deploys")
	says("calls", "deploys", "compare")
	says("~ function hello   version 2 in place of 1", "deploys", "compare", second)
	says("0 added, 1 changed, 0 removed", "deploys", "compare", "live", second)
	says(`"field": "code"`, "deploys", "compare", second, rollback, "--json")
	says("demo is what deploy "+second+" had left", "deploys", "restore", second)
	if r := n.call("GET", "/hello", ""); r.body != "two" {
		t.Errorf("after the restore: %q", r.body)
	}
	says(`"action": "restore"`, "deploys", "restore", rollback, "--json")
	if out, code := n.cli("deploys", "restore", "nothing"); code != 4 || !strings.Contains(out, "mayfly deploys lists the last 6") {
		t.Errorf("an unknown deploy: exit %d\n%s", code, out)
	}
}

func TestNodeRefusesWhatCannotWork(t *testing.T) {
	dir := pythonApp(t, version1)
	data := t.TempDir()
	n := start(t, data, "dev", dir)
	gateway := strings.TrimPrefix(n.Gateway, "http://")
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"port in use", []string{"serve", "--data", t.TempDir(), "--gateway", gateway, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0"}, "--gateway"},
		{"data in use", []string{"serve", "--data", data, "--gateway", "127.0.0.1:0", "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0"}, "another"},
		{"no manifest", []string{"dev", t.TempDir()}, "mayfly.yaml"},
		{"bad address", []string{"serve", "--data", t.TempDir(), "--gateway", "nonsense"}, "127.0.0.1:8080"},
	} {
		out, code := n.cli(c.args...)
		if code == 0 || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit %d\n%s", c.name, code, out)
		}
	}
}
