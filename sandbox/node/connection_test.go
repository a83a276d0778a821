package node_test

import (
	"os/exec"
	"testing"
)

// TestConnection drives the client's own HTTP against Node's server.
func TestConnection(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("this machine has no node")
	}
	out, err := exec.CommandContext(within(t), node, "testdata/connection.js", "../worker/modules/mayfly/connection.js").CombinedOutput()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
