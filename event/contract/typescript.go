package contract

import (
	"fmt"
	"strings"
)

type typescript struct{}

func (typescript) scalar(kind string) string {
	switch kind {
	case "integer":
		return "number"
	case "any":
		return "unknown"
	}
	return kind
}
func (typescript) list(of string) string      { return "Array<" + of + ">" }
func (typescript) values(of string) string    { return "Record<string, " + of + ">" }
func (typescript) nullable(of string) string  { return of + " | null" }
func (typescript) forward(name string) string { return name }
func (typescript) enum(texts []string) string { return quoted(texts, " | ") }

func (p typescript) file(topic, root, data string, types []typeDef) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// Types of the topic %s, written by mayfly topic stub.\n", topic)
	for _, t := range append(types, typeDef{name: root, fields: []fieldDef{
		{name: "id", kind: "string"}, {name: "source", kind: "string"}, {name: "specversion", kind: `"1.0"`}, {name: "type", kind: quote(topic)},
		{name: "subject", kind: "string", optional: true}, {name: "time", kind: "string", optional: true}, {name: "data", kind: data},
	}}) {
		fmt.Fprintf(&b, "\nexport interface %s {\n", t.name)
		for _, f := range t.fields {
			name, mark := f.name, ""
			if !identifier(name) {
				name = quote(name)
			}
			if f.optional {
				mark = "?"
			}
			if f.doc != "" {
				fmt.Fprintf(&b, "  /** %s */\n", strings.ReplaceAll(line(f.doc), "*/", "* /"))
			}
			fmt.Fprintf(&b, "  %s%s: %s;\n", name, mark, f.kind)
		}
		b.WriteString("}\n")
	}
	return b.String()
}
