package container

import (
	"context"
	"encoding/json"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// TestGVisor runs an image's web server and its runtime of events in gVisor,
// where every user of an image is root of nothing. What the image's root owns is
// writable for no program there: the second image has no user.
func TestGVisor(t *testing.T) {
	if err := place.Launcher().GVisor(); err != nil {
		t.Skip(err)
	}
	for name, change := range map[string]func(*v1.Config){
		"server": func(c *v1.Config) { c.User = "web" }, "events": func(c *v1.Config) { c.Cmd = []string{"events"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t, newImage(t, change), "about")
			s.Isolation = process.IsolationGVisor
			out := &sandboxtest.Recorder{}
			in, err := able(t, newDriver(t)).Start(t.Context(), s, out)
			if err != nil {
				t.Fatal(err, out.Lines())
			}
			defer in.Stop(context.Background())
			for range 2 {
				text, err := call(t, in, `1`)
				var got about
				if err != nil || json.Unmarshal([]byte(text), &got) != nil {
					t.Fatal(text, err)
				}
				if got.UID != 0 || got.Dir != "/app" || got.Image != "yes" || got.Wrote != (name == "server") || got.Shadow {
					t.Errorf("%+v", got)
				}
			}
			if _, isServer := in.(sandbox.Server); isServer != (name == "server") {
				t.Errorf("a server: %v", isServer)
			}
		})
	}
}
