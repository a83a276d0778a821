package topic

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// transform builds a function's input from an event. It is pure.
type transform struct{ template any }

var (
	wholePath  = regexp.MustCompile(`^\$(\.[A-Za-z0-9_-]+|\[[0-9]+\])*$`)
	insidePath = regexp.MustCompile(`<\$(?:\.[A-Za-z0-9_-]+|\[[0-9]+\])*>`)
	step       = regexp.MustCompile(`\.[A-Za-z0-9_-]+|\[[0-9]+\]`)
)

func numbers(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// compileTransform reads a template; nil for none.
func compileTransform(text []byte) (*transform, error) {
	if len(text) == 0 {
		return nil, nil
	}
	template, err := numbers(text)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "transform", "it is not JSON: %w", err)
	}
	return &transform{template}, checkTemplate(template)
}

// checkTemplate refuses texts that look like a path and are none.
func checkTemplate(v any) error {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "$.") && !wholePath.MatchString(v) {
			return mayfly.Errorf(mayfly.Invalid, "transform", "%q is not a path; write it as $.data.lines[0].sku", v)
		}
	case []any:
		for _, element := range v {
			if err := checkTemplate(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, value := range v {
			if err := checkTemplate(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply fills the template from an event that was decoded with numbers.
func (t *transform) apply(event any) ([]byte, error) { return json.Marshal(fill(t.template, event)) }

func fill(template, event any) any {
	switch t := template.(type) {
	case string:
		if wholePath.MatchString(t) {
			return lookup(event, t)
		}
		return insidePath.ReplaceAllStringFunc(t, func(path string) string { return asText(lookup(event, path[1:len(path)-1])) })
	case []any:
		out := make([]any, len(t))
		for i := range t {
			out[i] = fill(t[i], event)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for key, value := range t {
			out[key] = fill(value, event)
		}
		return out
	}
	return template
}

func lookup(v any, path string) any {
	for _, s := range step.FindAllString(path, -1) {
		if s[0] == '.' {
			object, _ := v.(map[string]any)
			v = object[s[1:]]
			continue
		}
		list, _ := v.([]any)
		i, err := strconv.Atoi(s[1 : len(s)-1])
		if err != nil || i >= len(list) {
			return nil
		}
		v = list[i]
	}
	return v
}

func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}
