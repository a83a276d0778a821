package e2e

import (
	"strings"
	"testing"
)

// TestLeaksAreNotDeployed deploys code with a key in it, which is refused and
// named.
func TestLeaksAreNotDeployed(t *testing.T) {
	n := start(t, t.TempDir(), "serve")
	dir := app(t, map[string]string{
		"mayfly.yaml": "app: leaky\nfunctions:\n  f: {runtime: http, source: ./f, handler: ./run}\n",
		"f/run":       "#!/bin/sh\nexport KEY=AKIA" + strings.Repeat("QRST", 4) + "\n",
	})
	if out, code := n.cli("deploy", dir); code == 0 || !strings.Contains(out, "f/run:2 looks like a credential (AWS access key)") {
		t.Errorf("deploy: status %d\n%s", code, out)
	}
	if out, code := n.cli("deploy", "--help"); code != 0 || !strings.Contains(out, "--allow-leaks") {
		t.Errorf("help: %s", out)
	}
	n.stop()
}
