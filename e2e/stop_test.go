package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCtrlCDrains interrupts the whole process group, as a terminal does, while
// a call runs: it is answered.
func TestCtrlCDrains(t *testing.T) {
	n := start(t, t.TempDir(), "dev", pythonApp(t, `
import time
def handler(event, context):
    print("began", flush=True)
    time.sleep(1)
    return "done"
`))
	answer := make(chan reply, 1)
	go func() {
		r, err := n.try("GET", "/hello", "")
		if err != nil {
			r.body = err.Error()
		}
		answer <- r
	}()
	eventually(t, "the call runs", func() bool { return strings.Contains(n.out.String(), "began") })
	if err := syscall.Kill(-n.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if r := <-answer; r.status != 200 || r.body != "done" {
		t.Errorf("the call under way: %d %q", r.status, r.body)
	}
	n.stop()
}

// TestALoadBalancerSeesTheEnd asks a node that is to stop for its health, as a
// load balancer does before it sends calls elsewhere: until then they are taken.
func TestALoadBalancerSeesTheEnd(t *testing.T) {
	n := start(t, t.TempDir(), "dev", pythonApp(t, version1), "--leave", "5m")
	if r := n.call("GET", "/_health", ""); r.status != 200 {
		t.Fatalf("health: %d %q", r.status, r.body)
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is not healthy", func() bool { return n.call("GET", "/_health", "").status == 503 })
	if r := n.call("GET", "/hello", ""); r.status != 200 || r.body != "one" {
		t.Errorf("a call before the load balancer knows: %d %q", r.status, r.body)
	}
	n.kill()
}

// TestDeployIsAtomicUnderKill kills the node at some moments of a deploy: all of
// the app is the old one or all is the new one.
func TestDeployIsAtomicUnderKill(t *testing.T) {
	needs(t, "python3")
	manifest := "app: atomic\nfunctions:\n"
	for _, fn := range []string{"a", "b", "c"} {
		manifest += fmt.Sprintf("  %s: {runtime: python, source: ./f, handler: app.handler, on: [{http: GET /%s}]}\n", fn, fn)
	}
	dir := app(t, map[string]string{"mayfly.yaml": manifest, "f/app.py": "def handler(event, context):\n    return '0'\n"})
	data := t.TempDir()
	n := start(t, data, "serve")
	if out, code := n.cli("deploy", dir); code != 0 {
		t.Fatalf("deploy: exit %d\n%s", code, out)
	}
	for round := 1; round <= 3; round++ {
		write(t, filepath.Join(dir, "f/app.py"), fmt.Sprintf("def handler(event, context):\n    return '%d'\n", round))
		deploy := exec.Command(binary, "deploy", dir)
		deploy.Env = append(os.Environ(), "MAYFLY_API="+n.API, "MAYFLY_TOKEN="+n.Token)
		if err := deploy.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round) * 100 * time.Millisecond) // any moment will do
		n.kill()
		_ = deploy.Wait() // it may have been told of success or of the end
		n = start(t, data, "serve")
		live := map[string]bool{}
		for _, fn := range []string{"a", "b", "c"} {
			live[n.call("GET", "/"+fn, "").body] = true
		}
		if len(live) != 1 {
			t.Errorf("round %d: functions of different deploys are live: %v", round, live)
		}
	}
	if out, code := n.cli("deploy", dir); code != 0 || n.call("GET", "/c", "").body != "3" {
		t.Errorf("after all that: exit %d\n%s", code, out)
	}
}
