package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestInvokeLocal calls a function of a folder without a node.
func TestInvokeLocal(t *testing.T) {
	needs(t, "python3")
	dir := app(t, map[string]string{
		"mayfly.yaml":  "app: local\nfunctions:\n  hello: {runtime: python, source: ./hello, handler: app.handler, secrets: [KEY]}\n",
		"hello/app.py": "import os\ndef handler(event, context):\n    print('printed')\n    return [event, len(os.environ['KEY'])]\n",
	})
	local := func(env ...string) (string, string, int) {
		cmd := exec.Command(binary, "invoke", "hello", "--local", "-d", `{"n":1}`)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run() // its status is below
		return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
	}
	if out, said, code := local("KEY=12345"); code != 0 || out != "[{\"n\":1},5]\n" || strings.Contains(said, "12345") {
		t.Errorf("exit %d: %q\n%s", code, out, said)
	}
	if _, said, code := local(); code != 2 || !strings.Contains(said, "KEY=VALUE") {
		t.Errorf("without the secret: exit %d\n%s", code, said)
	}
}

// TestReplayLocal calls the code of a folder with what failed on a node.
func TestReplayLocal(t *testing.T) {
	needs(t, "python3")
	const manifest = "app: shop\nfunctions:\n  pay: {runtime: python, source: ./pay, handler: app.handler, retry: {attempts: 1}}\n"
	n := start(t, t.TempDir(), "dev", app(t, map[string]string{
		"mayfly.yaml": manifest, "pay/app.py": "def handler(event, context):\n    return 100 / event['parts']\n",
	}))
	accepted := n.call("POST", "/_fn/shop/pay?async=1", `{"parts":0}`, "Authorization", "Bearer "+n.Token)
	var call struct{ ID, State string }
	if err := json.Unmarshal([]byte(accepted.body), &call); err != nil || call.ID == "" {
		t.Fatal(accepted, err)
	}
	eventually(t, "the call's input is kept", func() bool {
		out, code := n.cli("replay", call.ID)
		return code != 0 && strings.Contains(out, "it fails as it did") && strings.Contains(out, "ZeroDivisionError")
	})
	replay := func(files map[string]string) (string, int) {
		cmd := exec.Command(binary, "replay", call.ID, "--local")
		cmd.Dir = app(t, files)
		cmd.Env = append(os.Environ(), "MAYFLY_API="+n.API, "MAYFLY_TOKEN="+n.Token)
		out, _ := cmd.CombinedOutput() // its status is below
		return string(out), cmd.ProcessState.ExitCode()
	}
	mended := "def handler(event, context):\n    return 100 / max(event['parts'], 1)\n"
	if out, code := replay(map[string]string{"mayfly.yaml": manifest, "pay/app.py": mended}); code != 0 || out != "100.0\n" {
		t.Errorf("exit %d: %s", code, out)
	}
	other := strings.Replace(manifest, "shop", "other", 1)
	if out, code := replay(map[string]string{"mayfly.yaml": other, "pay/app.py": mended}); code == 0 || !strings.Contains(out, "the call is of the app shop") {
		t.Errorf("exit %d: %s", code, out)
	}
}
