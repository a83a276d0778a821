package manifest

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. Aliases are expanded while decoding, so that a small file
// could stand for a huge value: maxNodes counts nodes after expansion. The YAML
// parser's time grows with the square of a mapping's keys: 10,000 functions take
// about a second (BenchmarkParse), and maxLines bounds the rest.
const (
	maxFile  = 2 << 20
	maxLines = 50_000
	maxDepth = 64
	maxNodes = 400_000
)

// notKeys are fields of the root nouns that are filled at load.
var notKeys = map[string]bool{"schema_body": true, "migration_files": true}

// place is where something is in the file.
type place struct{ line, column int }

// decoder turns an AST into values of the root types. Nothing that it meets
// ends it early: every problem is noted and the walk goes on.
type decoder struct {
	problems Problems
	places   map[string]place // of values, by path
	anchors  map[string]ast.Node
	open     map[string]bool // aliases being expanded, against cycles
	nodes    int
	spent    bool // nodes passed maxNodes
}

func (d *decoder) problem(n ast.Node, path, format string, args ...any) {
	at := placeOf(n)
	d.problems = append(d.problems, Problem{Line: at.line, Column: at.column, Path: path, Message: fmt.Sprintf(format, args...)})
}

func placeOf(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		n = m.Values[0]
	}
	if m, ok := n.(*ast.MappingValueNode); ok && m.Key != nil {
		n = m.Key
	}
	if n == nil {
		return place{}
	}
	return placeOfToken(n.GetToken())
}

func placeOfToken(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

// enter counts a node and resolves tags, anchors and aliases. The returned
// release must be called when the node is done with.
func (d *decoder) enter(n ast.Node, path string, depth int) (resolved ast.Node, release func(), ok bool) {
	release = func() {}
	for {
		d.nodes++
		if d.nodes > maxNodes {
			if !d.spent {
				d.spent = true
				d.problem(n, path, "the file stands for more than %d values once its aliases are expanded; use fewer aliases", maxNodes)
			}
			return nil, release, false
		}
		switch t := n.(type) {
		case *ast.AnchorNode:
			if t.Name != nil {
				d.anchors[t.Name.String()] = t.Value
			}
			n = t.Value
		case *ast.TagNode:
			d.problem(n, path, "tags such as %s are not used in a manifest; remove it", t.Start.Value)
			return nil, release, false
		case *ast.AliasNode:
			name := t.Value.String()
			target, known := d.anchors[name]
			if !known {
				d.problem(n, path, "no anchor &%s comes before this alias", name)
				return nil, release, false
			}
			if d.open[name] {
				d.problem(n, path, "the alias *%s is inside its own anchor", name)
				return nil, release, false
			}
			d.open[name] = true
			before := release
			release = func() { delete(d.open, name); before() }
			n = target
		default:
			if depth > maxDepth {
				d.problem(n, path, "nested more than %d deep", maxDepth)
				return nil, release, false
			}
			return n, release, true
		}
	}
}

// entry is one key of a mapping.
type entry struct {
	key    string
	keyPos place
	node   *ast.MappingValueNode
}

// entries are the keys of a mapping in the order of the file, merge keys
// ("<<") expanded behind the mapping's own. Duplicates are refused.
func (d *decoder) entries(n ast.Node, path string, depth int) ([]entry, bool) {
	var values []*ast.MappingValueNode
	switch t := n.(type) {
	case *ast.MappingNode:
		values = t.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{t}
	default:
		return nil, false
	}
	var own, merged []entry
	seen := map[string]place{}
	for _, v := range values {
		if _, merge := v.Key.(*ast.MergeKeyNode); merge {
			merged = append(merged, d.merged(v.Value, path, depth+1)...)
			continue
		}
		key, ok := d.key(v, path)
		if !ok {
			continue
		}
		e := entry{key: key, keyPos: placeOfToken(v.Key.GetToken()), node: v}
		if first, dup := seen[key]; dup {
			d.problem(v.Key, join(path, key), "%q is set twice; the first is in line %d", key, first.line)
			continue
		}
		seen[key] = e.keyPos
		own = append(own, e)
	}
	for _, e := range merged {
		if _, set := seen[e.key]; !set {
			seen[e.key] = e.keyPos
			own = append(own, e)
		}
	}
	return own, true
}

func (d *decoder) merged(n ast.Node, path string, depth int) []entry {
	n, release, ok := d.enter(n, path, depth)
	defer release()
	if !ok {
		return nil
	}
	if list, isList := n.(*ast.SequenceNode); isList {
		var all []entry
		for _, item := range list.Values {
			all = append(all, d.merged(item, path, depth+1)...)
		}
		return all
	}
	es, isMap := d.entries(n, path, depth)
	if !isMap {
		d.problem(n, path, "\"<<\" merges mappings; this is %s", describe(n))
	}
	return es
}

func (d *decoder) key(v *ast.MappingValueNode, path string) (string, bool) {
	switch k := v.Key.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return v.Key.GetToken().Value, true
	}
	d.problem(v.Key, path, "a key is a plain word; this is %s", describe(v.Key))
	return "", false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// value decodes n into v, which is settable.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, depth int) {
	n, release, ok := d.enter(n, path, depth)
	defer release()
	if !ok {
		return
	}
	if _, set := d.places[path]; !set {
		d.places[path] = placeOf(n)
	}
	if v.Type() == rawType {
		if j, ok := d.jsonValue(n, path, depth); ok {
			data, err := json.Marshal(j)
			if err != nil {
				d.problem(n, path, "cannot be written as JSON: %v", err)
				return
			}
			v.SetBytes(data)
		}
		return
	}
	if v.Kind() == reflect.Pointer {
		target := reflect.New(v.Type().Elem())
		v.Set(target)
		if _, null := n.(*ast.NullNode); !null {
			d.typed(n, target.Elem(), path, depth)
		}
		return
	}
	if _, null := n.(*ast.NullNode); null {
		if v.Kind() != reflect.Map && v.Kind() != reflect.Struct {
			d.problem(n, path, "has no value; it is %s", expectation(v.Type()))
		}
		return
	}
	d.typed(n, v, path, depth)
}

func (d *decoder) typed(n ast.Node, v reflect.Value, path string, depth int) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, u, v.Type(), path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path, depth)
	case reflect.Map:
		d.mapping(n, v, path, depth)
	case reflect.Slice:
		d.list(n, v, path, depth)
	default:
		d.scalar(n, v, path)
	}
}

// text decodes sizes and durations. A size may be a bare number.
func (d *decoder) text(n ast.Node, u encoding.TextUnmarshaler, t reflect.Type, path string) {
	s, isString := stringValue(n)
	if i, isInt := n.(*ast.IntegerNode); isInt {
		s = i.Token.Value
		if t == durationType {
			d.problem(n, path, "%s has no unit; write it as %ss or %sm", s, s, s)
			return
		}
	} else if !isString {
		d.problem(n, path, "must be %s; this is %s", expectation(t), describe(n))
		return
	}
	if err := u.UnmarshalText([]byte(s)); err != nil {
		d.problem(n, path, "%v", err)
	}
}

func (d *decoder) structure(n ast.Node, v reflect.Value, path string, depth int) {
	es, ok := d.entries(n, path, depth)
	if !ok {
		d.problem(n, path, "must be %s; this is %s", expectation(v.Type()), describe(n))
		return
	}
	fields := fieldsOf(v.Type())
	for _, e := range es {
		at := join(path, e.key)
		i, known := fields.index[e.key]
		if !known {
			d.problem(e.node.Key, at, "unknown key %q%s", e.key, keyHint(e.key, path, fields.names))
			continue
		}
		before := len(d.problems)
		d.child(e, v.Field(i), at, depth)
		if len(d.problems) == before {
			d.zero(e.node.Value, v.Type(), i, v.Field(i), at)
		}
	}
}

// child decodes a key's value. Mappings and lists are placed at their key.
func (d *decoder) child(e entry, v reflect.Value, path string, depth int) {
	switch e.node.Value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, *ast.NullNode, *ast.AnchorNode, *ast.AliasNode:
		d.places[path] = e.keyPos
	}
	d.value(e.node.Value, v, path, depth+1)
}

// keyHint names the nearest key, else all of them where there are few.
func keyHint(key, path string, names []string) string {
	if h := hint(key, names); h != "" {
		return h
	}
	where := "here"
	if path == "" {
		where = "at the top level"
	}
	return "; " + where + " may be " + oneOf(names)
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string, depth int) {
	es, ok := d.entries(n, path, depth)
	if !ok {
		d.problem(n, path, "must be %s; this is %s", expectation(v.Type()), describe(n))
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(es))
	for _, e := range es {
		item := reflect.New(v.Type().Elem()).Elem()
		d.child(e, item, join(path, e.key), depth)
		m.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), item)
	}
	v.Set(m)
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string, depth int) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problem(n, path, "must be %s; this is %s", expectation(v.Type()), describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(seq.Values))
	for i, item := range seq.Values {
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(item, element, fmt.Sprintf("%s[%d]", path, i), depth+1)
		out = reflect.Append(out, element)
	}
	v.Set(out)
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		s, ok := stringValue(n)
		if !ok {
			d.wrongString(n, path)
			return
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.problem(n, path, "must be true or false; this is %s", describe(n))
			return
		}
		v.SetBool(b.Value)
	case reflect.Int:
		i, ok := intValue(n)
		if !ok {
			d.problem(n, path, "must be a whole number; this is %s", describe(n))
			return
		}
		v.SetInt(i)
	case reflect.Float64:
		f, ok := floatValue(n)
		if !ok {
			d.problem(n, path, "must be a number; this is %s", describe(n))
			return
		}
		v.SetFloat(f)
	default:
		panic("manifest: a root noun has a field of kind " + v.Kind().String() + ", which the reader does not know")
	}
}

func (d *decoder) wrongString(n ast.Node, path string) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.problem(n, path, "must be a text; this is %s: put it in quotes: %q", describe(n), n.GetToken().Value)
	default:
		d.problem(n, path, "must be a text; this is %s", describe(n))
	}
}

// jsonValue is n as encoding/json's any.
func (d *decoder) jsonValue(n ast.Node, path string, depth int) (any, bool) {
	switch t := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.BoolNode:
		return t.Value, true
	case *ast.IntegerNode:
		return t.Value, true
	case *ast.FloatNode:
		if math.IsInf(t.Value, 0) || math.IsNaN(t.Value) {
			break
		}
		return t.Value, true
	case *ast.SequenceNode:
		list := make([]any, 0, len(t.Values))
		for i, item := range t.Values {
			j, ok := d.jsonChild(item, fmt.Sprintf("%s[%d]", path, i), depth)
			if !ok {
				return nil, false
			}
			list = append(list, j)
		}
		return list, true
	case *ast.MappingNode, *ast.MappingValueNode:
		es, _ := d.entries(n, path, depth)
		m := make(map[string]any, len(es))
		for _, e := range es {
			j, ok := d.jsonChild(e.node.Value, join(path, e.key), depth)
			if !ok {
				return nil, false
			}
			m[e.key] = j
		}
		return m, true
	default:
		if s, ok := stringValue(n); ok {
			return s, true
		}
	}
	d.problem(n, path, "%s has no form in JSON", describe(n))
	return nil, false
}

func (d *decoder) jsonChild(n ast.Node, path string, depth int) (any, bool) {
	n, release, ok := d.enter(n, path, depth+1)
	defer release()
	if !ok {
		return nil, false
	}
	if _, set := d.places[path]; !set {
		d.places[path] = placeOf(n)
	}
	return d.jsonValue(n, path, depth+1)
}

// fields are the keys of a struct.
type fields struct {
	names []string // in the order of the type
	index map[string]int
}

var knownFields sync.Map // reflect.Type → fields

func fieldsOf(t reflect.Type) fields {
	if f, ok := knownFields.Load(t); ok {
		return f.(fields)
	}
	f := fields{index: map[string]int{}}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" || notKeys[name] {
			continue
		}
		f.names = append(f.names, name)
		f.index[name] = i
	}
	knownFields.Store(t, f)
	return f
}

// required reports whether the key of field i must be set: its tag has no
// omitempty or omitzero.
func required(t reflect.Type, i int) bool {
	_, opts, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
	return !slices.Contains(strings.Split(opts, ","), "omitempty") && !slices.Contains(strings.Split(opts, ","), "omitzero")
}
