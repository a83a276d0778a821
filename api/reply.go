package api

import (
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// emptyLists makes a reply's lists [] where they are nil: a client iterates
// over what the document calls an array. A member with omitempty stays out.
func emptyLists(_ huma.Context, _ string, v any) (any, error) {
	body := reflect.ValueOf(v)
	for body.Kind() == reflect.Pointer && !body.IsNil() {
		body = body.Elem()
	}
	if body.Kind() != reflect.Struct {
		return v, nil
	}
	var changed reflect.Value
	for i := range body.NumField() {
		f := body.Type().Field(i)
		if f.Type.Kind() != reflect.Slice || !f.IsExported() || !body.Field(i).IsNil() || strings.Contains(f.Tag.Get("json"), ",omit") {
			continue
		}
		if f.Type.Elem().Kind() == reflect.Uint8 { // text or JSON, no list
			continue
		}
		if !changed.IsValid() {
			changed = reflect.New(body.Type()).Elem()
			changed.Set(body)
		}
		changed.Field(i).Set(reflect.MakeSlice(f.Type, 0, 0))
	}
	if !changed.IsValid() {
		return v, nil
	}
	return changed.Interface(), nil
}
