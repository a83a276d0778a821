package program

import (
	"maps"
	"slices"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Path is the search path inside a cell that shows the machine's own system
// folders.
const Path = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

// Environ is the whole environment of a program: defaults, under base (an
// image's), under the version's own, under what Lambda reserves, under fixed
// (what the driver needs to be so).
func Environ(spec *sandbox.Spec, instance string, base, fixed map[string]string) []string {
	own := map[string]string{"PATH": Path, "HOME": "/tmp", "TMPDIR": "/tmp", "PYTHONUNBUFFERED": "1"} // what Python prints is in the log at once
	maps.Copy(own, base)
	env := spec.Environ(instance, process.TaskDir, own)
	maps.Copy(env, fixed)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}
