package bucket

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// TestSDKForJavaScript runs Amazon's SDK as a function does: behind a door, with
// nothing but its variables.
func TestSDKForJavaScript(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a package")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "@aws-sdk/client-s3@3")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install the SDK here: %v\n%.500s", err, out)
	}
	script, err := os.ReadFile("testdata/s3.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "s3.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, t.TempDir())
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		n.Serve(door, mayfly.Caller{Kind: mayfly.CallerFunction, App: "photos", Function: "f"})
	}()
	defer func() { _ = door.Close(); <-served }()
	cmd := exec.CommandContext(ctx, "node", "s3.mjs")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "AWS_ENDPOINT_URL_S3=http://" + door.Addr().String()}
	for name, value := range n.Environ(manifests()[0], "f") {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "ok") {
		t.Errorf("%v\n%s", err, out)
	}
}
