package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
)

// typed runs the command line in an empty folder without a node.
func typed(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	for _, name := range []string{"MAYFLY_API", "MAYFLY_TOKEN"} {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

func TestWrongUseIsExplained(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		line string
		code int
		says string
	}{
		{"deplo", 2, "did you mean mayfly deploy or mayfly deploys?"},
		{"frobnicate", 2, "mayfly --help lists them"},
		{"queue mend", 2, `mayfly queue has no "mend"`},
		{"versions", 2, "something is missing; use: mayfly versions FUNCTION"},
		{"versions a b", 2, `"a b" does not fit`},
		{"deploy --nope", 2, "unknown flag: --nope"},
		{"sql main select", 2, `"main select" does not fit; use: mayfly sql [DATABASE]`},
		{"invoke f --data {} --event x.json", 2, "none of the others can be"},
		{"invoke f -d {", 2, "the event is not JSON"},
		{"promote f --weight 0", 2, "1 to 100"},
		{"deploy --canary 200", 2, "1 to 99"},
		{"deploys restore", 2, "use: mayfly deploys restore DEPLOY"},
		{"deploys compare a b c", 2, `"a b c" does not fit`},
		{"invoke f", 8, "no node is known here; start one with mayfly dev"},
		{"dev", 4, "no mayfly.yaml in"},
		{"dev nowhere", 4, "does not exist"},
		{"dev /dev/null", 2, "/dev/null is not a folder"},
		{"invoke f --local", 4, "no mayfly.yaml in"},
		{"new", 2, "the templates are"},
		{"new --template node", 2, "say which template and into which folder"},
		{"new photos", 2, "the templates are"},
		{"new photos python", 4, "the template comes first: mayfly new python photos"},
		{"new ruby photos", 4, "there is node, python, go, http, wasm"},
		{"serve --gateway nonsense --data d", 2, "--gateway"},
		{"serve --data d --ready-file nowhere/r.json", 2, "there is no folder nowhere"},
		{"serve --data d --ready-file .", 2, "it is not a file"},
		{"serve --durability none --data d", 2, "choose always or fast"},
	} {
		_, said, code := typed(t, strings.Fields(c.line)...)
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("mayfly %s: exit %d: %s", c.line, code, said)
		}
		_, said, _ = typed(t, append(strings.Fields(c.line), "--json")...)
		var p mayfly.Problem
		if err := json.Unmarshal([]byte(said), &p); err != nil || p.Detail == "internal error" || p.Code.ExitStatus() != c.code {
			t.Errorf("mayfly %s --json: %s", c.line, said)
		}
	}
}

func TestDeployIsNamed(t *testing.T) {
	all := []control.Deployment{{ID: "06cka4p2"}, {ID: "06cka1xw"}, {ID: "06cja1xw"}}
	for name, want := range map[string]string{"live": "06cka4p2", "06cka1xw": "06cka1xw", "06cj": "06cja1xw", "06ck": "", "x": ""} {
		if got, err := deployNamed(all, name); got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q: %v", name, got, err)
		}
	}
	if _, err := deployNamed(nil, live); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("of none: %v", err)
	}
}

func TestAppsMayBeGivenByTheirManifest(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mayfly.yaml")
	if err := os.WriteFile(file, []byte("app: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := dirArg([]string{file}); got != dir {
		t.Errorf("of %s: %s", file, got)
	}
}

func TestEveryVerbIsInAGroup(t *testing.T) {
	out, _, code := typed(t)
	if code != 0 || !strings.Contains(out, "Deliver:") || !strings.Contains(out, "A serverless cloud in one binary") {
		t.Errorf("exit %d: %s", code, out)
	}
	for _, cmd := range newRootCmd(&globals{}).Commands() {
		if cmd.GroupID == "" || cmd.Short == "" {
			t.Errorf("help does not show where %s belongs", cmd.Name())
		}
	}
}

func TestNewTakesTheTemplateByFlagToo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "photos")
	out, said, code := typed(t, "new", dir, "--template", "python")
	if code != 0 || !strings.Contains(out, "next: mayfly dev "+dir) {
		t.Fatalf("exit %d: %s%s", code, out, said)
	}
	if _, err := os.Stat(filepath.Join(dir, "mayfly.yaml")); err != nil {
		t.Error(err)
	}
}
