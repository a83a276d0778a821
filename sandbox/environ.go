package sandbox

import (
	"maps"
	"strconv"

	"github.com/mayfly-cloud/mayfly"
)

// Environ is what code of this version finds in its environment, whatever its
// runtime: defaults, under more (an image's), under the manifest's, under what
// Lambda and Mayfly reserve. task is the bundle as the code sees it.
func (s *Spec) Environ(instance, task string, more map[string]string) map[string]string {
	env := map[string]string{
		"LANG":                  "C.UTF-8",
		"TZ":                    ":UTC",
		"AWS_REGION":            "local",
		"AWS_DEFAULT_REGION":    "local",
		"AWS_ACCESS_KEY_ID":     "mayfly", // SDKs refuse to start without; the listener tells who calls
		"AWS_SECRET_ACCESS_KEY": "mayfly",
	}
	maps.Copy(env, more)
	maps.Copy(env, s.Env)
	version := strconv.Itoa(s.Version)
	maps.Copy(env, map[string]string{
		"LAMBDA_TASK_ROOT":                task,
		"AWS_LAMBDA_FUNCTION_NAME":        string(s.Function),
		"AWS_LAMBDA_FUNCTION_VERSION":     version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatInt(int64(s.Memory/mayfly.MiB), 10),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       s.LogGroup(),
		"AWS_LAMBDA_LOG_STREAM_NAME":      instance,
		"MAYFLY_APP":                      string(s.App),
		"MAYFLY_FUNCTION":                 string(s.Function),
		"MAYFLY_VERSION":                  version,
		"MAYFLY_INSTANCE":                 instance,
	})
	return env
}

// LogGroup is what code is told of where its output goes.
func (s *Spec) LogGroup() string { return "/mayfly/" + string(s.App) + "/" + string(s.Function) }
