package pattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// Pattern is a compiled pattern. It does not change and may be used
// concurrently.
type Pattern struct{ root node }

// node matches an object: every field, and for each list of alternatives one.
type node struct {
	fields []field
	ors    [][]node
}

type field struct {
	name string
	sub  *node   // of an object
	any  []check // of a list
}

// maxDepth bounds patterns and events that outsiders send.
const maxDepth = 64

// Compile reads a pattern. It returns an Invalid error that says where it is
// wrong: "data.total[0]: …".
func Compile(text []byte) (*Pattern, error) {
	value, err := parse(text)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "match", "the pattern is not JSON: %w", err)
	}
	object, ok := value.(map[string]any)
	if !ok || len(object) == 0 {
		return nil, mayfly.Errorf(mayfly.Invalid, "match", "a pattern is an object with at least one field, such as {\"data\": {\"total\": [{\"numeric\": [\">\", 100]}]}}")
	}
	root, err := compileNode("", object, 0)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "match", "%w", err)
	}
	return &Pattern{*root}, nil
}

// parse keeps numbers as they are written.
func parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("there is something after the value")
	}
	return v, nil
}

func at(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func compileNode(path string, object map[string]any, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: it is nested too deeply", path)
	}
	n := &node{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		where := at(path, name)
		switch value := object[name].(type) {
		case map[string]any:
			if len(value) == 0 {
				return nil, fmt.Errorf("%s: an empty object matches nothing", where)
			}
			sub, err := compileNode(where, value, depth+1)
			if err != nil {
				return nil, err
			}
			n.fields = append(n.fields, field{name: name, sub: sub})
		case []any:
			if name == "$or" {
				or, err := compileOr(where, value, depth)
				if err != nil {
					return nil, err
				}
				n.ors = append(n.ors, or)
				continue
			}
			any, err := compileList(where, value)
			if err != nil {
				return nil, err
			}
			n.fields = append(n.fields, field{name: name, any: any})
		default:
			return nil, fmt.Errorf("%s: write the value in a list: [%v]", where, show(value))
		}
	}
	return n, nil
}

func compileOr(path string, list []any, depth int) ([]node, error) {
	if len(list) < 2 {
		return nil, fmt.Errorf("%s: it needs at least two patterns", path)
	}
	var out []node
	for i, value := range list {
		object, ok := value.(map[string]any)
		if !ok || len(object) == 0 {
			return nil, fmt.Errorf("%s[%d]: it must be a pattern", path, i)
		}
		n, err := compileNode(fmt.Sprintf("%s[%d]", path, i), object, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, *n)
	}
	return out, nil
}

func compileList(path string, list []any) ([]check, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: an empty list matches nothing", path)
	}
	var out []check
	for i, value := range list {
		c, err := compileCheck(value)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", path, i, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func compileCheck(value any) (check, error) {
	object, ok := value.(map[string]any)
	if !ok {
		if _, list := value.([]any); list {
			return nil, fmt.Errorf("a list in a list matches nothing")
		}
		return exact{value}, nil
	}
	if len(object) != 1 {
		return nil, fmt.Errorf("%s must have one key: prefix, suffix, equals-ignore-case, wildcard, numeric, anything-but, exists or cidr", show(value))
	}
	for name, arg := range object {
		switch name {
		case "prefix", "suffix":
			return compileAffix(name, arg)
		case "equals-ignore-case", "wildcard":
			return compileText(name, arg)
		case "numeric":
			return compileNumeric(arg)
		case "anything-but":
			return compileBut(arg)
		case "cidr":
			return compileCIDR(arg)
		case "exists":
			want, ok := arg.(bool)
			if !ok {
				return nil, fmt.Errorf("exists is true or false")
			}
			return exists(want), nil
		default:
			return nil, fmt.Errorf("%q is not known; use prefix, suffix, equals-ignore-case, wildcard, numeric, anything-but, exists or cidr", name)
		}
	}
	return nil, nil // unreachable: the object has one key
}

func compileAffix(name string, arg any) (check, error) {
	if object, ok := arg.(map[string]any); ok && len(object) == 1 {
		if s, ok := object["equals-ignore-case"].(string); ok && s != "" {
			return affix{fold: true, suffix: name == "suffix", text: strings.ToLower(s)}, nil
		}
	}
	s, ok := arg.(string)
	if !ok {
		return nil, fmt.Errorf("%s is a text, or {\"equals-ignore-case\": a text}", name)
	}
	return affix{suffix: name == "suffix", text: s}, nil
}

func compileText(name string, arg any) (check, error) {
	s, ok := arg.(string)
	if !ok {
		return nil, fmt.Errorf("%s is a text", name)
	}
	if name == "wildcard" {
		return compileWildcard(s)
	}
	return fold(s), nil
}

// compileWildcard splits at "*". Two in a row are refused, as EventBridge does.
func compileWildcard(s string) (check, error) {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '\\'):
			i++
			part.WriteByte(s[i])
		case s[i] == '\\':
			return nil, fmt.Errorf("wildcard %q: \\ comes before * or \\ only", s)
		case s[i] == '*' && i > 0 && s[i-1] == '*' && part.Len() == 0:
			return nil, fmt.Errorf("wildcard %q: two * in a row are one", s)
		case s[i] == '*':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(s[i])
		}
	}
	return wildcard(append(parts, part.String())), nil
}

func compileNumeric(arg any) (check, error) {
	list, ok := arg.([]any)
	if !ok || len(list) == 0 || len(list) > 4 || len(list)%2 == 1 {
		return nil, fmt.Errorf("numeric is [\"OPERATOR\", number], or two of them for a range")
	}
	var out numeric
	for i := 0; i < len(list); i += 2 {
		op, _ := list[i].(string)
		num, ok := list[i+1].(json.Number)
		if !slices.Contains([]string{"=", "<", "<=", ">", ">="}, op) || !ok {
			return nil, fmt.Errorf("numeric %s: an operator is = < <= > or >=, before a number", show(arg))
		}
		f, err := num.Float64()
		if err != nil {
			return nil, fmt.Errorf("numeric %s: %w", show(arg), err)
		}
		out = append(out, bound{op, f})
	}
	if len(out) == 2 && (out[0].op[0] != '>' || out[1].op[0] != '<') {
		return nil, fmt.Errorf("numeric %s: a range is written as [\">\", low, \"<\", high]", show(arg))
	}
	return out, nil
}

func compileCIDR(arg any) (check, error) {
	s, _ := arg.(string)
	block, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, fmt.Errorf("cidr %s: it is written as 10.0.0.0/24", show(arg))
	}
	return cidr{block.Masked()}, nil
}

// compileBut reads what a value must not be.
func compileBut(arg any) (check, error) {
	if object, ok := arg.(map[string]any); ok {
		return compileButText(object)
	}
	list, ok := arg.([]any)
	if !ok {
		list = []any{arg}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("anything-but has nothing in it")
	}
	var out but
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, exact{v})
		case json.Number:
			f, err := v.Float64()
			if err != nil {
				return nil, fmt.Errorf("anything-but %s: %w", show(v), err)
			}
			out = append(out, numeric{{"=", f}})
		default:
			return nil, fmt.Errorf("anything-but takes texts and numbers, not %s", show(v))
		}
	}
	return out, nil
}

func compileButText(object map[string]any) (check, error) {
	if len(object) != 1 {
		return nil, fmt.Errorf("anything-but %s must have one key", show(object))
	}
	var out but
	for name, arg := range object {
		list, ok := arg.([]any)
		if !ok {
			list = []any{arg}
		}
		for _, v := range list {
			var c check
			var err error
			switch name {
			case "prefix", "suffix":
				c, err = compileAffix(name, v)
			case "equals-ignore-case", "wildcard":
				c, err = compileText(name, v)
			default:
				err = fmt.Errorf("anything-but takes prefix, suffix, equals-ignore-case or wildcard, not %q", name)
			}
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("anything-but has nothing in it")
	}
	return out, nil
}
