package contract

import (
	"fmt"
	"strings"
	"unicode"
)

type golang struct{}

func (golang) scalar(kind string) string {
	return map[string]string{"string": "string", "integer": "int64", "number": "float64", "boolean": "bool", "null": "any", "any": "any"}[kind]
}
func (golang) list(of string) string      { return "[]" + of }
func (golang) values(of string) string    { return "map[string]" + of }
func (golang) enum(texts []string) string { return "string" }

// nullable and forward are pointers; a list, a map or any is nil by itself.
func (golang) nullable(of string) string {
	if of == "any" || strings.HasPrefix(of, "[]") || strings.HasPrefix(of, "map[") || strings.HasPrefix(of, "*") {
		return of
	}
	return "*" + of
}
func (golang) forward(name string) string { return "*" + name }

func (p golang) file(topic, root, data string, types []typeDef) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// Types of the topic %s, written by mayfly topic stub.\n\npackage events\n\nimport \"time\"\n", topic)
	for _, t := range types {
		p.write(&b, t)
	}
	fmt.Fprintf(&b, `
// %s is an event of the topic.
type %s struct {
	ID          string    %sjson:"id"%s
	Source      string    %sjson:"source"%s
	SpecVersion string    %sjson:"specversion"%s
	Type        string    %sjson:"type"%s
	Subject     string    %sjson:"subject,omitempty"%s
	Time        time.Time %sjson:"time,omitzero"%s
	Data        %s %sjson:"data"%s
}
`, root, root, "`", "`", "`", "`", "`", "`", "`", "`", "`", "`", "`", "`", data, "`", "`")
	return b.String()
}

// write writes one type. A name that no tag can hold is said in a comment.
func (golang) write(b *strings.Builder, t typeDef) {
	fmt.Fprintf(b, "\ntype %s struct {\n", t.name)
	seen := map[string]bool{}
	for _, f := range t.fields {
		if f.name == "" || f.name == "-" || strings.ContainsAny(f.name, "`\",\\") || strings.ContainsFunc(f.name, unicode.IsControl) {
			fmt.Fprintf(b, "\t// the property %q has no field: encoding/json cannot name it\n", f.name)
			continue
		}
		name := pascal(f.name)
		if !unicode.IsUpper([]rune(name)[0]) { // not of a script with capitals
			name = "X" + name
		}
		for seen[name] {
			name += "2"
		}
		seen[name] = true
		tag := f.name
		if f.optional {
			tag += ",omitempty"
		}
		if f.doc != "" {
			fmt.Fprintf(b, "\t// %s\n", line(f.doc))
		}
		fmt.Fprintf(b, "\t%s %s `json:\"%s\"`\n", name, f.kind, tag)
	}
	b.WriteString("}\n")
}
