package e2e

import (
	"bytes"
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
