package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/mayfly-cloud/mayfly"
)

// Languages that Stub writes.
var Languages = []string{"python", "typescript", "go"}

// Stub writes types for a topic's data and events in a language.
func Stub(topic string, c *Contract, lang string) (string, error) {
	root := pascal(topic)
	g := &generator{root: c.tree, used: map[string]bool{}}
	switch lang {
	case "python":
		g.lang = python{}
	case "typescript":
		g.lang = typescript{}
	case "go":
		g.lang = golang{}
	default:
		return "", mayfly.Errorf(mayfly.Invalid, "write stub", "%q is not a language that stubs are written in; choose python, typescript or go", lang)
	}
	name := g.typeOf(root+"Data", c.tree, 0)
	return g.lang.file(topic, root, name, g.types), nil
}

// generator collects the named types of a schema.
type generator struct {
	lang  lang
	root  any
	types []typeDef
	used  map[string]bool
}

type typeDef struct {
	name   string
	fields []fieldDef
}

type fieldDef struct {
	name, kind, doc string
	optional        bool
}

// lang is how a language writes types.
type lang interface {
	scalar(kind string) string
	list(of string) string
	values(of string) string
	enum(texts []string) string
	file(topic, root, data string, types []typeDef) string
}

func (g *generator) typeOf(name string, schema any, depth int) string {
	s, ok := schema.(object)
	if !ok || depth > 20 {
		return g.lang.scalar("any")
	}
	if ref, ok := s["$ref"].(string); ok {
		if target, label, ok := g.resolve(ref); ok {
			if g.used[pascal(label)] {
				return pascal(label)
			}
			return g.typeOf(pascal(label), target, depth+1)
		}
		return g.lang.scalar("any")
	}
	if texts := enumTexts(s); texts != nil {
		return g.lang.enum(texts)
	}
	switch kinds := types(s); {
	case len(kinds) != 1:
		return g.lang.scalar("any")
	case kinds[0] == "array":
		return g.lang.list(g.typeOf(name+"Item", s["items"], depth+1))
	case kinds[0] == "object":
		return g.objectOf(name, s, depth)
	default:
		return g.lang.scalar(kinds[0])
	}
}

func (g *generator) objectOf(name string, s object, depth int) string {
	properties, _ := s["properties"].(object)
	if len(properties) == 0 {
		if values, ok := s["additionalProperties"].(object); ok {
			return g.lang.values(g.typeOf(name+"Value", values, depth+1))
		}
		return g.lang.values(g.lang.scalar("any"))
	}
	for g.used[name] {
		name += "2"
	}
	g.used[name] = true
	def := typeDef{name: name}
	required := names(s["required"])
	for _, p := range slices.Sorted(maps.Keys(properties)) {
		f := fieldDef{name: p, optional: !slices.Contains(required, p), kind: g.typeOf(name+pascal(p), properties[p], depth+1)}
		if sub, ok := properties[p].(object); ok {
			f.doc, _ = sub["description"].(string)
		}
		def.fields = append(def.fields, f)
	}
	g.types = append(g.types, def)
	return name
}

// resolve follows "#/$defs/name".
func (g *generator) resolve(ref string) (schema any, label string, ok bool) {
	path, ok := strings.CutPrefix(ref, "#/")
	schema = g.root
	for part := range strings.SplitSeq(path, "/") {
		s, isObject := schema.(object)
		if !ok || !isObject {
			return nil, "", false
		}
		schema, ok = s[part]
		label = part
	}
	return schema, label, ok
}

func enumTexts(s object) []string {
	list, _ := s["enum"].([]any)
	var out []string
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			return nil
		}
		out = append(out, text)
	}
	return out
}

// pascal is a name as a type's: "order.created" is OrderCreated.
func pascal(s string) string {
	var b strings.Builder
	up := true
	for _, r := range s {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			up = true
		case up:
			b.WriteRune(unicode.ToUpper(r))
			up = false
		default:
			b.WriteRune(r)
		}
	}
	if b.Len() == 0 || unicode.IsDigit(rune(b.String()[0])) {
		return "T" + b.String()
	}
	return b.String()
}

// identifier reports whether a property can be a plain field.
func identifier(s string) bool {
	for i, r := range s {
		if r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r))) {
			return false
		}
	}
	return s != ""
}

func line(doc string) string { return strings.Join(strings.Fields(doc), " ") }

type python struct{}

func (python) scalar(kind string) string {
	return map[string]string{"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}[kind] + map[bool]string{true: "Any"}[kind == "any"]
}
func (python) list(of string) string      { return "list[" + of + "]" }
func (python) values(of string) string    { return "dict[str, " + of + "]" }
func (python) enum(texts []string) string { return "Literal[" + quoted(texts, ", ") + "]" }

func quoted(texts []string, sep string) string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = fmt.Sprintf("%q", t)
	}
	return strings.Join(out, sep)
}

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
	plain := !slices.ContainsFunc(t.fields, func(f fieldDef) bool { return !identifier(f.name) || pythonWords[f.name] })
	kind := func(f fieldDef) string {
		if f.optional {
			return "NotRequired[" + f.kind + "]"
		}
		return f.kind
	}
	if !plain {
		fmt.Fprintf(b, "\n\n%s = TypedDict(%q, {\n", t.name, t.name)
		for _, f := range t.fields {
			fmt.Fprintf(b, "    %q: %s,\n", f.name, kind(f))
		}
		b.WriteString("})\n")
		return
	}
	fmt.Fprintf(b, "\n\nclass %s(TypedDict):\n", t.name)
	for _, f := range t.fields {
		fmt.Fprintf(b, "    %s: %s", f.name, kind(f))
		if f.doc != "" {
			fmt.Fprintf(b, "  # %s", line(f.doc))
		}
		b.WriteByte('\n')
	}
}

var pythonWords = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq("False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield") {
		m[w] = true
	}
	return m
}()

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
func (typescript) enum(texts []string) string { return quoted(texts, " | ") }

func (p typescript) file(topic, root, data string, types []typeDef) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// Types of the topic %s, written by mayfly topic stub.\n", topic)
	for _, t := range append(types, typeDef{name: root, fields: []fieldDef{
		{name: "id", kind: "string"}, {name: "source", kind: "string"}, {name: "specversion", kind: `"1.0"`}, {name: "type", kind: fmt.Sprintf("%q", topic)},
		{name: "subject", kind: "string", optional: true}, {name: "time", kind: "string", optional: true}, {name: "data", kind: data},
	}}) {
		fmt.Fprintf(&b, "\nexport interface %s {\n", t.name)
		for _, f := range t.fields {
			name, mark := f.name, ""
			if !identifier(name) {
				name = fmt.Sprintf("%q", name)
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

type golang struct{}

func (golang) scalar(kind string) string {
	return map[string]string{"string": "string", "integer": "int64", "number": "float64", "boolean": "bool", "null": "any", "any": "any"}[kind]
}
func (golang) list(of string) string      { return "[]" + of }
func (golang) values(of string) string    { return "map[string]" + of }
func (golang) enum(texts []string) string { return "string" }

func (p golang) file(topic, root, data string, types []typeDef) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// Types of the topic %s, written by mayfly topic stub.\n\npackage events\n\nimport \"time\"\n", topic)
	for _, t := range types {
		fmt.Fprintf(&b, "\ntype %s struct {\n", t.name)
		seen := map[string]bool{}
		for _, f := range t.fields {
			name := pascal(f.name)
			for seen[name] {
				name += "2"
			}
			seen[name] = true
			tag := f.name
			if f.optional {
				tag += ",omitempty"
			}
			if f.doc != "" {
				fmt.Fprintf(&b, "\t// %s\n", line(f.doc))
			}
			fmt.Fprintf(&b, "\t%s %s `json:%q`\n", name, f.kind, tag)
		}
		b.WriteString("}\n")
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
