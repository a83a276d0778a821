package manifest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// TestDocsStateTheLimits compares docs/functions.md with the constants.
func TestDocsStateTheLimits(t *testing.T) {
	data, err := os.ReadFile("../docs/functions.md")
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.NewReplacer("KiB", " KiB", "MiB", " MiB", "GiB", " GiB")
	for _, want := range []string{
		unit.Replace(fmt.Sprintf("HTTP call | %s; ", mayfly.MaxEvent)),
		unit.Replace(fmt.Sprintf("queue message | %s |", mayfly.MaxAsync)),
		unit.Replace(fmt.Sprintf("headers | %s |", mayfly.MaxHeader)),
		unit.Replace(fmt.Sprintf("%s to %s; default %s |", mayfly.MinMemory, mayfly.MaxMemory, mayfly.DefaultMemory)),
		unit.Replace(fmt.Sprintf("`/tmp` | %s |", mayfly.DefaultTmp)),
		fmt.Sprintf("an instance | %d |", mayfly.DefaultPids),
		fmt.Sprintf("default %d, then 429", mayfly.DefaultQueue),
		fmt.Sprintf("through events | %d in a row", mayfly.MaxHops),
		"up to 24 h; default 10 s", "`Runtime.ExitError`", "`Runtime.OutOfMemory`", "`Sandbox.Timedout`",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("docs/functions.md does not say %q", want)
		}
	}
	for _, r := range mayfly.Runtimes {
		if !strings.Contains(string(data), fmt.Sprintf("| [`%s`](#%s) |", r, r)) {
			t.Errorf("docs/functions.md has no row for the runtime %s", r)
		}
	}
}
