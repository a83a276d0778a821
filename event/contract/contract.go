package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/mayfly-cloud/mayfly"
)

// Contract is a compiled schema. It does not change and may be used
// concurrently.
type Contract struct {
	schema *jsonschema.Schema
	tree   any // the schema's JSON
}

// closed is a loader that loads nothing: a schema stands alone.
type closed struct{}

func (closed) Load(url string) (any, error) {
	return nil, errors.New("a schema cannot refer to other files or addresses; put what it needs under $defs")
}

// Compile reads a JSON Schema (2020-12, or what its $schema says). It returns
// an Invalid error that says what is wrong with it.
func Compile(text []byte) (*Contract, error) {
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read schema", "it is not JSON: %w", err)
	}
	const name = "mayfly:schema"
	c := jsonschema.NewCompiler()
	c.UseLoader(closed{})
	c.AssertFormat()
	if err := c.AddResource(name, tree); err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read schema", "%s", plain(err))
	}
	schema, err := c.Compile(name)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read schema", "%s", plain(err))
	}
	return &Contract{schema, tree}, nil
}

func plain(err error) string {
	var v *jsonschema.SchemaValidationError
	if errors.As(err, &v) {
		if list := violations(v.Err); len(list) > 0 {
			return strings.Join(list, "; ")
		}
	}
	return strings.ReplaceAll(err.Error(), "mayfly:schema", "the schema")
}

// Validate returns an Invalid error with the path of each violation, "data.total:
// got string, want number".
func (c *Contract) Validate(data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "check event", "data is not JSON: %w", err)
	}
	if err := c.schema.Validate(v); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "check event", "the data breaks the topic's schema: %s", strings.Join(violations(err), "; "))
	}
	return nil
}

const mostViolations = 5

// violations are the innermost causes of an error.
func violations(err error) []string {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return []string{err.Error()}
	}
	printer := message.NewPrinter(language.English)
	var out []string
	var walk func(v *jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		for _, cause := range v.Causes {
			walk(cause)
		}
		if len(v.Causes) == 0 && len(out) < mostViolations {
			path := strings.Join(append([]string{"data"}, v.InstanceLocation...), ".")
			out = append(out, path+": "+v.ErrorKind.LocalizedString(printer))
		}
	}
	walk(v)
	slices.Sort(out)
	return slices.Compact(out)
}

// Equal reports whether two schemas say the same, but for their layout.
func Equal(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	p, _ := json.Marshal(x) // keys are sorted
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}
