package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// Modes of compatibility.
const (
	None     = "none"
	Backward = "backward"
	Forward  = "forward"
	Full     = "full"
)

// Check returns an Invalid error that lists what makes a new schema
// incompatible with an old one in a mode; "" is Backward.
func Check(old, new *Contract, mode string) error {
	var found []string
	switch mode {
	case None:
	case Backward, "":
		found = breaks(old, new, "an event of the old schema")
	case Forward:
		found = breaks(new, old, "an event of the new schema")
	case Full:
		found = append(breaks(old, new, "an event of the old schema"), breaks(new, old, "an event of the new schema")...)
	default:
		return mayfly.Errorf(mayfly.Invalid, "compare schemas", "compatibility is %q; choose none, backward, forward or full", mode)
	}
	if len(found) == 0 {
		return nil
	}
	return mayfly.Errorf(mayfly.Invalid, "compare schemas", "the schema is not %s compatible with the deployed one: %s", first(mode, Backward), strings.Join(found, "; "))
}

func first(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// breaks lists why a reader of to may refuse what was written by from.
func breaks(from, to *Contract, what string) []string {
	c := &comparison{}
	c.schema("data", from.tree, to.tree)
	for i := range c.found {
		c.found[i] += " (" + what + " may break it)"
	}
	return c.found
}

type comparison struct{ found []string }

func (c *comparison) say(path, format string, args ...any) {
	c.found = append(c.found, path+": "+fmt.Sprintf(format, args...))
}

type object = map[string]any

// incomparable are the keywords within which every change counts.
var incomparable = []string{"$ref", "$dynamicRef", "$defs", "definitions", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "patternProperties", "propertyNames", "contains", "prefixItems", "unevaluatedProperties", "unevaluatedItems"}

func (c *comparison) schema(path string, from, to any) {
	if reflect.DeepEqual(from, to) || to == true {
		return
	}
	f, ok := from.(object)
	if from == true {
		f, ok = object{}, true
	}
	t, ok2 := to.(object)
	switch {
	case from == false:
		return // nothing was written
	case !ok || !ok2:
		c.say(path, "nothing is allowed any more")
		return
	}
	for _, key := range incomparable {
		if !reflect.DeepEqual(f[key], t[key]) && !(t[key] == nil && key != "$defs" && key != "definitions") {
			c.say(path, "%s changed, which cannot be compared", key)
		}
	}
	c.types(path, f, t)
	c.values(path, f, t)
	c.bounds(path, f, t)
	c.exactly(path, f, t)
	c.required(path, f, t)
	c.properties(path, f, t)
	if items := t["items"]; items != nil {
		c.schema(path+"[]", orTrue(f["items"]), items)
	}
}

func orTrue(v any) any {
	if v == nil {
		return true
	}
	return v
}

var allTypes = []string{"array", "boolean", "null", "number", "object", "string"}

func types(s object) []string {
	switch v := s["type"].(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, t := range v {
			out = append(out, fmt.Sprint(t))
		}
		return out
	}
	return allTypes
}

func (c *comparison) types(path string, from, to object) {
	allowed := types(to)
	for _, t := range types(from) {
		if !slices.Contains(allowed, t) && !(t == "integer" && slices.Contains(allowed, "number")) {
			c.say(path, "the type %s is not allowed any more", t)
		}
	}
}

// values compares enum and const.
func (c *comparison) values(path string, from, to object) {
	set := func(s object) ([]any, bool) {
		if v, ok := s["const"]; ok {
			return []any{v}, true
		}
		list, ok := s["enum"].([]any)
		return list, ok
	}
	new, bounded := set(to)
	if !bounded {
		return
	}
	old, was := set(from)
	if !was {
		c.say(path, "only some values are allowed now")
		return
	}
	for _, v := range old {
		if !slices.ContainsFunc(new, func(w any) bool { return reflect.DeepEqual(v, w) }) {
			text, _ := json.Marshal(v)
			c.say(path, "the value %s is not allowed any more", text)
		}
	}
}

// lower are the keywords that a reader may lower, upper those it may raise.
var (
	lower = []string{"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
	upper = []string{"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
)

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case float64:
		return v, true
	}
	return 0, false
}

func (c *comparison) bounds(path string, from, to object) {
	compare := func(keys []string, tighter func(old, new float64) bool) {
		for _, key := range keys {
			new, bounded := number(to[key])
			old, was := number(from[key])
			if bounded && (!was || tighter(old, new)) {
				c.say(path, "%s is %v now", key, to[key])
			}
		}
	}
	compare(lower, func(old, new float64) bool { return new > old })
	compare(upper, func(old, new float64) bool { return new < old })
}

// exactly compares keywords that have no order.
func (c *comparison) exactly(path string, from, to object) {
	for _, key := range []string{"pattern", "format", "multipleOf", "uniqueItems"} {
		if to[key] != nil && to[key] != false && !reflect.DeepEqual(from[key], to[key]) {
			c.say(path, "%s is %v now", key, to[key])
		}
	}
}

func names(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

func (c *comparison) required(path string, from, to object) {
	old := names(from["required"])
	for _, name := range names(to["required"]) {
		if !slices.Contains(old, name) {
			c.say(path, "the property %q is required now", name)
		}
	}
}

// properties compares properties that both know. One that only the reader knows
// is taken to be new, though an open schema let anything be written there.
func (c *comparison) properties(path string, from, to object) {
	old, _ := from["properties"].(object)
	new, _ := to["properties"].(object)
	rest := orTrue(to["additionalProperties"])
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if sub, ok := new[name]; ok {
			c.schema(path+"."+name, old[name], sub)
		} else if rest == false {
			c.say(path+"."+name, "the property is not allowed any more")
		}
	}
	if rest != true {
		c.schema(path+".*", orTrue(from["additionalProperties"]), rest)
	}
}
