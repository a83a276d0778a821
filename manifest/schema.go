package manifest

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mayfly-cloud/mayfly"
)

// Schema is the JSON Schema (draft 2020-12) of mayfly.yaml, for editors. It is
// made from the root types and the comments on their fields.
var Schema = sync.OnceValue(func() []byte {
	g := &schemaMaker{defs: map[string]any{}, comments: comments()}
	root := g.structure(reflect.TypeFor[mayfly.Manifest]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "https://mayfly.cloud/schema/mayfly.json"
	root["title"] = "mayfly.yaml"
	root["$defs"] = g.defs
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("manifest: the schema cannot be written: " + err.Error())
	}
	return append(data, '\n')
})

type schemaMaker struct {
	defs     map[string]any
	comments map[string]string // "Type.Field" or "Type" → comment
}

type object = map[string]any

const namePatternText = `^[a-z][a-z0-9-]{0,62}$`

func (g *schemaMaker) structure(t reflect.Type) object {
	props, need := object{}, []string{}
	f := fieldsOf(t)
	for _, name := range f.names {
		i := f.index[name]
		s := g.schema(t.Field(i).Type)
		if allowed := words[t.Name()+"."+name]; allowed != nil {
			s = enumerated(s, allowed)
		}
		if c := g.comments[t.Name()+"."+t.Field(i).Name]; c != "" {
			s["description"] = c
		}
		props[name] = s
		if required(t, i) {
			need = append(need, name)
		}
	}
	out := object{"type": "object", "properties": props, "additionalProperties": false}
	if len(need) > 0 {
		out["required"] = need
	}
	if c := g.comments[t.Name()]; c != "" {
		out["description"] = c
	}
	if t == reflect.TypeFor[mayfly.Trigger]() {
		var one []object
		for _, k := range kinds {
			one = append(one, object{"required": []string{k}})
		}
		out["oneOf"] = one
	}
	return out
}

func enumerated(s object, allowed []string) object {
	if items, ok := s["items"].(object); ok {
		items["enum"] = slices.Clone(allowed)
		return s
	}
	s["enum"] = slices.Clone(allowed)
	return s
}

func (g *schemaMaker) schema(t reflect.Type) object {
	switch t {
	case rawType:
		return object{}
	case bytesType:
		return object{"anyOf": []object{
			{"type": "string", "pattern": `^\s*[0-9.]+\s*(KiB|MiB|GiB|kB|KB|MB|GB|B)?\s*$`},
			{"type": "integer", "minimum": 0},
		}}
	case durationType:
		return object{"type": "string", "pattern": `^\s*([0-9.]+(ns|us|µs|ms|s|m|h|d))+\s*$`}
	case reflect.TypeFor[mayfly.AppName]():
		return object{"type": "string", "pattern": namePatternText}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.schema(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": g.schema(t.Elem())}
	case reflect.Map:
		return g.mapping(t)
	case reflect.Struct:
		if _, made := g.defs[t.Name()]; !made {
			g.defs[t.Name()] = nil // against recursion
			g.defs[t.Name()] = g.structure(t)
		}
		return object{"$ref": "#/$defs/" + t.Name()}
	}
	return object{"type": "string"}
}

// mapping is a schema of names to values. An empty value ("uploads:") stands
// for one without keys.
func (g *schemaMaker) mapping(t reflect.Type) object {
	value := g.schema(t.Elem())
	if t.Elem().Kind() == reflect.Pointer && t.Key() != reflect.TypeFor[mayfly.FunctionName]() {
		value = object{"anyOf": []object{value, {"type": "null"}}}
	}
	out := object{"type": "object", "additionalProperties": value}
	if t.Key() == reflect.TypeFor[mayfly.FunctionName]() {
		out["propertyNames"] = object{"pattern": namePatternText}
	}
	return out
}

// comments are those of the root's exported types and of their fields.
var comments = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	entries, err := mayfly.NounFiles.ReadDir(".")
	if err != nil {
		panic("manifest: the embedded nouns cannot be listed: " + err.Error())
	}
	for _, e := range entries {
		src, err := mayfly.NounFiles.ReadFile(e.Name())
		if err != nil {
			panic("manifest: the embedded nouns cannot be read: " + err.Error())
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			panic("manifest: the embedded nouns do not parse: " + err.Error())
		}
		for _, decl := range file.Decls {
			if d, ok := decl.(*ast.GenDecl); ok {
				typeComments(d, out)
			}
		}
	}
	return out
})

func typeComments(d *ast.GenDecl, out map[string]string) {
	for _, spec := range d.Specs {
		ts, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		if c := plain(d.Doc); c != "" && len(d.Specs) == 1 {
			out[ts.Name.Name] = c
		}
		st, ok := ts.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range st.Fields.List {
			c := plain(field.Comment)
			if c == "" {
				c = plain(field.Doc)
			}
			for _, name := range field.Names {
				if c != "" {
					out[ts.Name.Name+"."+name.Name] = c
				}
			}
		}
	}
}

func plain(c *ast.CommentGroup) string {
	if c == nil {
		return ""
	}
	return limits.Replace(strings.Join(strings.Fields(c.Text()), " "))
}

// limits puts values in place of the constants' names in comments.
var limits = strings.NewReplacer(
	"DefaultMemory", mayfly.DefaultMemory.String(),
	"DefaultTimeout", mayfly.DefaultTimeout.String(),
	"DefaultMax", strconv.Itoa(mayfly.DefaultMax),
	"DefaultQueue", strconv.Itoa(mayfly.DefaultQueue),
)
