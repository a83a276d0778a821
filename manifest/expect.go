package manifest

import (
	"encoding/json"
	"reflect"

	"github.com/mayfly-cloud/mayfly"
)

var (
	rawType      = reflect.TypeFor[json.RawMessage]()
	bytesType    = reflect.TypeFor[mayfly.Bytes]()
	durationType = reflect.TypeFor[mayfly.Duration]()
)

// expectation says what a value of type t looks like in the file.
func expectation(t reflect.Type) string {
	switch t {
	case bytesType:
		return "a size such as 256MiB"
	case durationType:
		return "a duration such as 30s, 5m or 7d"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return expectation(t.Elem())
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return "a list of texts, such as [a, b]"
		}
		return "a list"
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			return "a mapping of names to texts"
		}
		return "a mapping of names"
	}
	return "a mapping of keys"
}

// words are the fields whose value is one of a few words. The validation and
// the JSON Schema both read it.
var words = map[string][]string{
	"Function.runtime":           runtimeWords(),
	"Function.template":          {"auto", "off"},
	"Function.isolation":         {"process", "gvisor"},
	"Function.require_isolation": {"any", "full"},
	"Defaults.require_isolation": {"any", "full"},
	"Trigger.auth":               {"none", "token"},
	"Trigger.events":             {"created", "removed", "insert", "update", "delete", "truncate", "put"},
	"Trigger.missed":             {"skip", "once", "all"},
	"Trigger.verify":             {"standard", "github", "stripe", "slack", "hmac"},
	"Topic.compatibility":        {"none", "backward", "forward", "full"},
	"Database.engine":            {"sqlite", "postgres"},
	"Budget.action":              {"alert", "stop"},
}

func runtimeWords() []string {
	names := make([]string, len(mayfly.Runtimes))
	for i, r := range mayfly.Runtimes {
		names[i] = string(r)
	}
	return names
}
