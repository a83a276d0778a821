package contract

import (
	"encoding/json"
	"go/format"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
)

// Languages that Stub writes.
var Languages = []string{"python", "typescript", "go"}

// Stub writes types for a topic's data and events in a language.
func Stub(topic string, c *Contract, lang string) (string, error) {
	g := &generator{tree: c.tree, root: pascal(topic), used: map[string]bool{}, refs: map[string]*reference{}}
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
	if slices.Contains(taken, g.root) {
		g.root += "Event"
	}
	g.used[g.root] = true
	data := g.refOf("#", 0)
	text := g.lang.file(topic, g.root, data, g.types)
	if lang != "go" {
		return text, nil
	}
	formatted, err := format.Source([]byte(text))
	if err != nil {
		return "", mayfly.Errorf(mayfly.Internal, "write stub", "what was written is no Go: %w", err)
	}
	return string(formatted), nil
}

// taken are names that the files of stubs use themselves.
var taken = []string{"Any", "Literal", "NotRequired", "TypedDict", "Array", "Record"}

// generator collects the named types of a schema. All names begin with the
// topic's, so that the stubs of several topics stand in one package.
type generator struct {
	lang  lang
	tree  any
	root  string // the event's type
	types []typeDef
	used  map[string]bool       // names of types
	refs  map[string]*reference // by "$ref"
}

// reference is a part of the schema that has a type of its own.
type reference struct {
	name string // of the type
	open bool   // its fields are being written: it refers to itself
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
	nullable(of string) string
	forward(name string) string // a type that is not written yet
	file(topic, root, data string, types []typeDef) string
}

func (g *generator) typeOf(name string, schema any, depth int) string {
	s, ok := schema.(object)
	if !ok || depth > 20 {
		return g.lang.scalar("any")
	}
	if ref, ok := s["$ref"].(string); ok {
		return g.refOf(ref, depth)
	}
	if texts := enumTexts(s); texts != nil {
		return g.lang.enum(texts)
	}
	kinds := types(s)
	if i := slices.Index(kinds, "null"); i >= 0 && len(kinds) == 2 {
		return g.lang.nullable(g.kindOf(name, kinds[1-i], s, depth))
	}
	if len(kinds) != 1 {
		return g.lang.scalar("any")
	}
	return g.kindOf(name, kinds[0], s, depth)
}

func (g *generator) kindOf(name, kind string, s object, depth int) string {
	switch kind {
	case "array":
		return g.lang.list(g.typeOf(name+"Item", s["items"], depth+1))
	case "object":
		return g.objectOf(name, s, depth)
	}
	return g.lang.scalar(kind)
}

// refOf is the type of a part of the schema, which is written once.
func (g *generator) refOf(ref string, depth int) string {
	if r := g.refs[ref]; r != nil && r.open {
		return g.lang.forward(r.name)
	} else if r != nil {
		return r.name
	}
	target, label, ok := g.resolve(ref)
	if !ok {
		return g.lang.scalar("any")
	}
	name := g.root + pascal(label)
	if s, ok := target.(object); !ok || !named(s) {
		return g.typeOf(name, target, depth+1)
	}
	r := &reference{name: g.free(name), open: true}
	g.refs[ref] = r
	g.define(r.name, target.(object), depth)
	r.open = false
	return r.name
}

// named reports whether a schema has a type of its own: it is an object with
// properties, and nothing else.
func named(s object) bool {
	properties, _ := s["properties"].(object)
	kinds := types(s)
	return len(properties) > 0 && len(kinds) == 1 && kinds[0] == "object" && s["$ref"] == nil
}

func (g *generator) objectOf(name string, s object, depth int) string {
	if properties, _ := s["properties"].(object); len(properties) > 0 {
		name = g.free(name)
		g.define(name, s, depth)
		return name
	}
	if values, ok := s["additionalProperties"].(object); ok {
		return g.lang.values(g.typeOf(name+"Value", values, depth+1))
	}
	return g.lang.values(g.lang.scalar("any"))
}

// free is a name that no other type has, and takes it.
func (g *generator) free(name string) string {
	for g.used[name] {
		name += "2"
	}
	g.used[name] = true
	return name
}

func (g *generator) define(name string, s object, depth int) {
	def := typeDef{name: name}
	properties, _ := s["properties"].(object)
	required := names(s["required"])
	for _, p := range slices.Sorted(maps.Keys(properties)) {
		f := fieldDef{name: p, optional: !slices.Contains(required, p), kind: g.typeOf(name+pascal(p), properties[p], depth+1)}
		if sub, ok := properties[p].(object); ok {
			f.doc, _ = sub["description"].(string)
		}
		def.fields = append(def.fields, f)
	}
	g.types = append(g.types, def)
}

// resolve follows "#/$defs/name", and "#", the whole schema.
func (g *generator) resolve(ref string) (schema any, label string, ok bool) {
	if ref == "#" {
		return g.tree, "data", true
	}
	path, ok := strings.CutPrefix(ref, "#/")
	schema = g.tree
	for part := range strings.SplitSeq(path, "/") {
		s, isObject := schema.(object)
		if !ok || !isObject {
			return nil, "", false
		}
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		schema, ok = s[part]
		label = part
	}
	return schema, label, ok
}

func enumTexts(s object) []string {
	list, _ := s["enum"].([]any)
	if text, ok := s["const"].(string); ok {
		return []string{text}
	}
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
	name := b.String()
	if first, _ := utf8.DecodeRuneInString(name); !unicode.IsLetter(first) {
		return "T" + name
	}
	return name
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

// quote is a text as JSON, Python and TypeScript write it.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("contract: a text has no JSON: " + err.Error())
	}
	return string(b)
}

func quoted(texts []string, sep string) string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = quote(t)
	}
	return strings.Join(out, sep)
}
