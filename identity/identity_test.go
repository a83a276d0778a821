package identity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

func function(app, fn string) mayfly.Caller {
	return mayfly.Caller{Kind: mayfly.CallerFunction, App: mayfly.AppName(app), Function: mayfly.FunctionName(fn)}
}

func manifest(app string, allow ...string) *mayfly.Manifest {
	return &mayfly.Manifest{App: mayfly.AppName(app), Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {Allow: allow}}}
}

func TestAuthorize(t *testing.T) {
	a := NewAuthorizer(nil)
	err := a.Apply([]*mayfly.Manifest{
		manifest("photos", "read bucket/uploads", "* kv/cache", "write bucket/out-*", "publish topic/order.*", "call function/g"),
		manifest("other", "* bucket/*", "* kv/*", "* function/*"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who              mayfly.Caller
		app              mayfly.AppName
		verb, kind, name string
		want             mayfly.Code
	}{
		{function("photos", "f"), "photos", "read", "bucket", "uploads", ""},
		{function("photos", "f"), "photos", "write", "bucket", "uploads", mayfly.Denied},
		{function("photos", "f"), "photos", "read", "bucket", "uploads2", mayfly.Denied},
		{function("photos", "f"), "photos", "read", "kv", "uploads", mayfly.Denied},
		{function("photos", "f"), "photos", "delete", "kv", "cache", ""},
		{function("photos", "f"), "photos", "write", "bucket", "out-1", ""},
		{function("photos", "f"), "photos", "write", "bucket", "an-out-1", mayfly.Denied},
		{function("photos", "f"), "photos", "publish", "topic", "order.created", ""},
		{function("photos", "f"), "photos", "publish", "topic", "order", mayfly.Denied},
		{function("photos", "f"), "photos", "call", "function", "g", ""},
		{function("photos", "f"), "photos", "read", "moon", "g", mayfly.Denied},
		{function("photos", "g"), "photos", "read", "bucket", "uploads", mayfly.Denied},
		{function("photos", "f"), "other", "read", "bucket", "uploads", mayfly.Denied},
		{function("other", "f"), "photos", "read", "bucket", "uploads", mayfly.Denied},
		{function("other", "f"), "photos", "read", "kv", "x/../cache", mayfly.Denied},
		{function("gone", "f"), "gone", "read", "bucket", "uploads", mayfly.Denied},
		{mayfly.Caller{Kind: mayfly.CallerAdmin}, "photos", "delete", "kv", "cache", ""},
		{mayfly.Caller{Kind: mayfly.CallerPlatform}, "photos", "delete", "kv", "cache", ""},
		{mayfly.Caller{Kind: mayfly.CallerUser, Name: "ann"}, "photos", "read", "kv", "cache", mayfly.Denied},
		{mayfly.Caller{Kind: mayfly.CallerAnonymous}, "photos", "read", "kv", "cache", mayfly.Unauthorized},
		{mayfly.Caller{}, "photos", "read", "kv", "cache", mayfly.Unauthorized},
	} {
		for range 2 { // the second answer is a remembered one
			err := a.Authorize(context.Background(), c.who, c.app, c.verb, c.kind, c.name)
			if got := mayfly.CodeOf(err); got != c.want {
				t.Errorf("%s: %s %s/%s of %s: got %q (%v), want %q", c.who, c.verb, c.kind, c.name, c.app, got, err, c.want)
			}
		}
	}
}

func TestDeniedNamesTheLine(t *testing.T) {
	a := NewAuthorizer(nil)
	if err := a.Apply([]*mayfly.Manifest{manifest("photos")}); err != nil {
		t.Fatal(err)
	}
	err := a.Authorize(context.Background(), function("photos", "f"), "photos", "read", "kv", "sessions")
	if err == nil || !strings.Contains(err.Error(), `add "read kv/sessions" to functions.f.allow`) {
		t.Errorf("got %v", err)
	}
}

func TestApplyReplacesAndRefuses(t *testing.T) {
	a := NewAuthorizer(nil)
	ask := func() mayfly.Code {
		return mayfly.CodeOf(a.Authorize(context.Background(), function("photos", "f"), "photos", "read", "kv", "x"))
	}
	if err := a.Apply([]*mayfly.Manifest{manifest("photos", "read kv/x")}); err != nil || ask() != "" {
		t.Fatalf("granted: %v %v", err, ask())
	}
	if err := a.Apply([]*mayfly.Manifest{manifest("photos", "eat kv/x")}); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), "functions.f.allow[0]") {
		t.Fatalf("a wrong line: %v", err)
	}
	if ask() != "" {
		t.Error("a refused Apply changed the grants")
	}
	if err := a.Apply(nil); err != nil || ask() != mayfly.Denied {
		t.Errorf("after the app is gone: %v %v", err, ask())
	}
}

func TestEveryDecisionIsAudited(t *testing.T) {
	var seen []Decision
	a := NewAuthorizer(func(d Decision) { seen = append(seen, d) })
	if err := a.Apply([]*mayfly.Manifest{manifest("photos", "read kv/*")}); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	_ = a.Authorize(ctx, function("photos", "f"), "photos", "read", "kv", "x")
	_ = a.Authorize(ctx, function("photos", "f"), "photos", "write", "kv", "x")
	if len(seen) != 2 || !seen[0].Allowed || seen[0].Grant != "read kv/*" || seen[1].Allowed || seen[1].Verb != "write" || seen[1].Time.IsZero() {
		t.Errorf("got %+v", seen)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := NewAuthorizer(nil)
	if err := a.Apply([]*mayfly.Manifest{manifest("photos", "read kv/a*")}); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i := range maxAnswers + 100 {
		if err := a.Authorize(ctx, function("photos", "f"), "photos", "read", "kv", fmt.Sprint("a", i)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	a.apps.Load().answers.Range(func(any, any) bool { n++; return true })
	if n > maxAnswers {
		t.Errorf("%d answers are kept", n)
	}
}

func TestPoliciesAreCedar(t *testing.T) {
	a := NewAuthorizer(nil)
	if err := a.Apply([]*mayfly.Manifest{manifest("photos", "read kv/a*", "send queue/mail")}); err != nil {
		t.Fatal(err)
	}
	text := a.Policies("photos")
	for _, want := range []string{`Function::"photos/f"`, `Queue::"photos/mail"`, `resource.name like "a*"`, `resource.app == "photos"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

func TestTokens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := OpenTokens(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenTokens(dir)
	if err != nil || second.Admin() != first.Admin() {
		t.Fatalf("a restart changed the token: %v", err)
	}
	if who, err := first.Verify(first.Admin()); err != nil || who.Kind != mayfly.CallerAdmin {
		t.Errorf("admin: %v %v", who, err)
	}
	for _, wrong := range []string{"", "x", first.Admin() + "x", first.Admin()[:20]} {
		if who, err := first.Verify(wrong); mayfly.CodeOf(err) != mayfly.Unauthorized || who.Kind != mayfly.CallerAnonymous {
			t.Errorf("%q: %v %v", wrong, who, err)
		}
	}
	path := filepath.Join(dir, "admin-token")
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTokens(dir); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
}

func TestLoadKeyOnceForAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "root")
	keys := make([]string, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, err := LoadKey(path)
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(key)
		})
	}
	wg.Wait()
	for _, key := range keys {
		if key != keys[0] || len(key) != KeySize {
			t.Fatal("two keys were made")
		}
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a damaged key: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}

func FuzzAuthorizeNeverCrossesApps(f *testing.F) {
	a := NewAuthorizer(nil)
	if err := a.Apply([]*mayfly.Manifest{manifest("a", "* bucket/*", "* kv/*"), manifest("b")}); err != nil {
		f.Fatal(err)
	}
	f.Add("b", "read", "kv", "x")
	f.Add("a/", "read", "kv", "../b/x")
	f.Add("", "*", "bucket", "*")
	f.Fuzz(func(t *testing.T, app, verb, kind, name string) {
		err := a.Authorize(context.Background(), function("a", "f"), mayfly.AppName(app), verb, kind, name)
		if app != "a" && mayfly.CodeOf(err) != mayfly.Denied {
			t.Errorf("allowed in %q", app)
		}
		if app == "a" && kind != "kv" && kind != "bucket" && err == nil {
			t.Errorf("allowed %q", kind)
		}
	})
}

func BenchmarkAuthorize(b *testing.B) {
	a := NewAuthorizer(nil)
	m := manifest("photos", "read bucket/uploads", "write bucket/thumbs", "* kv/sessions", "send queue/*")
	if err := a.Apply([]*mayfly.Manifest{m}); err != nil {
		b.Fatal(err)
	}
	ctx, who := context.Background(), function("photos", "f")
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			_ = a.Authorize(ctx, who, "photos", "read", "kv", "sessions")
		}
	})
	b.Run("cedar", func(b *testing.B) {
		p := a.apps.Load().of[principal{app: "photos", fn: "f"}]
		for b.Loop() {
			_ = p.permits(question{principal{app: "photos", fn: "f"}, "read", "kv", "sessions"})
		}
	})
}

func TestUsersHaveGrantsOfTheirOwn(t *testing.T) {
	a := NewAuthorizer(nil)
	if err := a.Apply([]*mayfly.Manifest{manifest("photos", "* bucket/*")}); err != nil {
		t.Fatal(err)
	}
	ci := mayfly.Caller{Kind: mayfly.CallerUser, App: "photos", Name: "ci"}
	may := func(app mayfly.AppName, verb string) mayfly.Code {
		return mayfly.CodeOf(a.Authorize(t.Context(), ci, app, verb, "bucket", "uploads"))
	}
	if err := a.ApplyUsers([]User{{App: "photos", Name: "ci", Allow: []string{"read bucket/up*"}}, {App: "other", Name: "ci", Allow: []string{"* bucket/*"}}}); err != nil {
		t.Fatal(err)
	}
	if may("photos", "read") != "" || may("photos", "write") != mayfly.Denied || may("other", "read") != mayfly.Denied {
		t.Error("a user may not what it was granted, or more")
	}
	if err := a.ApplyUsers([]User{{App: "photos", Name: "ci", Allow: []string{"nonsense"}}}); err == nil || may("photos", "read") != "" {
		t.Errorf("a line that is no grant: %v", err)
	}
	if err := a.ApplyUsers(nil); err != nil || may("photos", "read") != mayfly.Denied {
		t.Errorf("a user that is gone: %v", err)
	}
}
