package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// Supported is what a node can do, which may be less than a manifest can say.
// An empty list stands for all.
type Supported struct {
	Runtimes  []mayfly.Runtime
	Triggers  []mayfly.TriggerKind
	Isolation []string
	Without   []string // keys that nothing acts on: "alerts", "functions.*.template"
}

// Check says which parts of a document nothing would act on.
func (s Supported) Check(doc *Document) Problems {
	var ps Problems
	for name, fn := range doc.Manifest.Functions {
		at := "functions." + string(name)
		if len(s.Runtimes) > 0 && !slices.Contains(s.Runtimes, fn.Runtime) {
			ps.add(at+".runtime", "the runtime %s is not supported yet", fn.Runtime)
		}
		if len(s.Isolation) > 0 && !slices.Contains(s.Isolation, fn.Isolation) {
			ps.add(at+".isolation", "the isolation %s is not supported yet; this node has %s", fn.Isolation, oneOf(s.Isolation))
		}
		for i := range fn.On {
			kind, _ := fn.On[i].Kind()
			if len(s.Triggers) > 0 && !slices.Contains(s.Triggers, kind) {
				ps.add(fmt.Sprintf("%s.on[%d].%s", at, i, kind), "the trigger %s is not supported yet", kind)
			}
		}
	}
	for path := range doc.places {
		if slices.ContainsFunc(s.Without, func(key string) bool { return fits(key, path) }) {
			ps.add(path, "is not supported yet")
		}
	}
	ps = doc.Place(ps)
	ps.Sort()
	return ps
}

// fits reports whether path is the key, in which "*" is any one name and an
// index counts for nothing.
func fits(key, path string) bool {
	k, p := strings.Split(key, "."), strings.Split(path, ".")
	if len(k) != len(p) {
		return false
	}
	for i := range k {
		name, _, _ := strings.Cut(p[i], "[")
		if k[i] != "*" && k[i] != name {
			return false
		}
	}
	return true
}
