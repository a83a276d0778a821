package telemetry

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// LiftedLine is a line with what its JSON said, where it was JSON.
type LiftedLine struct {
	mayfly.LogLine
	Message string         `json:"message,omitempty"` // the JSON's message
	Fields  map[string]any `json:"fields,omitempty"`  // the JSON's other members
}

var (
	messageKeys = []string{"message", "msg", "event", "@m"}
	levelKeys   = []string{`"level"`, `"severity"`, `"lvl"`, `"log.level"`, `"levelname"`, `"log_level"`, `"severity_text"`, `"@l"`}
)

// lift reads a line's JSON, if it is that.
func lift(l mayfly.LogLine) LiftedLine {
	line := LiftedLine{LogLine: l}
	fields := jsonFields(l.Text)
	if fields == nil {
		return line
	}
	for _, k := range messageKeys {
		if m, ok := fields[k].(string); ok {
			line.Message = m
			delete(fields, k)
			break
		}
	}
	line.Fields = fields
	return line
}

func looksJSON(text string) bool {
	return len(text) > 1 && text[0] == '{' && strings.HasSuffix(strings.TrimRight(text, " \r"), "}")
}

func jsonFields(text string) map[string]any {
	if !looksJSON(text) {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var fields map[string]any
	if d.Decode(&fields) != nil {
		return nil
	}
	return fields
}

// jsonPlain reports whether a value is written in JSON as it is here, so that a
// line which holds it as a field holds its bytes.
func jsonPlain(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < 0x20 || c >= 0x7f || strings.IndexByte(`"\/<>&`, c) >= 0 {
			return false
		}
	}
	return v != ""
}

func hasFields(text string, want map[string]string) bool {
	fields := jsonFields(text)
	if fields == nil {
		return false
	}
	for path, w := range want {
		v, ok := fieldAt(fields, path)
		if !ok || fieldText(v) != w {
			return false
		}
	}
	return true
}

// fieldAt finds a member by its own name, else by a path of names.
func fieldAt(fields map[string]any, path string) (any, bool) {
	if v, ok := fields[path]; ok {
		return v, true
	}
	head, rest, nested := strings.Cut(path, ".")
	if !nested {
		return nil, false
	}
	inner, ok := fields[head].(map[string]any)
	if !ok {
		return nil, false
	}
	return fieldAt(inner, rest)
}

func fieldText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case nil:
		return "null"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// jsonLevel finds the level in a JSON line without decoding all of it.
func jsonLevel(text string) int {
	for _, k := range levelKeys {
		i := strings.Index(text, k)
		if i < 0 {
			continue
		}
		v := strings.TrimLeft(text[i+len(k):], " \t:")
		v = strings.TrimPrefix(v, `"`)
		if end := strings.IndexAny(v, `",} `); end > 0 {
			if r := levelRank(v[:end]); r > 0 {
				return r
			}
		}
	}
	return 0
}

// detectLevel is the rank of the level that a line's text names.
func detectLevel(text string) int {
	if looksJSON(text) {
		return jsonLevel(text)
	}
	return levelIn(text)
}
