package program

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestParseLine(t *testing.T) {
	for in, want := range map[string][]string{
		`a b  c`:               {"a", "b", "c"},
		`a 'b  c' "d\"e" f\ g`: {"a", "b  c", `d"e`, "f g"},
		`a '' "x\n"`:           {"a", "", `x\n`},
		`a '$HOME|x'`:          {"a", "$HOME|x"},
		`a --port $PORT`:       {"/bin/sh", "-c", "exec a --port $PORT"},
		`a "$PORT"`:            {"/bin/sh", "-c", `exec a "$PORT"`},
		`a *.js`:               {"/bin/sh", "-c", "exec a *.js"},
		`X=1 a`:                {"/bin/sh", "-c", "X=1 a"},
		`a && b`:               {"/bin/sh", "-c", "a && b"},
		`a \$b`:                {"a", "$b"},
	} {
		if got, err := ParseLine(in); err != nil || !slices.Equal(got.Words, want) {
			t.Errorf("%s: %q, %v; want %q", in, got.Words, err, want)
		}
	}
	for _, in := range []string{"", "  ", `'a`, `"a`, `a\`} {
		if got, err := ParseLine(in); err == nil {
			t.Errorf("%q: %q", in, got.Words)
		}
	}
}

// A link in an image's root points into the image, however it is written.
func TestWithinImage(t *testing.T) {
	root := t.TempDir()
	os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755)
	os.WriteFile(filepath.Join(root, "usr/bin/real"), nil, 0o755)
	os.Symlink("/usr/bin", filepath.Join(root, "bin"))
	os.Symlink("../../../../../../usr/bin/real", filepath.Join(root, "usr/bin/up"))
	os.Symlink("/loop", filepath.Join(root, "loop"))
	for in, want := range map[string]string{
		"/bin/real":                "usr/bin/real",
		"/bin/up":                  "usr/bin/real",
		"/../../etc/passwd":        "etc/passwd",
		"/bin/../../../etc/passwd": "etc/passwd",
	} {
		if got := within(root, in); got != filepath.Join(root, want) {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got := within(root, "/loop/x"); !filepath.IsAbs(got) || got[:len(root)] != root {
		t.Error(got)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(`a 'b' "c" \d $e`)
	f.Fuzz(func(t *testing.T, in string) {
		if l, err := ParseLine(in); err == nil && len(l.Words) == 0 {
			t.Error("no words")
		}
	})
}
