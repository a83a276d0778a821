package identity

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func TestScan(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	// The values are put together here so that no scanner finds them in this file.
	found, err := Scan(fstest.MapFS{
		"app.py":                    file("import os\nKEY = '" + "AKIA" + "IOSFODNN7ABCDEFG" + "'\n"),
		"keys/id":                   file("-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n"),
		"db.js":                     file(`connect("postgres://` + `app:hunter22@db.example.com/x")`),
		"safe.js":                   file("const url = `postgres://${user}:${pass}@localhost/x`; // AKIA is a prefix\n"),
		"cloud.json":                file(`{"private_key": "-----BEGIN ` + `PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n"}`),
		"old.py":                    file("k = 'sk-" + strings.Repeat("a", 20) + "T3BlbkFJ" + strings.Repeat("b", 20) + "'"),
		"docs.md":                   file("AKIA" + "IOSFODNN7EXAMPLE, ghp_" + strings.Repeat("x", 36) + ", postgres://" + "user:password@db.example.com/x\n"),
		"parse.py":                  file("if line == '-----BEGIN " + "PRIVATE KEY-----':\n    key = read()\n"),
		"both.txt":                  file("ghp_" + strings.Repeat("x", 36) + " ghp_" + strings.Repeat("ab", 18)),
		"venv/pyvenv.cfg":           file(""),
		"venv/lib/test.py":          file("ghp_" + strings.Repeat("ab", 18)),
		".env":                      file("A=1\n"),
		".env.example":              file("A=\n"),
		"node_modules/x/test.js":    file("AKIA" + "IOSFODNN7EXAMPLE"),
		"stripe.rb":                 file("k = 'sk_" + "live_" + strings.Repeat("a", 24) + "'"),
		"picture.bin":               file(strings.Repeat("\x00\x01", maxScan)),
		"a/mayfly.txt":              file("mayfly_" + strings.Repeat("q", 43)),
		"not/a/token/mayfly_abc.md": file("mayfly_abc"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range found {
		got = append(got, fmt.Sprintf("%s:%d %s", l.File, l.Line, l.What))
		if len(l.Hint) > 60 {
			t.Errorf("a hint shows too much: %s", l.Hint)
		}
	}
	want := "[.env:0 file of variables a/mayfly.txt:1 Mayfly token app.py:2 AWS access key both.txt:1 GitHub token cloud.json:1 private key db.js:1 password in a URL keys/id:1 private key old.py:1 OpenAI key stripe.rb:1 Stripe key]"
	if fmt.Sprint(got) != want {
		t.Errorf("found %v", got)
	}
}
