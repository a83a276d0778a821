package manifest

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// Validate says what is wrong with m: its names, limits and references. It is
// pure, and returns problems with a path but no place.
func Validate(m *mayfly.Manifest) Problems {
	v := &validation{m: m}
	v.appName()
	v.defaults()
	for _, name := range slices.Sorted(maps.Keys(m.Functions)) {
		v.function(name, first(m.Functions[name], &mayfly.Function{}))
	}
	v.routes()
	v.resources()
	v.words(reflect.ValueOf(m).Elem(), "")
	return v.Problems
}

// validation collects the problems of one manifest.
type validation struct {
	m *mayfly.Manifest
	Problems
}

const nameRule = "use lower case letters, digits and dashes, a letter first, at most 63 in all"

func (v *validation) appName() {
	switch {
	case v.m.App == "":
		v.add("app", "is missing; name the app in the first line: app: NAME")
	case !mayfly.ValidName(string(v.m.App)):
		v.add("app", "%q is not a name; %s%s", v.m.App, nameRule, suggestName(string(v.m.App)))
	}
}

func (v *validation) name(path, kind, name string) {
	if !mayfly.ValidName(name) {
		v.add(path, "%q cannot name a %s; %s%s", name, kind, nameRule, suggestName(name))
	}
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// suggestName is a valid name near s.
func suggestName(s string) string {
	s = strings.Trim(notInName.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if !mayfly.ValidName(s) {
		return ""
	}
	return ", such as " + s
}

func (v *validation) defaults() {
	d := v.m.Defaults
	if d == nil {
		return
	}
	v.memory("defaults.memory", d.Memory)
	v.timeout("defaults.timeout", d.Timeout)
	v.keepAlive("defaults.keep_alive", d.KeepAlive)
	v.env("defaults.env", d.Env)
	v.retry("defaults.retry", d.Retry)
}

func (v *validation) memory(path string, b mayfly.Bytes) {
	if b != 0 && (b < mayfly.MinMemory || b > mayfly.MaxMemory) {
		unit := ""
		if b < mayfly.MiB && b >= mayfly.MinMemory/mayfly.MiB && b <= mayfly.MaxMemory/mayfly.MiB {
			unit = fmt.Sprintf("; %dMiB?", b)
		}
		v.add(path, "%s is outside what a function may have: %s to %s%s", b, mayfly.MinMemory, mayfly.MaxMemory, unit)
	}
}

func (v *validation) timeout(path string, d mayfly.Duration) {
	if d > mayfly.MaxTimeout {
		v.add(path, "%s is longer than a call may take, which is %s", d, mayfly.MaxTimeout)
	}
}

func (v *validation) keepAlive(path string, k mayfly.KeepAlive) {
	if k == "" || k == mayfly.KeepAliveAuto {
		return
	}
	if _, ok := k.Fixed(); !ok {
		v.add(path, "%q is neither auto nor a duration such as 10m", k)
	}
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (v *validation) env(path string, env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		at := join(path, name)
		if !envName.MatchString(name) {
			v.add(at, "%q cannot name a variable; use letters, digits and _, a letter first", name)
		} else if reservedEnv(name) {
			v.add(at, "%s is set by the platform; choose another name", name)
		}
		if strings.ContainsRune(env[name], 0) {
			v.add(at, "a variable cannot hold a NUL byte")
		}
	}
}

// reservedEnv reports whether the platform sets the variable itself.
func reservedEnv(name string) bool {
	switch name {
	case "PORT", "_HANDLER", "_X_AMZN_TRACE_ID", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_EXECUTION_ENV":
		return true
	}
	return strings.HasPrefix(name, "MAYFLY_") || strings.HasPrefix(name, "AWS_LAMBDA_")
}

func (v *validation) retry(path string, r *mayfly.Retry) {
	if r == nil {
		return
	}
	if r.Attempts < 0 || r.Attempts > 1000 {
		v.add(join(path, "attempts"), "%d is not a number of attempts; write 1 (no retry) to 1000", r.Attempts)
	}
	v.backoff(join(path, "backoff"), r.Backoff)
}

func (v *validation) backoff(path, s string) {
	if s == "" {
		return
	}
	if _, _, err := mayfly.ParseBackoff(s); err != nil {
		v.add(path, "%s", err)
	}
}

func (v *validation) function(name mayfly.FunctionName, fn *mayfly.Function) {
	at := "functions." + string(name)
	v.name(at, "function", string(name))
	v.runtime(at, fn)
	v.memory(at+".memory", fn.Memory)
	v.timeout(at+".timeout", fn.Timeout)
	v.keepAlive(at+".keep_alive", fn.KeepAlive)
	v.concurrency(at+".concurrency", fn)
	v.env(at+".env", fn.Env)
	v.secrets(at, fn)
	v.retry(at+".retry", fn.Retry)
	for i, line := range fn.Allow {
		v.grant(fmt.Sprintf("%s.allow[%d]", at, i), line)
	}
	for i, line := range fn.Egress {
		if why := badEgress(line); why != "" {
			v.add(fmt.Sprintf("%s.egress[%d]", at, i), "%s", why)
		}
	}
	v.destination(at+".on_success", fn.OnSuccess)
	v.destination(at+".on_failure", fn.OnFailure)
	v.triggers(at, fn)
}

func (v *validation) runtime(at string, fn *mayfly.Function) {
	switch {
	case fn.Runtime == "":
		v.add(at+".runtime", "is missing; it is %s", oneOf(runtimeWords()))
		return
	case !slices.Contains(mayfly.Runtimes, fn.Runtime):
		return // said by words
	}
	if fn.Source == "" {
		what := "the folder or file of the code, such as ./" + strings.TrimPrefix(at, "functions.")
		if fn.Runtime == mayfly.Container {
			what = "an image, such as ./image.tar"
		}
		v.add(at+".source", "is missing; it is %s", what)
	}
	if why := badHandler(fn.Runtime, fn.Handler); why != "" {
		v.add(at+".handler", "%s", why)
	}
	if fn.Build != "" && fn.Runtime == mayfly.Container {
		v.add(at+".build", "an image is already built; remove it")
	}
	if fn.Runtime == mayfly.Wasm {
		v.sealed(at, fn)
	}
	if fn.Template != "" && fn.Runtime != mayfly.Python {
		v.add(at+".template", "only python functions start from a template; remove it")
	}
}

var (
	pythonHandler = regexp.MustCompile(`^[A-Za-z_][\w/-]*(\.[A-Za-z_][\w/-]*)*[.:][A-Za-z_]\w*$`)
	nodeHandler   = regexp.MustCompile(`^[\w./@-]+$`)
	nodeFile      = regexp.MustCompile(`^([\w./@-]+)\.(?:[cm]?[jt]s)\.(\w+)$`)
)

// badHandler says what is wrong with a handler; see docs/functions.md for their forms.
func badHandler(r mayfly.Runtime, h string) string {
	switch r {
	case mayfly.Python:
		if strings.HasSuffix(h, ".py") {
			return fmt.Sprintf("%q is a file; write module.function, such as %shandler", h, strings.TrimSuffix(h, "py"))
		}
		if !pythonHandler.MatchString(h) {
			return needs(h, "module.function such as app.handler, or module:app for a WSGI or ASGI app")
		}
	case mayfly.Node:
		if m := nodeFile.FindStringSubmatch(h); m != nil {
			return fmt.Sprintf("%q names the file with its ending; write %s.%s", h, m[1], m[2])
		}
		if !nodeHandler.MatchString(h) || strings.HasPrefix(h, "/") || strings.Contains(h, "..") {
			return needs(h, "file.export such as index.handler, or a file alone for a default export with fetch")
		}
	case mayfly.HTTP:
		if strings.TrimSpace(h) == "" {
			return needs(h, "the command line of a program that serves HTTP on $PORT, such as node server.js")
		}
	case mayfly.Binary:
		if strings.HasPrefix(h, "/") || strings.Contains(h, "..") {
			return needs(h, "an executable in the bundle; the default is bootstrap")
		}
	}
	return ""
}

func needs(handler, form string) string {
	if strings.TrimSpace(handler) == "" {
		return "is missing; it is " + form
	}
	return fmt.Sprintf("%q is not a handler; it is %s", handler, form)
}

// sealed refuses what a WebAssembly module could make no use of: it has no
// sockets.
func (v *validation) sealed(at string, fn *mayfly.Function) {
	const why = "a wasm function reaches nothing but its input and output; remove it, or use another runtime"
	if len(fn.Allow) > 0 {
		v.add(at+".allow", why)
	}
	if len(fn.Egress) > 0 {
		v.add(at+".egress", why)
	}
}

func (v *validation) concurrency(at string, fn *mayfly.Function) {
	c := fn.Concurrency
	for _, n := range []struct {
		key         string
		value, most int
	}{{"per_instance", c.PerInstance, 10_000}, {"max", c.Max, 100_000}, {"warm", c.Warm, 10_000}, {"queue", c.Queue, 1_000_000}} {
		if n.value < 0 || n.value > n.most {
			v.add(join(at, n.key), "%d is outside 0 to %d", n.value, n.most)
		}
	}
	if c.Max > 0 && c.Warm > c.Max {
		v.add(join(at, "warm"), "%d instances cannot be kept warm where max is %d", c.Warm, c.Max)
	}
	if c.PerInstance > 1 && fn.Runtime == mayfly.Wasm {
		v.add(join(at, "per_instance"), "an instance of a %s function takes one call at a time; remove it", fn.Runtime)
	}
}

func (v *validation) secrets(at string, fn *mayfly.Function) {
	seen := map[string]bool{}
	for i, s := range fn.Secrets {
		path := fmt.Sprintf("%s.secrets[%d]", at, i)
		name, as, _ := strings.Cut(s, ":")
		switch {
		case !envName.MatchString(name) || (as != "" && as != "file" && as != "env") || strings.HasSuffix(s, ":"):
			v.add(path, "%q is not a secret; write NAME, or NAME:file to get it as a file", s)
		case seen[name]:
			v.add(path, "%s is listed twice", name)
		case fn.Env[name] != "":
			v.add(path, "%s is set in env as well; remove one", name)
		case as != "file" && reservedEnv(name):
			v.add(path, "%s is set by the platform; choose another name", name)
		}
		seen[name] = true
	}
}

// grantVerbs are the verbs that mean something for a kind of resource.
var grantVerbs = map[string][]string{
	"bucket":   {"read", "write", "delete", "list", "*"},
	"kv":       {"read", "write", "delete", "list", "*"},
	"queue":    {"send", "receive", "read", "write", "delete", "list", "*"},
	"topic":    {"publish", "receive", "read", "list", "*"},
	"database": {"read", "write", "*"},
	"secret":   {"read", "write", "*"},
	"function": {"call", "*"},
}

func (v *validation) grant(path, line string) {
	g, err := mayfly.ParseGrant(line)
	if err != nil {
		v.add(path, "%s", mayfly.MessageOf(err))
		return
	}
	if verbs := grantVerbs[g.Kind]; !slices.Contains(verbs, g.Verb) {
		v.add(path, "nothing can %s a %s; its verbs are %s", g.Verb, g.Kind, oneOf(verbs))
		return
	}
	if g.Kind != "secret" {
		v.reference(path, g.Kind, g.Name)
	}
}

// names are the resources of a kind that the manifest declares.
func (v *validation) names(kind string) []string {
	switch kind {
	case "bucket":
		return slices.Sorted(maps.Keys(v.m.Buckets))
	case "kv":
		return slices.Sorted(maps.Keys(v.m.KV))
	case "queue":
		return slices.Sorted(maps.Keys(v.m.Queues))
	case "topic":
		return slices.Sorted(maps.Keys(v.m.Topics))
	case "database":
		return slices.Sorted(maps.Keys(v.m.Databases))
	}
	var names []string
	for name := range v.m.Functions {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}

// sections are the top-level keys that declare a kind.
var sections = map[string]string{"bucket": "buckets", "kv": "kv", "queue": "queues", "topic": "topics", "database": "databases", "function": "functions"}

// reference checks that name, or a pattern with "*", means something declared.
func (v *validation) reference(path, kind, name string) {
	declared := v.names(kind)
	if strings.Contains(name, "*") {
		if !slices.ContainsFunc(declared, func(d string) bool { return matches(name, d) }) {
			v.add(path, "%q matches no %s; declare one under %s", name, kind, sections[kind])
		}
		return
	}
	if slices.Contains(declared, name) {
		return
	}
	what := hint(name, declared)
	if what == "" {
		what = fmt.Sprintf("; declare it: %s: {%s: {}}", sections[kind], name)
	}
	v.add(path, "there is no %s %q%s", kind, name, what)
}

// matches reports whether name fits a pattern in which "*" is any text.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(name, parts[0]) {
		return false
	}
	name = name[len(parts[0]):]
	for i, part := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return name == ""
}

func (v *validation) destination(path, s string) {
	if s == "" {
		return
	}
	kind, name, _ := strings.Cut(s, "/")
	if name == "" || !slices.Contains([]string{"queue", "topic", "function"}, kind) {
		v.add(path, "%q is not a destination; write queue/NAME, topic/NAME or function/NAME", s)
		return
	}
	v.reference(path, kind, name)
}

// words checks every field that takes one of a few words.
func (v *validation) words(x reflect.Value, path string) {
	switch x.Kind() {
	case reflect.Pointer:
		if !x.IsNil() {
			v.words(x.Elem(), path)
		}
	case reflect.Map:
		if x.Type().Elem().Kind() == reflect.Pointer {
			for _, key := range x.MapKeys() {
				v.words(x.MapIndex(key), join(path, key.String()))
			}
		}
	case reflect.Slice:
		if x.Type().Elem().Kind() == reflect.Struct {
			for i := range x.Len() {
				v.words(x.Index(i), fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case reflect.Struct:
		f := fieldsOf(x.Type())
		for _, name := range f.names {
			field := x.Field(f.index[name])
			if allowed := words[x.Type().Name()+"."+name]; allowed != nil {
				v.word(field, join(path, name), allowed)
			} else {
				v.words(field, join(path, name))
			}
		}
	}
}

func (v *validation) word(field reflect.Value, path string, allowed []string) {
	if field.Kind() == reflect.Slice {
		for i := range field.Len() {
			v.word(field.Index(i), fmt.Sprintf("%s[%d]", path, i), allowed)
		}
		return
	}
	s := field.String()
	if s != "" && !slices.Contains(allowed, s) {
		v.add(path, "%q is unknown; it is %s%s", s, oneOf(allowed), hint(s, allowed))
	}
}

func badURL(s string) bool {
	u, err := url.Parse(s)
	return err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == ""
}
