package program

import (
	"maps"
	"slices"
	"strconv"

	"github.com/mayfly-cloud/mayfly"
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
	env := map[string]string{
		"PATH":                  Path,
		"HOME":                  "/tmp",
		"TMPDIR":                "/tmp",
		"LANG":                  "C.UTF-8",
		"TZ":                    ":UTC",
		"AWS_REGION":            "local",
		"AWS_DEFAULT_REGION":    "local",
		"AWS_ACCESS_KEY_ID":     "mayfly", // SDKs refuse to start without; the listener tells who calls
		"AWS_SECRET_ACCESS_KEY": "mayfly",
	}
	maps.Copy(env, base)
	maps.Copy(env, spec.Env)
	maps.Copy(env, map[string]string{
		"LAMBDA_TASK_ROOT":                process.TaskDir,
		"AWS_LAMBDA_FUNCTION_NAME":        string(spec.Function),
		"AWS_LAMBDA_FUNCTION_VERSION":     strconv.Itoa(spec.Version),
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatInt(int64(spec.Memory/mayfly.MiB), 10),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/mayfly/" + string(spec.App) + "/" + string(spec.Function),
		"AWS_LAMBDA_LOG_STREAM_NAME":      instance,
		"MAYFLY_APP":                      string(spec.App),
		"MAYFLY_FUNCTION":                 string(spec.Function),
		"MAYFLY_VERSION":                  strconv.Itoa(spec.Version),
		"MAYFLY_INSTANCE":                 instance,
	})
	maps.Copy(env, fixed)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}
