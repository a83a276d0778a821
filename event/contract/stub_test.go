package contract

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	gotypes "go/types"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// awkward are schemas that a language has trouble with, by topic.
var awkward = map[string]string{
	"order.created": order,
	"tree":          `{"type":"object","properties":{"value":{"type":"integer"},"left":{"$ref":"#"},"right":{"$ref":"#"},"all":{"type":"array","items":{"$ref":"#"}}}}`,
	"defs": `{"type":"object","properties":{"a":{"$ref":"#/$defs/node"},"b":{"$ref":"#/$defs/node"},"c":{"$ref":"#/$defs/data"},"d":{"$ref":"#/$defs/defs"},"e":{"$ref":"#/$defs/text"},"f":{"$ref":"#/$defs/a~1b"}},
		"$defs":{"node":{"type":"object","properties":{"next":{"$ref":"#/$defs/node"},"other":{"$ref":"#/$defs/pair"}},"required":["next"]},"pair":{"type":"object","properties":{"node":{"$ref":"#/$defs/node"},"pair":{"type":["object","null"],"properties":{"x":{"$ref":"#/$defs/pair"}}}}},
		"data":{"type":"object","properties":{"x":{"type":"string"}}},"defs":{"type":"object","properties":{"y":{"type":"string"}}},"text":{"type":"string"},"a/b":{"type":"object","properties":{"z":{"type":"number"}}}}}`,
	"nulls":  `{"type":"object","required":["s"],"properties":{"s":{"type":["string","null"]},"n":{"type":["null","integer"]},"l":{"type":["array","null"],"items":{"type":["number","null"]}},"o":{"type":["object","null"],"properties":{"x":{"type":"boolean"}}},"m":{"type":["object","null"],"additionalProperties":{"type":["boolean","null"]}},"three":{"type":["string","number","null"]},"only":{"type":"null"}}}`,
	"names":  `{"type":"object","properties":{"class":{"type":"string"},"a-b":{"type":"string"},"a_b":{"type":"string"},"A b":{"type":"string"},"":{"type":"string"},"1st":{"type":"string"},"日本":{"type":"string"},"quo\"te":{"type":"string"},"back` + "`" + `tick":{"type":"string"},"com,ma":{"type":"string"},"-":{"type":"string"},"__private":{"type":"string"},"line\nbreak":{"type":"string","description":"over\nlines */ and so on"}}}`,
	"enums":  `{"type":"object","properties":{"a":{"enum":["x","quo\"te","\u2028"]},"b":{"enum":["x",1]},"c":{"const":"only"},"d":{"const":3}}}`,
	"Record": `{"type":"object","properties":{"map":{"type":"object","additionalProperties":{"type":"string"}},"list":{"type":"array"}}}`,
	"any":    `{"type":"object","properties":{"x":true,"y":{}}}`,
	"array":  `{"type":"array","items":{"type":"array","items":{"enum":["a","b"]}}}`,
	"text":   `{"type":"string"}`,
	"all":    `true`,
	"loop":   `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`,
	"lists":  `{"type":"object","properties":{"l":{"$ref":"#/$defs/l"}},"$defs":{"l":{"type":"array","items":{"$ref":"#/$defs/l"}}}}`,
	"42.é":   `{"type":"object","properties":{"deep":{"type":"object","properties":{"deep":{"type":"object","properties":{"x":{"type":"integer"}}}}},"deepDeep":{"type":"object","properties":{"y":{"type":"integer"}}}}}`,
}

// stubs writes the stub of every awkward schema into a folder.
func stubs(t *testing.T, lang, ending string) (dir string, files []string) {
	t.Helper()
	dir = t.TempDir()
	for topic, schema := range awkward {
		text, err := Stub(topic, compile(t, schema), lang)
		if err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		file := filepath.Join(dir, "topic_"+strings.ToLower(pascal(topic))+ending)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	slices.Sort(files)
	return dir, files
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// The stubs of several topics stand in one package of Go.
func TestGoStubsCompile(t *testing.T) {
	_, files := stubs(t, "go", ".go")
	set := token.NewFileSet()
	var parsed []*ast.File
	for _, file := range files {
		f, err := parser.ParseFile(set, file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	checker := gotypes.Config{Importer: importer.ForCompiler(set, "source", nil)}
	pkg, err := checker.Check("events", set, parsed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o := pkg.Scope().Lookup("TreeData"); o == nil || !strings.Contains(o.Type().Underlying().String(), "Left *events.TreeData") {
		t.Errorf("%v", o)
	}
}

func TestPythonStubsRun(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	if exec.Command(python, "-c", "from typing import NotRequired").Run() != nil {
		t.Skip("this python3 is older than 3.11")
	}
	dir, files := stubs(t, "python", ".py")
	text := "import importlib, typing\n"
	for _, file := range files {
		text += fmt.Sprintf("m = importlib.import_module(%q)\nfor c in [c for c in vars(m).values() if typing.is_typeddict(c)]: typing.get_type_hints(c, include_extras=True)\n", strings.TrimSuffix(filepath.Base(file), ".py"))
	}
	text += "assert importlib.import_module('topic_ordercreated').OrderCreated.__required_keys__ >= {'id', 'data'}\n"
	run(t, dir, python, "-c", text)
	mypy, err := exec.LookPath("mypy")
	if err != nil {
		t.Skip("mypy is not installed: the types are only run, not checked")
	}
	run(t, dir, mypy, append([]string{"--strict", "--cache-dir", filepath.Join(dir, "cache")}, files...)...)
}

func TestTypeScriptStubsCheck(t *testing.T) {
	tsc, err := exec.LookPath("tsc")
	if err != nil {
		if tsc, err = filepath.Abs("../../web/node_modules/.bin/tsc"); err == nil {
			_, err = os.Stat(tsc)
		}
	}
	if err != nil {
		t.Skip("neither tsc nor the console's modules (npm ci in web) are installed")
	}
	dir, files := stubs(t, "typescript", ".ts")
	run(t, dir, tsc, append([]string{"--noEmit", "--strict", "--target", "es2020"}, files...)...)
}

func TestStubs(t *testing.T) {
	c := compile(t, order)
	for _, lang := range Languages {
		text, err := Stub("order.created", c, lang)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"OrderCreated", "OrderCreatedData", "OrderCreatedLine", "ship-to", "The order's number"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %s:\n%s", lang, want, text)
			}
		}
	}
	if _, err := Stub("x", c, "cobol"); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Error(err)
	}
}
