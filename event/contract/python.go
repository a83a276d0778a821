package contract

import (
	"fmt"
	"slices"
	"strings"
)

type python struct{}

func (python) scalar(kind string) string {
	return map[string]string{"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}[kind] + map[bool]string{true: "Any"}[kind == "any"]
}
func (python) list(of string) string      { return "list[" + of + "]" }
func (python) values(of string) string    { return "dict[str, " + of + "]" }
func (python) enum(texts []string) string { return "Literal[" + quoted(texts, ", ") + "]" }

// nullable puts a type that is a text, since it is not written yet, into one
// text: a text and None have no union at run time.
func (python) nullable(of string) string {
	if of == "Any" || of == "None" {
		return of
	}
	if strings.HasPrefix(of, `"`) {
		return `"` + strings.Trim(of, `"`) + ` | None"`
	}
	return of + " | None"
}
func (python) forward(name string) string { return `"` + name + `"` }

func (p python) file(topic, root, data string, types []typeDef) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Types of the topic %s, written by mayfly topic stub.\nfrom typing import Any, Literal, NotRequired, TypedDict\n", topic)
	for _, t := range types {
		p.class(&b, t)
	}
	p.class(&b, typeDef{name: root, fields: []fieldDef{
		{name: "id", kind: "str"}, {name: "source", kind: "str"}, {name: "specversion", kind: "str"}, {name: "type", kind: "str"},
		{name: "subject", kind: "str", optional: true}, {name: "time", kind: "str", optional: true}, {name: "data", kind: data},
	}})
	return b.String()
}

// class writes a TypedDict, in the form for any names where one is no identifier.
func (python) class(b *strings.Builder, t typeDef) {
	plain := !slices.ContainsFunc(t.fields, func(f fieldDef) bool {
		return !identifier(f.name) || pythonWords[f.name] || strings.HasPrefix(f.name, "__")
	})
	if plain {
		fmt.Fprintf(b, "\n\nclass %s(TypedDict):\n", t.name)
	} else {
		fmt.Fprintf(b, "\n\n%s = TypedDict(%q, {\n", t.name, t.name)
	}
	for _, f := range t.fields {
		kind, doc := f.kind, ""
		if f.optional {
			kind = "NotRequired[" + kind + "]"
		}
		if f.doc != "" {
			doc = "  # " + line(f.doc)
		}
		if plain {
			fmt.Fprintf(b, "    %s: %s%s\n", f.name, kind, doc)
		} else {
			fmt.Fprintf(b, "    %s: %s,%s\n", quote(f.name), kind, doc)
		}
	}
	if !plain {
		b.WriteString("})\n")
	}
}

var pythonWords = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq("False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield") {
		m[w] = true
	}
	return m
}()
