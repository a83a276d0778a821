package manifest

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// documented are the types whose keys docs/manifest.md has a table of.
var documented = []any{
	mayfly.Manifest{}, mayfly.Defaults{}, mayfly.Function{}, mayfly.Concurrency{}, mayfly.Retry{}, mayfly.Trigger{}, mayfly.CORS{},
	mayfly.Bucket{}, mayfly.Website{}, mayfly.WebsiteRedirect{}, mayfly.Queue{}, mayfly.Topic{}, mayfly.KV{}, mayfly.Database{}, mayfly.Webhook{}, mayfly.Alert{}, mayfly.Budget{},
}

// table matches a marker and the table below it.
var table = regexp.MustCompile(`(?m)^<!-- keys (\w+) -->\n+((?:\|.*\n)*)\n*`)

// TestDocsNameEveryKey keeps docs/manifest.md true: each key of each type has a
// row. -rewrite makes the tables anew from the comments in the code.
func TestDocsNameEveryKey(t *testing.T) {
	const file = "../docs/manifest.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		text = table.ReplaceAllFunc(text, func(m []byte) []byte {
			name := string(table.FindSubmatch(m)[1])
			return []byte("<!-- keys " + name + " -->\n\n" + keyTable(t, name) + "\n")
		})
		text = append(bytes.TrimRight(text, "\n"), '\n')
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rows := map[string]string{}
	for _, m := range table.FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = m[2]
	}
	for _, x := range documented {
		typ := reflect.TypeOf(x)
		names := fieldsOf(typ).names
		for _, name := range names {
			if !strings.Contains(rows[typ.Name()], "\n| `"+name+"` |") {
				t.Errorf("docs/manifest.md does not name the key %q of %s; run: go test ./manifest -run TestDocs -rewrite", name, typ.Name())
			}
		}
		if n := strings.Count(rows[typ.Name()], "\n| `"); n > len(names) {
			t.Errorf("docs/manifest.md names %d keys of %s; there are %d", n, typ.Name(), len(names))
		}
	}
}

func keyTable(t *testing.T, name string) string {
	t.Helper()
	i := slices.IndexFunc(documented, func(x any) bool { return reflect.TypeOf(x).Name() == name })
	if i < 0 {
		t.Fatalf("there is no type %s to document", name)
	}
	typ := reflect.TypeOf(documented[i])
	said := comments()
	var b strings.Builder
	b.WriteString("| key | value | meaning |\n|---|---|---|\n")
	f := fieldsOf(typ)
	for _, key := range f.names {
		field := typ.Field(f.index[key])
		meaning := said[typ.Name()+"."+field.Name]
		if required(typ, f.index[key]) {
			meaning = strings.TrimSuffix("required; "+meaning, "; ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, valueOf(typ, key, field.Type), strings.ReplaceAll(meaning, "|", "\\|"))
	}
	return b.String()
}

func valueOf(typ reflect.Type, key string, t reflect.Type) string {
	if allowed := words[typ.Name()+"."+key]; allowed != nil {
		s := "`" + strings.Join(allowed, "`, `") + "`"
		if t.Kind() == reflect.Slice {
			return "list of " + s
		}
		return s
	}
	switch {
	case t == bytesType:
		return "size"
	case t == durationType:
		return "duration"
	case t == rawType:
		return "any"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return valueOf(typ, key, t.Elem())
	case reflect.Bool:
		return "`true`, `false`"
	case reflect.Int, reflect.Float64:
		return "number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "list, see [" + key + "](#" + key + ")"
		}
		return "list"
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			return "names to texts"
		}
		return "names to [" + key + "](#" + key + ")"
	case reflect.Struct:
		return "[" + key + "](#" + key + ")"
	}
	return "text"
}
