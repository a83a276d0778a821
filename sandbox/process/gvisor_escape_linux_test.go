package process

import (
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// gvisorsOwn are attempts that succeed in gVisor and reach nothing: its kernel
// answers from what it made up for this program alone.
var gvisorsOwn = map[string]string{
	"see init's environment":           "the program itself is the first process",
	"see init's memory map":            "the same",
	"enter init's root":                "the same",
	"see init's descriptors":           "the same",
	"see the machine's devices":        "a /sys of gVisor's own",
	"lower its chance of being killed": "kept, and told to nobody",
	"become root":                      "it is root there, without capabilities, and the cell's user outside",
	"become root's group":              "the same",
	"give a device node a name":        "which opens nothing: the next attempts",
	"give a disk a name":               "the same",
	"raise its priority":               "among the program's own processes",
	"raise a limit":                    "of gVisor's; the cell's stay",
	"push characters to a terminal":    "there is none",
}

// TestEscapeFromGVisor makes the attempts of TestEscape in gVisor, but for those
// that are about the filter: the machine's kernel gets none of these calls.
func TestEscapeFromGVisor(t *testing.T) {
	out := inGVisor(t, "escape", "")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(escapes)+1 {
		t.Fatalf("%d of %d attempts: %s", len(lines)-1, len(escapes), out)
	}
	for _, line := range lines {
		if name, escaped := strings.CutPrefix(line, "ESCAPED: "); escaped && gvisorsOwn[name] == "" {
			t.Error(line)
		}
	}
}

// withinGVisor are the attempts that are left out: to kill the first process is
// to end itself.
func withinGVisor() string {
	own := []string{"kill init"}
	for _, e := range slices.Concat(callEscapes, namespaceEscapes()) {
		own = append(own, e.name)
	}
	return strings.Join(own, "|")
}

// TestExhaustionInGVisor lets a program in gVisor use up what it can: the cell's
// limits end it, all of gVisor with it where that needs what is used up.
func TestExhaustionInGVisor(t *testing.T) {
	for bomb, want := range map[string]string{"forks": "", "disk": "no space left", "memory": ""} {
		t.Run(bomb, func(t *testing.T) {
			if out := inGVisor(t, "bomb", bomb); !strings.Contains(out, want) {
				t.Error(out)
			}
		})
	}
}

// inGVisor runs a probe to its end, and returns what it printed.
func inGVisor(t *testing.T, probe, bomb string) string {
	t.Helper()
	if _, err := findRunsc(); err != nil {
		t.Skip(err)
	}
	t.Setenv("CANARY", "the daemon's environment")
	l := walledLauncher(t, Config{Doors: []Door{greeter()}}, "memory limit", "process limit")
	w := newWorld(t, l)
	var out buffer
	p := startProbe(t, l, probe, func(c *Command) {
		c.Env, c.Stdout, c.Stderr = append(append(c.Env, w.environ()...), "BOMB="+bomb, "OWN="+withinGVisor()), &out, &out
		c.Bundle, c.Isolation, c.Memory, c.Tmp, c.Pids = bundle(t, "mine", "mine"), IsolationGVisor, 256*mayfly.MiB, 16*mayfly.MiB, 100
	})
	waitDone(t, p)
	if text, _ := run(t, l, "echo well", nil); text != "well" {
		t.Errorf("afterwards a sandbox printed %q", text)
	}
	if e := p.Ended(); e.OutOfMemory != (bomb == "memory") {
		t.Errorf("ended as %+v", e)
	}
	return out.String()
}
