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
		"app.py":                    file("import os\nKEY = '" + "AKIA" + "IOSFODNN7EXAMPLE" + "'\n"),
		"keys/id":                   file("-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNz\n"),
		"db.js":                     file(`connect("postgres://` + `app:hunter22@db.example.com/x")`),
		"safe.js":                   file("const url = `postgres://${user}:${pass}@localhost/x`; // AKIA is a prefix\n"),
		".env":                      file("A=1\n"),
		".env.example":              file("A=\n"),
		"node_modules/x/test.js":    file("AKIA" + "IOSFODNN7EXAMPLE"),
		"stripe.rb":                 file("k = 'sk_" + "live_" + strings.Repeat("a", 24) + "'"),
		"picture.bin":               file(strings.Repeat("\x00\x01", maxScan)),
		"a/mayfly.txt":              file("mayfly_" + strings.Repeat("x", 43)),
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
	want := "[.env:0 file of variables a/mayfly.txt:1 Mayfly token app.py:2 AWS access key db.js:1 password in a URL keys/id:1 private key stripe.rb:1 Stripe key]"
	if fmt.Sprint(got) != want {
		t.Errorf("found %v", got)
	}
}
