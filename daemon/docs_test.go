package daemon

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mayfly-cloud/mayfly/api"
	"github.com/mayfly-cloud/mayfly/trigger/async"
	"github.com/mayfly-cloud/mayfly/trigger/cron"
	"github.com/mayfly-cloud/mayfly/trigger/dead"
	"github.com/mayfly-cloud/mayfly/trigger/once"
	"github.com/mayfly-cloud/mayfly/trigger/queue"
	"github.com/mayfly-cloud/mayfly/trigger/source"
	"github.com/mayfly-cloud/mayfly/trigger/stream"
	"github.com/mayfly-cloud/mayfly/trigger/topic"
)

var rewrite = flag.Bool("rewrite", false, "write the operations into docs/events.md")

// operationTable matches its marker and the table below.
var operationTable = regexp.MustCompile(`(?m)^<!-- operations -->\n+(?:\|.*\n)*\n*`)

// TestDocsNameEveryOperation keeps the list of operations on events in
// docs/events.md that of the API.
func TestDocsNameEveryOperation(t *testing.T) {
	const file = "../docs/events.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, part := range []api.Part{
		queue.New(queue.Config{}), topic.New(topic.Config{}), stream.New(stream.Config{}), cron.New(cron.Config{}), async.New(async.Config{}), dead.New(dead.Config{}), source.New(nil, nil), once.New(nil),
	} {
		a := humago.New(http.NewServeMux(), huma.DefaultConfig("test", "1"))
		part.Register(a)
		rows = append(rows, operations(a.OpenAPI())...)
	}
	if !operationTable.Match(text) {
		t.Fatal("docs/events.md has no line <!-- operations -->")
	}
	want := operationTable.ReplaceAllLiteral(text, []byte("<!-- operations -->\n\n| operation | |\n|---|---|\n"+strings.Join(rows, "")+"\n"))
	if *rewrite {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(text, want) {
		t.Error("docs/events.md lists other operations than the API has; run: go test ./daemon -run TestDocs -rewrite")
	}
}

// operations are rows of a table, by path.
func operations(o *huma.OpenAPI) []string {
	var rows []string
	for _, path := range slices.Sorted(maps.Keys(o.Paths)) {
		item := o.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op != nil {
				rows = append(rows, fmt.Sprintf("| `%s %s` | %s |\n", op.Method, strings.TrimPrefix(path, "/v1/apps/{app}"), op.Summary))
			}
		}
	}
	return rows
}
