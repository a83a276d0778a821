package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"

	"github.com/mayfly-cloud/mayfly"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden answers in testdata")

// photos is the example of the design, every key of it.
const photos = `app: photos
defaults: {memory: 256MiB, timeout: 10s, env: {LEVEL: info, SIZE: "1"}}
functions:
  thumbnail:
    runtime: python
    source: ./thumbnail
    build: pip install -r requirements.txt -t .
    handler: app.handler
    memory: 512MiB
    timeout: 30s
    concurrency: {per_instance: 1, max: 50, warm: 0}
    keep_alive: auto
    env: {SIZE: "128"}
    secrets: [STRIPE_KEY]
    allow: [read bucket/uploads, write bucket/thumbs, send queue/mail]
    egress: [api.stripe.com:443]
    retry: {attempts: 3, backoff: 1s..5m}
    on:
      - http: POST /photos/{id}/thumbnail
      - bucket: uploads
        events: [created]
        prefix: raw/
      - queue: jobs
        batch: 10
      - topic: order.*
        match: {data: {total: [{numeric: [">", 100]}]}}
      - schedule: "0 3 * * *"
        timezone: Europe/Zurich
      - table: main.orders
        events: [insert, update]
      - webhook: /hooks/github
        verify: github
        secret: GITHUB_SECRET
buckets: {uploads: {}, thumbs: {public: true}}
queues: {jobs: {visibility: 30s, attempts: 5}, mail: {order_by: customer}}
topics: {order.created: {schema: ./schemas/order.json}}
kv: {sessions: {ttl: 1h}}
databases: {main: {engine: sqlite, migrations: ./migrations}}
`

func TestParseWhole(t *testing.T) {
	m, problems := Parse("mayfly.yaml", []byte(photos))
	if len(problems) > 0 {
		t.Fatalf("problems:\n%s", problems.Error())
	}
	fn := m.Functions["thumbnail"]
	if fn.Memory != 512*mayfly.MiB || fn.Timeout.String() != "30s" || fn.Concurrency.Max != 50 || fn.Concurrency.PerInstance != 1 {
		t.Errorf("limits: %+v", fn)
	}
	if fn.Env["SIZE"] != "128" || fn.Env["LEVEL"] != "info" {
		t.Errorf("env is not merged: %v", fn.Env)
	}
	if len(fn.On) != 7 || fn.On[3].Topic != "order.*" || string(fn.On[3].Match) != `{"data":{"total":[{"numeric":["\u003e",100]}]}}` {
		t.Errorf("on: %+v, match %s", fn.On, fn.On[3].Match)
	}
	if !m.Buckets["thumbs"].Public || m.KV["sessions"].TTL.String() != "1h" || m.Queues["mail"].OrderBy != "customer" {
		t.Errorf("resources: %+v", m)
	}
	if fn.Template != "auto" || fn.Require != "any" || fn.Isolation != "process" {
		t.Errorf("defaults: %+v", fn)
	}
}

func TestProblems(t *testing.T) {
	const file = "testdata/problems.txtar"
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := &txtar.Archive{Comment: archive.Comment}
	for i, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".said") {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			m, problems := Parse("mayfly.yaml", f.Data)
			if m != nil || len(problems) == 0 {
				t.Errorf("nothing is said of it")
			}
			got := problems.Error() + "\n"
			out.Files = append(out.Files, f, txtar.File{Name: f.Name + ".said", Data: []byte(got)})
			want := ""
			if i+1 < len(archive.Files) {
				want = string(archive.Files[i+1].Data)
			}
			if got != want && !*rewrite {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
	if *rewrite {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestParseIsBounded(t *testing.T) {
	for name, data := range map[string]string{
		"bytes": "app: a\n#" + strings.Repeat("x", maxFile), "lines": "app: a\n" + strings.Repeat("\n", maxLines+1),
		"brackets": "app: " + strings.Repeat("[", 100_000), "dashes": "app: " + strings.Repeat("- ", 100_000),
	} {
		if _, problems := Parse("mayfly.yaml", []byte(data)); len(problems) != 1 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

func TestAnchorsAndMerge(t *testing.T) {
	m, problems := Parse("mayfly.yml", []byte(`app: a
functions:
  f: &base
    runtime: wasm
    source: .
    memory: 32MiB
    env: &env {A: "1"}
  g:
    <<: *base
    memory: 64MiB
  h: {runtime: wasm, source: ., env: *env}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	f, g, h := m.Functions["f"], m.Functions["g"], m.Functions["h"]
	if f.Memory != 32*mayfly.MiB || g.Memory != 64*mayfly.MiB || g.Runtime != mayfly.Wasm || h.Env["A"] != "1" {
		t.Errorf("f %+v\ng %+v\nh %+v", f, g, h)
	}
}

// write makes files below a fresh folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadFiles(t *testing.T) {
	dir := write(t, map[string]string{
		"mayfly.yaml":           photos,
		"thumbnail/app.py":      "",
		"schemas/order.json":    "{\n  \"type\": \"object\"\n}",
		"migrations/001_a.sql":  "create table a(x)",
		"migrations/README.txt": "not SQL",
	})
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(m.Topics["order.created"].SchemaBody); got != `{"type":"object"}` {
		t.Errorf("schema body %s", got)
	}
	if want := map[string]string{"001_a.sql": "create table a(x)"}; !reflect.DeepEqual(m.Databases["main"].MigrationFiles, want) {
		t.Errorf("migrations %v", m.Databases["main"].MigrationFiles)
	}
	if _, err := Load(filepath.Join(dir, "mayfly.yaml")); err != nil {
		t.Errorf("by file: %v", err)
	}
}

func TestLoadSaysAllAboutFiles(t *testing.T) {
	dir := write(t, map[string]string{
		"mayfly.yaml": `app: a
functions:
  f: {runtime: wasm, source: ./cod}
  g: {runtime: wasm, source: ../outside}
  h: {runtime: wasm, source: /etc}
  i: {runtime: wasm, source: ./link}
  j: {runtime: container, source: ./image.tar}
  k: {runtime: container, source: registry.example/image:1}
topics: {t: {schema: ./s.json}}
databases: {d: {migrations: ./m}}
`,
		"code/x":   "",
		"s.json":   "{",
		"m/up.sql": "", "m/001.sql": "", "m/2_x.down.sql": "",
	})
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	_, err := Load(dir)
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Fatalf("error %v", err)
	}
	want := `mayfly.yaml:3:30: functions.f.source: ./cod does not exist; did you mean "code"?
mayfly.yaml:4:30: functions.g.source: ../outside is outside the app's folder; move it inside
mayfly.yaml:5:30: functions.h.source: /etc is absolute; write it relative to the manifest
mayfly.yaml:6:30: functions.i.source: ./link is a link that leads out of the app's folder; copy what it points to
mayfly.yaml:7:35: functions.j.source: ./image.tar does not exist
mayfly.yaml:9:22: topics.t.schema: ./s.json is not JSON: unexpected end of JSON input
mayfly.yaml:10:29: databases.d.migrations: 2_x.down.sql would undo a migration, and migrations run forward only; move it out of the folder
mayfly.yaml:10:29: databases.d.migrations: the migration up.sql has no number; name it as 001_up.sql`
	if got := ProblemsOf(err).Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestLoadNoManifest(t *testing.T) {
	for _, path := range []string{t.TempDir(), "/does/not/exist"} {
		if _, err := Load(path); mayfly.CodeOf(err) != mayfly.NotFound {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSupported(t *testing.T) {
	dir := write(t, map[string]string{"mayfly.yaml": `app: a
functions:
  f: {runtime: wasm, source: ., timeout: 1s, on: [{stream: t}]}
  g: {runtime: node, source: ., handler: a.b, isolation: gvisor}
topics: {t: {}}
budget: {amount: 1}
`})
	doc, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := Supported{
		Runtimes:  []mayfly.Runtime{mayfly.Node},
		Triggers:  []mayfly.TriggerKind{mayfly.TriggerHTTP},
		Isolation: []string{"process"},
		Without:   []string{"budget", "functions.*.timeout"},
	}
	want := `mayfly.yaml:3:16: functions.f.runtime: the runtime wasm is not supported yet
mayfly.yaml:3:42: functions.f.timeout: is not supported yet
mayfly.yaml:3:60: functions.f.on[0].stream: the trigger stream is not supported yet
mayfly.yaml:4:58: functions.g.isolation: the isolation gvisor is not supported yet; this node has process
mayfly.yaml:6:1: budget: is not supported yet`
	if got := s.Check(doc).Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := (Supported{}).Check(doc); len(got) > 0 {
		t.Errorf("all is supported, but: %v", got)
	}
}

func TestQualifiersCoverTrigger(t *testing.T) {
	for _, name := range fieldsOf(reflect.TypeFor[mayfly.Trigger]()).names {
		if _, ok := qualifiers[name]; !ok && !slices.Contains(kinds, name) {
			t.Errorf("the trigger key %q is in neither kinds nor qualifiers", name)
		}
	}
}

func TestWordsNameFields(t *testing.T) {
	known := map[string]bool{}
	for _, x := range []any{mayfly.Function{}, mayfly.Defaults{}, mayfly.Trigger{}, mayfly.Topic{}, mayfly.Database{}, mayfly.Budget{}} {
		for _, name := range fieldsOf(reflect.TypeOf(x)).names {
			known[reflect.TypeOf(x).Name()+"."+name] = true
		}
	}
	for name := range words {
		if !known[name] {
			t.Errorf("words has %s, which is no key", name)
		}
	}
}

func TestSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mayfly.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("mayfly.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(generic(t, photos)); err != nil {
		t.Errorf("the whole example: %v", err)
	}
	for _, bad := range []string{
		"app: A B", "ap: a", "app: a\nfunctions: {f: {}}", "app: a\nfunctions: {f: {runtime: x}}",
		"app: a\nfunctions: {f: {runtime: wasm, memory: lots}}", "app: a\nfunctions: {f: {runtime: wasm, on: [{batch: 1}]}}",
	} {
		if schema.Validate(generic(t, bad)) == nil {
			t.Errorf("the schema takes %q", bad)
		}
	}
	fn := doc.(map[string]any)["$defs"].(map[string]any)["Function"].(map[string]any)["properties"].(map[string]any)
	if d := fn["build"].(map[string]any)["description"]; d == nil {
		t.Errorf("build has no description")
	}
}

// generic is YAML as the values that encoding/json makes.
func generic(t *testing.T, src string) any {
	t.Helper()
	body, problems := parse([]byte(src))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	d := &decoder{places: map[string]place{}}
	x, _ := d.jsonValue(body, "", 0)
	data, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNearest(t *testing.T) {
	all := []string{"memory", "timeout", "env", "egress", "on"}
	for s, want := range map[string]string{"memry": "memory", "mem": "memory", "time_out": "timeout", "evn": "env", "zzz": "", "Timeout": "timeout", "o": "", "onn": "on", "": ""} {
		if got := Nearest(s, all); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestProblemsErr(t *testing.T) {
	if err := (Problems(nil)).Err(); err != nil {
		t.Errorf("no problems are an error: %v", err)
	}
	err := Problems{{File: "f", Line: 1, Column: 2, Path: "p", Message: "m"}}.Err()
	var ps Problems
	if !errors.As(err, &ps) || mayfly.MessageOf(err) != "f:1:2: p: m" {
		t.Errorf("error %v", err)
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{{"*", "a", true}, {"a.*", "a.b.c", true}, {"a.*", "b.a", false}, {"*.x", "a.x", true}, {"a*b*c", "aXbYc", true}, {"a*b*c", "acb", false}, {"a*a", "a", false}} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(photos))
	archive, err := txtar.ParseFile("testdata/problems.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		if !strings.HasSuffix(file.Name, ".said") {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, problems := Parse("mayfly.yaml", data)
		if (m == nil) == (len(problems) == 0) {
			t.Fatalf("manifest %v, problems %v", m, problems)
		}
		for _, p := range problems {
			if p.Message == "" || p.File == "" {
				t.Errorf("a problem says nothing: %+v", p)
			}
		}
		if m != nil {
			if _, err := json.Marshal(m); err != nil {
				t.Errorf("the manifest has no JSON: %v", err)
			}
		}
	})
}
