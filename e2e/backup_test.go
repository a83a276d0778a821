package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keeper is an app with something of every kind that a node keeps.
var keeper = map[string]string{
	"mayfly.yaml": `app: keeper
functions:
  tell:
    runtime: node
    source: ./tell
    handler: index.handler
    secrets: [WORD]
    on: [{http: GET /}]
kv: {notes: {}}
buckets: {files: {}, open: {public: true}}
queues: {later: {}}
databases: {main: {migrations: ./migrations}}
`,
	"tell/index.js":        `exports.handler = async () => ({ statusCode: 200, body: "the word is " + process.env.WORD.length });`,
	"migrations/001_t.sql": `CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);`,
}

// TestBackup restores a backup of a running node into an empty folder, and finds
// everything there.
func TestBackup(t *testing.T) {
	needs(t, "node")
	t.Setenv("MAYFLY_BACKUP_PASSPHRASE", "correct horse")
	n := start(t, t.TempDir(), "serve")
	dir := app(t, keeper)
	write(t, filepath.Join(dir, "word"), "swordfish")
	write(t, filepath.Join(dir, "a.txt"), "an object")
	for _, verb := range [][]string{
		{"secret", "set", "WORD", "--app", "keeper", "--file", filepath.Join(dir, "word")},
		{"deploy", dir},
		{"kv", "put", "notes", "a/b", "kept"},
		{"bucket", "cp", filepath.Join(dir, "a.txt"), "files/sub/a.txt"},
		{"bucket", "cp", filepath.Join(dir, "a.txt"), "open/a.txt"},
		{"sql", "main", "-e", "INSERT INTO t (text) VALUES ('a row')"},
		{"queue", "send", "later", "a message"},
	} {
		if out, code := n.cli(verb...); code != 0 {
			t.Fatalf("mayfly %s: status %d\n%s", strings.Join(verb, " "), code, out)
		}
	}
	file := filepath.Join(t.TempDir(), "node.backup")
	if out, code := n.cli("backup", file); code != 0 {
		t.Fatalf("backup: status %d\n%s", code, out)
	}
	if out, code := n.cli("backup", file); code == 0 {
		t.Errorf("a backup replaced another: %s", out)
	}
	if out, code := n.cli("kv", "put", "notes", "after", "not in it"); code != 0 {
		t.Errorf("a write after the backup: %s", out)
	}
	sealed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(sealed), "age-encryption.org/") {
		t.Errorf("the backup begins with %.30q", sealed)
	}
	data := filepath.Join(t.TempDir(), "data")
	refuses(t, n, data, sealed)
	token := n.Token
	if out, code := n.cli("restore", file, "--data", data); code != 0 || !strings.Contains(out, "1 apps") {
		t.Fatalf("restore: status %d\n%s", code, out)
	}
	if out, code := n.cli("restore", file, "--data", data); code == 0 {
		t.Errorf("a restore into a folder that is not empty: %s", out)
	}
	n.stop()
	n = start(t, data, "serve")
	if n.Token != token {
		t.Error("the admin token is another")
	}
	if r := n.call("GET", "/", ""); r.status != 200 || r.body != "the word is 9" {
		t.Errorf("the function answers %d %q", r.status, r.body)
	}
	if r := n.call("GET", "/_bucket/keeper/open/a.txt", ""); r.status != 200 || r.body != "an object" || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
		t.Errorf("the public object: %d %q %v", r.status, r.body, r.header)
	}
	got := filepath.Join(t.TempDir(), "got")
	for _, want := range []struct {
		text string
		verb []string
	}{
		{"kept", []string{"kv", "get", "notes", "a/b"}},
		{"a row", []string{"sql", "main", "-e", "SELECT text FROM t"}},
		{"swordfish", []string{"secret", "reveal", "WORD"}},
		{"a message", []string{"queue", "peek", "later"}},
		{"", []string{"bucket", "cp", "files/sub/a.txt", got}},
	} {
		if out, code := n.cli(want.verb...); code != 0 || !strings.Contains(out, want.text) {
			t.Errorf("mayfly %s: status %d, want %q\n%s", strings.Join(want.verb, " "), code, want.text, out)
		}
	}
	if b, err := os.ReadFile(got); err != nil || string(b) != "an object" {
		t.Errorf("the object is %q: %v", b, err)
	}
	if out, code := n.cli("kv", "get", "notes", "after"); code == 0 {
		t.Errorf("a write after the backup is in it: %s", out)
	}
	if out, code := n.cli("kv", "put", "notes", "new", "value"); code != 0 {
		t.Errorf("a write after the restore: %s", out)
	}
	n.stop()
}

// refuses tries backups that are not whole, and keys that are not right.
func refuses(t *testing.T, n *node, data string, sealed []byte) {
	t.Helper()
	bad := filepath.Join(t.TempDir(), "bad")
	flipped := append([]byte{}, sealed...)
	flipped[len(flipped)/2] ^= 1
	for what, content := range map[string][]byte{"cut off": sealed[:len(sealed)-100], "changed": flipped, "text": []byte("not a backup")} {
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := n.cli("restore", bad, "--data", data); code == 0 {
			t.Errorf("a backup that is %s was restored: %s", what, out)
		}
	}
	phrase := filepath.Join(t.TempDir(), "phrase")
	write(t, phrase, "wrong")
	if err := os.WriteFile(bad, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := n.cli("restore", bad, "--data", data, "--passphrase-file", phrase); code == 0 || !strings.Contains(out, "another passphrase") {
		t.Errorf("a backup was restored with another passphrase: %s", out)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a restore that failed left the folder")
	}
}
