package bucket

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/service"
)

const childVariable = "MAYFLY_TEST_BUCKET_CHILD"

// TestKilledWriter kills a process that puts objects, several times, and finds
// every object that was acknowledged, and an event for each.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		writeForEver(dir)
		return
	}
	dir := t.TempDir()
	told := map[string]bool{}
	var acknowledged []string
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		cmd.Env = append(os.Environ(), childVariable+"="+dir, fmt.Sprint("ROUND=", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 20 + rand.IntN(100); n > 0 && lines.Scan(); n-- {
			acknowledged = append(acknowledged, lines.Text())
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// What was told of before the end, and what a start makes up for.
		b, err := os.ReadFile(filepath.Join(dir, "told"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			told[strings.TrimSpace(line)] = true
		}
	}
	n := start(t, filepath.Join(dir, "s3"))
	for _, e := range n.seen() {
		told[e.Key] = true
	}
	if len(acknowledged) < 50 {
		t.Fatalf("%d writes", len(acknowledged))
	}
	ctx := platform(t.Context())
	for _, key := range acknowledged {
		if !n.stateOf(ctx, n.spec("photos", "heard").store, key).Exists {
			t.Errorf("%s was acknowledged and is not there", key)
		}
		if !told[key] {
			t.Errorf("nobody was told of %s", key)
		}
	}
}

// writeForEver puts objects and says each that was acknowledged. Events are
// accepted by a line in a file.
func writeForEver(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	told, err := os.OpenFile(filepath.Join(dir, "told"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	fail(err)
	authz := identity.NewAuthorizer(nil)
	fail(authz.Apply(manifests()))
	d, err := Open(Config{Dir: filepath.Join(dir, "s3"), Authz: authz, Changed: func(_ context.Context, c service.ObjectChange) error {
		_, err := fmt.Fprintln(told, c.Key)
		return err
	}})
	fail(err)
	ctx := mayfly.WithCaller(context.Background(), mayfly.Caller{Kind: mayfly.CallerPlatform})
	fail(d.Apply(ctx, manifests()))
	fail(d.Recover(ctx))
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s/%d", os.Getenv("ROUND"), i)
		_, err := d.gate.PutObject(ctx, s3PutInput("photos.heard", key, "body"))
		fail(err)
		fmt.Println(key)
	}
}
