package bucket

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/service/servicetest"
)

// TestKilledWriter kills a process that puts objects, several times, and finds
// every object that was acknowledged, and an event for each.
func TestKilledWriter(t *testing.T) {
	told := map[string]bool{}
	var acknowledged []string
	dir := servicetest.Kill(t, 20, 120, writeForEver, func(line string) { acknowledged = append(acknowledged, line) }, func(dir string) {
		// What was told of before the end, and what a start makes up for.
		b, err := os.ReadFile(filepath.Join(dir, "told"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			told[strings.TrimSpace(line)] = true
		}
	})
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
func writeForEver(dir, round string) {
	told, err := os.OpenFile(filepath.Join(dir, "told"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	servicetest.Must(err)
	authz := identity.NewAuthorizer(nil)
	servicetest.Must(authz.Apply(manifests()))
	d, err := Open(Config{Dir: filepath.Join(dir, "s3"), Authz: authz, Changed: func(_ context.Context, c service.ObjectChange) error {
		_, err := fmt.Fprintln(told, c.Key)
		return err
	}})
	servicetest.Must(err)
	ctx := mayfly.WithCaller(context.Background(), mayfly.Caller{Kind: mayfly.CallerPlatform})
	servicetest.Must(d.Apply(ctx, manifests()))
	servicetest.Must(d.Recover(ctx))
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s/%d", round, i)
		_, err := d.gate.PutObject(ctx, s3PutInput("photos.heard", key, "body"))
		servicetest.Must(err)
		fmt.Println(key)
	}
}
