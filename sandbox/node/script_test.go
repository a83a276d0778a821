package node_test

import (
	"os/exec"
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// TestConnection drives the client's own HTTP against Node's server.
func TestConnection(t *testing.T) {
	script(t, "connection.js", "../worker/modules/mayfly/connection.js")
}

// TestRehearsal: a call of each shape is answered ahead of need, and leaves nothing.
func TestRehearsal(t *testing.T) { script(t, "rehearse.js", "../worker") }

// script runs a file of testdata, which prints ok.
func script(t *testing.T, file, arg string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("this machine has no node")
	}
	out, err := exec.CommandContext(sandboxtest.Within(t), node, "testdata/"+file, arg).CombinedOutput()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
