package contract

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

const order = `{
	"type": "object", "required": ["id", "total"], "additionalProperties": false,
	"properties": {
		"id": {"type": "string", "description": "The order's number"},
		"total": {"type": "number", "minimum": 0},
		"status": {"enum": ["new", "paid"]},
		"lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
		"class": {"type": "string"},
		"ship-to": {"type": "object", "properties": {"city": {"type": "string"}}},
		"labels": {"type": "object", "additionalProperties": {"type": "string"}}
	},
	"$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}}}}
}`

func compile(t *testing.T, text string) *Contract {
	t.Helper()
	c, err := Compile([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func TestValidate(t *testing.T) {
	c := compile(t, order)
	for data, want := range map[string]string{
		`{"id":"1","total":5}`:                                 "",
		`{"id":"1","total":5,"lines":[{"sku":"a","count":1}]}`: "",
		`{"id":"1"}`:             "data: missing property 'total'",
		`{"id":"1","total":"5"}`: "data.total: got string, want number",
		`{"id":"1","total":-1}`:  "data.total: minimum",
		`{"id":"1","total":5,"lines":[{"sku":"a"},{"count":1}]}`: "data.lines.1: missing property 'sku'",
		`{"id":"1","total":5,"extra":1}`:                         "extra",
		`{`:                                                      "not JSON",
	} {
		err := c.Validate([]byte(data))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", data, err)
		case want != "" && (mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v; want %q", data, err, want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, text := range []string{`{`, `{"type":"strin"}`, `{"$ref":"https://example.com/x.json"}`, `{"$ref":"file:///etc/passwd"}`, `{"$ref":"#/$defs/gone"}`, `{"pattern":"("}`, `3`} {
		if _, err := Compile([]byte(text)); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCompatibility(t *testing.T) {
	const base = `{"type":"object","required":["a"],"properties":{"a":{"type":"string"},"b":{"type":"integer","minimum":0},"c":{"enum":["x","y"]}}}`
	for _, c := range []struct {
		name, old, new    string
		backward, forward string // "": compatible
	}{
		{"the same", base, base, "", ""},
		{"an optional property", base, strings.Replace(base, `"a":{"type":"string"}`, `"a":{"type":"string"},"d":{"type":"string"}`, 1), "", ""},
		{"a required property", base, strings.Replace(base, `["a"]`, `["a","b"]`, 1), `"b" is required now`, ""},
		{"nothing required", base, strings.Replace(base, `["a"]`, `[]`, 1), "", `"a" is required now`},
		{"another type", base, strings.Replace(base, `"string"`, `"number"`, 1), "data.a: the type string", "data.a: the type number"},
		{"a wider type", base, strings.Replace(base, `"integer"`, `"number"`, 1), "", "data.b: the type number"},
		{"another value", base, strings.Replace(base, `["x","y"]`, `["x","y","z"]`, 1), "", `data.c: the value "z"`},
		{"a value less", base, strings.Replace(base, `["x","y"]`, `["x"]`, 1), `data.c: the value "y"`, ""},
		{"any value", base, strings.Replace(base, `{"enum":["x","y"]}`, `{}`, 1), "", "only some values"},
		{"a tighter bound", base, strings.Replace(base, `"minimum":0`, `"minimum":1`, 1), "data.b: minimum is 1 now", ""},
		{"a pattern", base, strings.Replace(base, `{"type":"string"}`, `{"type":"string","pattern":"^x"}`, 1), "data.a: pattern", ""},
		{"closed", base, strings.Replace(base, `"required"`, `"additionalProperties":false,"required"`, 1), "data.*", ""},
		{"a property less, closed", `{"properties":{"a":{},"b":{}},"additionalProperties":false}`, `{"properties":{"a":{}},"additionalProperties":false}`, "data.b: the property", ""},
		{"items", `{"items":{"type":"string"}}`, `{"items":{"type":"integer"}}`, "data[]: the type string", "data[]: the type integer"},
		{"a union", `{"anyOf":[{"type":"string"}]}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`, "anyOf changed", "anyOf changed"},
		{"anything to something", `true`, `{"type":"object"}`, "the type array", ""},
		{"nothing any more", base, `false`, "nothing is allowed", ""},
	} {
		old, new := compile(t, c.old), compile(t, c.new)
		for mode, want := range map[string]string{Backward: c.backward, Forward: c.forward, None: ""} {
			err := Check(old, new, mode)
			switch {
			case want == "" && err != nil:
				t.Errorf("%s, %s: %v", c.name, mode, err)
			case want != "" && (mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), want)):
				t.Errorf("%s, %s: %v; want %q", c.name, mode, err, want)
			}
		}
		if err := Check(old, new, Full); (err == nil) != (c.backward == "" && c.forward == "") {
			t.Errorf("%s, full: %v", c.name, err)
		}
	}
	if err := Check(compile(t, base), compile(t, base), "sideways"); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Error(err)
	}
	if !Equal([]byte(`{"a":1,"b":2}`), []byte(`{ "b": 2, "a": 1 }`)) || Equal([]byte(`{"a":1}`), []byte(`{"a":2}`)) {
		t.Error("equality")
	}
}

func TestAsyncAPI(t *testing.T) {
	text, err := AsyncAPI("shop", map[string]Channel{"order.created": {Schema: json.RawMessage(order), Subscribers: []string{"mail"}}, "ping": {}})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		AsyncAPI   string
		Channels   map[string]struct{ Address string }
		Operations map[string]struct{ Action string }
		Components struct {
			Messages map[string]struct{ Payload map[string]any }
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"$ref": "#/components/schemas/OrderCreated/$defs/line"`) {
		t.Errorf("a reference within the schema does not hold: %s", text)
	}
	if doc.AsyncAPI != "3.0.0" || doc.Channels["OrderCreated"].Address != "order.created" || doc.Operations["deliverOrderCreatedToMail"].Action != "send" || len(doc.Components.Messages) != 2 {
		t.Errorf("%s", text)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte(order), []byte(`{"type":"object"}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		x, err := Compile(a)
		if err != nil {
			return
		}
		for _, lang := range Languages {
			if _, err := Stub("t", x, lang); err != nil {
				t.Error(err)
			}
		}
		if y, err := Compile(b); err == nil {
			_ = Check(x, y, Full)
		}
		_ = x.Validate(b)
	})
}
