package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// function is one function of a test application.
type function struct {
	name     string
	label    string // of the table's row
	manifest string // the lines of its entry, indented by four
	files    map[string]string
	build    func(ctx context.Context, s *session, dir string) error // makes what is not text
	needs    string                                                  // a tool without which it is left out
}

const pythonEcho = `
def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "ok"}
`

// The standard library's heavier modules: what a usual function pulls in.
const pythonHeavy = `
import asyncio, argparse, csv, datetime, decimal, email.message, hashlib, http.client, json, logging, re, sqlite3, ssl, typing, urllib.request, uuid, xml.etree.ElementTree, zipfile
` + pythonEcho

const nodeEcho = `
exports.handler = async () => ({ statusCode: 200, headers: { "content-type": "text/plain" }, body: "ok" });
`

// echoes are one function for each runtime, that answers "ok".
func echoes() []function {
	return []function{
		{name: "python", label: "python", needs: "python3", manifest: "runtime: python\nsource: ./python\nhandler: app.handler", files: map[string]string{"app.py": pythonEcho}},
		{name: "python-heavy", label: "python, many imports", needs: "python3", manifest: "runtime: python\nsource: ./python-heavy\nhandler: app.handler", files: map[string]string{"app.py": pythonHeavy}},
		{name: "node", label: "node", needs: "node", manifest: "runtime: node\nsource: ./node\nhandler: index.handler", files: map[string]string{"index.js": nodeEcho}},
		{name: "binary", label: "binary (aws-lambda-go)", manifest: "runtime: binary\nsource: ./binary", build: func(ctx context.Context, s *session, dir string) error {
			return s.build(ctx, filepath.Join(dir, "bootstrap"), "./bench/testdata/bootstrap")
		}},
		{name: "http", label: "http (Go)", manifest: "runtime: http\nsource: ./http\nhandler: ./server\nconcurrency: {per_instance: 100}", build: func(ctx context.Context, s *session, dir string) error {
			return s.build(ctx, filepath.Join(dir, "server"), "./bench/testdata/server")
		}},
		{name: "wasm", label: "wasm (small)", manifest: "runtime: wasm\nsource: ./wasm/echo.wasm", build: func(_ context.Context, _ *session, dir string) error {
			return writeFile(filepath.Join(dir, "echo.wasm"), string(smallWasm("Content-Type: text/plain\n\nok")))
		}},
		{name: "wasm-go", label: "wasm (Go)", manifest: "runtime: wasm\nsource: ./wasm-go/echo.wasm", build: func(ctx context.Context, s *session, dir string) error {
			return s.build(ctx, filepath.Join(dir, "echo.wasm"), "./bench/testdata/wasm", "GOOS=wasip1", "GOARCH=wasm")
		}},
	}
}

// present leaves out what was not asked for, and what the machine lacks, which it
// says in the table.
func (s *session) present(all []function, t *table) []function {
	var out []function
	for _, f := range all {
		if len(s.cases) > 0 && !slices.Contains(s.cases, f.name) {
			continue
		}
		if f.needs != "" && s.tools[f.needs] == "" {
			t.note("%s: left out, this machine has no %s", f.label, f.needs)
			continue
		}
		out = append(out, f)
	}
	return out
}

// writeApp makes an application of functions, each with a route of its name;
// each function's entry gets the extra lines.
func (s *session) writeApp(ctx context.Context, name string, functions []function, extra string) (string, error) {
	dir := filepath.Join(s.dir, name)
	var m strings.Builder
	fmt.Fprintf(&m, "app: %s\nfunctions:\n", name)
	for _, f := range functions {
		fmt.Fprintf(&m, "  %s:\n", f.name)
		for line := range strings.SplitSeq(strings.TrimSpace(f.manifest+"\n"+extra), "\n") {
			fmt.Fprintf(&m, "    %s\n", line)
		}
		fmt.Fprintf(&m, "    on: [{http: /%s}]\n", f.name)
		if err := f.write(ctx, s, filepath.Join(dir, f.name)); err != nil {
			return "", err
		}
	}
	return dir, writeFile(filepath.Join(dir, "mayfly.yaml"), m.String())
}

func (f function) write(ctx context.Context, s *session, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range f.files {
		if err := writeFile(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	if f.build != nil {
		return f.build(ctx, s, dir)
	}
	return nil
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// extend gives a function of a written application further triggers, and the
// application further resources.
func extend(app, function, triggers, resources string) error {
	file := filepath.Join(app, "mayfly.yaml")
	route := "on: [{http: /" + function + "}"
	return writeFile(file, strings.Replace(readText(file), route, route+", "+triggers, 1)+resources)
}
