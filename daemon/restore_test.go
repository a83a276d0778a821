package daemon

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/mayfly-cloud/mayfly"
)

// backupOf is a backup with these files.
func backupOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	packed, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(packed)
	add := func(name string, content []byte) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	note := func(name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		add(name, b)
	}
	note(backupHead, head{Format: backupFormat})
	for _, name := range names {
		add(name, []byte("content"))
	}
	note(backupEnd, end{Files: len(names), Bytes: int64(len(names) * len("content"))})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A folder that is there may be a disk of its own: it stays, and is filled.
func TestRestoreFillsAnEmptyFolder(t *testing.T) {
	data := t.TempDir()
	before, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), bytes.NewReader(backupOf(t, "root.key", "a/b/c")), data); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(data)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the folder is another: %v", err)
	}
	entries, _ := os.ReadDir(data)
	if got, err := os.ReadFile(filepath.Join(data, "a/b/c")); string(got) != "content" || err != nil || len(entries) != 2 {
		t.Errorf("%q %v among %v", got, err, entries)
	}
}

// What is wrong is said of what it is wrong with, and nothing is left.
func TestRestoreSaysWhatIsWrong(t *testing.T) {
	whole := backupOf(t, "root.key")
	long := strings.Repeat("x", 300) // than names on a disk may be
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, data string
		backup     []byte
		code       mayfly.Code
		say        string
	}{
		{"cut off", t.TempDir(), whole[:len(whole)-20], mayfly.Invalid, "damaged"},
		{"a disk that refuses", t.TempDir(), backupOf(t, "a", long), mayfly.Unavailable, "name another folder with --data"},
		{"a folder that cannot be made", filepath.Join(taken, "below"), whole, mayfly.Invalid, "cannot be made"},
		{"a file", taken, whole, mayfly.Invalid, "cannot be made"},
		{"a folder that is not empty", filepath.Dir(taken), whole, mayfly.Conflict, "not empty"},
	} {
		_, err := Restore(t.Context(), bytes.NewReader(c.backup), c.data)
		if mayfly.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", c.what, err)
		}
		if left, _ := os.ReadDir(c.data); len(left) != 0 && c.code != mayfly.Conflict {
			t.Errorf("%s leaves %v", c.what, left)
		}
	}
	if got, err := os.ReadFile(taken); string(got) != "mine" || err != nil {
		t.Errorf("the file is %q: %v", got, err)
	}
}
