package manifest

import (
	"reflect"
	"regexp"

	"github.com/goccy/go-yaml/ast"
)

// defaultOf finds a field's default in its comment, where that is not nothing.
var defaultOf = regexp.MustCompile(`\bdefault ([1-9][0-9A-Za-z.]*)`)

// zero refuses a 0 that was written where 0 stands for a default: whoever
// writes attempts: 0 does not mean 3.
func (d *decoder) zero(n ast.Node, of reflect.Type, field int, v reflect.Value, path string) {
	if !v.IsZero() || v.Kind() != reflect.Int && v.Kind() != reflect.Int64 {
		return
	}
	switch n.(type) {
	case *ast.IntegerNode, *ast.StringNode:
	default:
		return // empty, or wrong and said already
	}
	if m := defaultOf.FindStringSubmatch(comments()[of.Name()+"."+of.Field(field).Name]); m != nil {
		d.problem(n, path, "cannot be 0; leave it out for the default, which is %s", m[1])
	}
}
