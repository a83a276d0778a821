package python_test

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// TestForkThatFails: what it was for is started afresh, and what was forked
// before runs on.
func TestForkThatFails(t *testing.T) {
	d := walled(t, -1)
	spec := forkable(t, counted)
	if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
		t.Fatal(err)
	}
	f := sandboxtest.Start(t, d, spec)
	before := f.Event("{}")
	template, err := strconv.Atoi(ancestor(f.Instance.Info().PID, 1))
	if err != nil {
		t.Skip("the template cannot be found")
	}
	if err := unix.Prlimit(template, unix.RLIMIT_NPROC, &unix.Rlimit{}, nil); err != nil {
		t.Skipf("the template cannot be limited: %v", err)
	}
	afresh := false
	for range 8 { // some were forked ahead
		afresh = afresh || between(sandboxtest.Start(t, d, spec).Event("{}"), "loaded") != between(before, "loaded")
	}
	if !afresh {
		t.Error("no fork failed")
	}
	if after := f.Event("{}"); !strings.Contains(after, `"calls":2`) {
		t.Errorf("%s after a fork failed, of what was forked before", after)
	}
}
