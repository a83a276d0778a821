package secret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/identity"
)

type fixture struct {
	*Driver
	engine *engine.Engine
	root   string
	mu     sync.Mutex
	seen   []Access
	news   []string
}

func open(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	e, err := engine.Open(t.Context(), engine.Config{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	f := &fixture{engine: e, root: filepath.Join(dir, "root.key")}
	f.Driver = f.reopen(t)
	return f
}

func (f *fixture) reopen(t *testing.T) *Driver {
	t.Helper()
	authz := identity.NewAuthorizer(nil)
	if err := authz.Apply([]*mayfly.Manifest{{App: "a", Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {Allow: []string{"write secret/S", "read secret/S"}}}}}); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), Config{
		Index: f.engine.Index(), RootKey: f.root, Authz: authz,
		Accessed: func(a Access) { f.mu.Lock(); defer f.mu.Unlock(); f.seen = append(f.seen, a) },
		Changed:  func(app mayfly.AppName, name string) { f.news = append(f.news, string(app)+"/"+name) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (f *fixture) set(t *testing.T, name, value string, staged bool) int {
	t.Helper()
	n, err := f.Set(t.Context(), "a", name, value, staged)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSecretsAreSealedAndOutliveARestart(t *testing.T) {
	f := open(t)
	f.set(t, "STRIPE_KEY", "sk_live_very_secret", false)
	for entry := range f.engine.Index().List("") {
		if strings.Contains(string(entry.Value), "very_secret") || strings.Contains(string(entry.Value), base64.StdEncoding.EncodeToString([]byte("very_secret"))) {
			t.Errorf("%s holds the value in the clear", entry.Key)
		}
	}
	again := f.reopen(t)
	if v, err := again.Secret(t.Context(), "a", "STRIPE_KEY"); err != nil || v != "sk_live_very_secret" {
		t.Errorf("after a restart: %q %v", v, err)
	}
	if info, _ := os.Stat(f.root); info.Mode().Perm() != 0o600 {
		t.Errorf("root key: %v", info.Mode())
	}
	if err := os.Remove(f.root); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Index: f.engine.Index(), RootKey: f.root})
	if mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), "root key") {
		t.Errorf("with another root key: %v", err)
	}
}

func TestASealedValueCannotMove(t *testing.T) {
	f := open(t)
	f.set(t, "A", "value of a", false)
	sealed, _, _ := f.engine.Index().Get("secrets.a.A")
	if _, err := f.engine.Index().Put(t.Context(), "secrets.b.A", sealed, 0); err != nil {
		t.Fatal(err)
	}
	if v, err := f.Secret(t.Context(), "b", "A"); err == nil {
		t.Errorf("another app reads %q", v)
	}
}

func TestRotation(t *testing.T) {
	f := open(t)
	f.set(t, "S", "old value", false)
	f.set(t, "S", "new value", true)
	current := func() string { v, _ := f.Secret(t.Context(), "a", "S"); return v }
	if current() != "old value" {
		t.Error("a pending version is current")
	}
	if v, n, err := f.Reveal(t.Context(), "a", "S", Pending); v != "new value" || n != 2 || err != nil {
		t.Errorf("pending: %q %d %v", v, n, err)
	}
	if n, err := f.Finish(t.Context(), "a", "S"); n != 2 || err != nil || current() != "new value" {
		t.Errorf("finish: %d %v, current %q", n, err, current())
	}
	if v, _, err := f.Reveal(t.Context(), "a", "S", 1); v != "old value" || err != nil {
		t.Errorf("the version before: %q %v", v, err)
	}
	if _, err := f.Finish(t.Context(), "a", "S"); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Errorf("finish twice: %v", err)
	}
	if got := fmt.Sprint(f.news); got != "[a/S a/S]" {
		t.Errorf("told of %s", got)
	}
	for i := range 2 * VersionsKept {
		f.set(t, "S", fmt.Sprint("value ", i), false)
	}
	if info := f.List("a")[0]; len(info.Versions) != VersionsKept || info.Current != 2+2*VersionsKept {
		t.Errorf("kept %+v", info)
	}
}

func TestResolve(t *testing.T) {
	f := open(t)
	f.set(t, "A", "value a", false)
	f.set(t, "B", "value b", false)
	f.set(t, "P", "pending only", true)
	env, files, err := f.Resolve(t.Context(), "a", []string{"A", "B:file"})
	if err != nil || len(env) != 1 || env["A"] != "value a" || len(files) != 1 || string(files["B"]) != "value b" {
		t.Errorf("got %v %s %v", env, files, err)
	}
	_, _, err = f.Resolve(t.Context(), "a", []string{"A", "X", "P:file", "X:file"})
	if mayfly.CodeOf(err) != mayfly.NotFound || !strings.Contains(err.Error(), "X, P") {
		t.Errorf("missing: %v", err)
	}
	if n := len(f.seen); n != 5 || f.seen[3].How != "deliver" {
		t.Errorf("%d accesses: %+v", n, f.seen)
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	f := open(t)
	f.set(t, "A", "value a", false)
	err := f.Check(&mayfly.Manifest{App: "a",
		Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {
			Secrets: []string{"A", "X", "A:env", "9"}, On: []mayfly.Trigger{{Webhook: "/x", Secret: "HOOK"}},
		}},
		Databases: map[string]*mayfly.Database{"main": {Engine: "postgres", DSN: "DSN"}},
	})
	for _, want := range []string{
		"functions.f.secrets[1]: secret X is not set; run: mayfly secret set X --app a",
		`functions.f.secrets[2]: "A:env"`, "functions.f.secrets[3]", "functions.f.on[0].secret: secret HOOK", "databases.main.dsn: secret DSN",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	if err := f.Check(&mayfly.Manifest{App: "a", Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {Secrets: []string{"A", "A:file"}}}}); err != nil {
		t.Errorf("all set: %v", err)
	}
}

func TestRedact(t *testing.T) {
	f := open(t)
	if got := f.Redact("nothing to hide"); got != "nothing to hide" {
		t.Error(got)
	}
	f.set(t, "S", `pass"word&1`, false)
	f.set(t, "SHORT", "ab", false)
	f.set(t, "LONGER", `pass"word&1 and more`, false)
	f.set(t, "PEM", "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nshort\n-----END KEY-----\n", false)
	for line, want := range map[string]string{
		`login with pass"word&1!`:         "login with [secret]!",
		`{"p":"pass\"word\u00261"}`:       `{"p":"[secret]"}`,
		"/?p=pass%22word%261":             "/?p=[secret]",
		"Basic cGFzcyJ3b3JkJjE=":          "Basic [secret]",
		`pass"word&1 and more`:            "[secret]",
		"  MIIEvQIBADANBgkqhkiG9w0":       "  [secret]",
		"-----BEGIN KEY----- short ab ok": "-----BEGIN KEY----- short ab ok",
	} {
		if got := f.Redact(line); got != want {
			t.Errorf("%s became %s, want %s", line, got, want)
		}
	}
	f.set(t, "S", "the next one", false)
	if got := f.Redact(`the next one, pass"word&1`); got != "[secret], [secret]" {
		t.Errorf("a kept version shows: %s", got)
	}
	if err := f.Delete(t.Context(), "a", "S"); err != nil {
		t.Fatal(err)
	}
	if got := f.Redact("the next one"); got != "the next one" {
		t.Errorf("after its deletion: %s", got)
	}
}

func TestHTTP(t *testing.T) {
	f := open(t)
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		if e := (*mayfly.Error)(nil); errors.As(errors.Join(errs...), &e) {
			status, msg = e.Code.HTTPStatus(), e.Error()
		}
		return &huma.ErrorModel{Status: status, Detail: msg}
	}
	mux := http.NewServeMux()
	f.Register(humago.New(mux, huma.DefaultConfig("test", "1")))
	admin := mayfly.Caller{Kind: mayfly.CallerAdmin}
	fn := mayfly.Caller{Kind: mayfly.CallerFunction, App: "a", Function: "f"}
	for _, c := range []struct {
		who                mayfly.Caller
		method, path, body string
		status             int
		want               string
	}{
		{admin, "PUT", "/v1/apps/a/secrets/S", `{"value":"first value"}`, 200, `"version":1`},
		{admin, "PUT", "/v1/apps/a/secrets/S%2F1", `{"value":"x"}`, 400, "cannot name"},
		{admin, "PUT", "/v1/apps/a/secrets/S", `{"value":""}`, 422, ""},
		{admin, "GET", "/v1/apps/a/secrets/S/value", "", 200, `"first value"`},
		{admin, "GET", "/v1/apps/a/secrets/T/value", "", 404, "mayfly secret set T"},
		{admin, "GET", "/v1/apps/a/secrets", "", 200, `"current":1`},
		{fn, "PUT", "/v1/apps/a/secrets/S", `{"value":"second value","stage":"pending"}`, 200, `"version":2`},
		{fn, "GET", "/v1/apps/a/secrets/S/value?stage=pending", "", 200, "second value"},
		{fn, "POST", "/v1/apps/a/secrets/S/finish", "", 200, `"version":2`},
		{fn, "GET", "/v1/apps/a/secrets/T/value", "", 403, `read secret/T`},
		{fn, "GET", "/v1/apps/b/secrets/S/value", "", 403, "cannot reach app b"},
		{fn, "DELETE", "/v1/apps/a/secrets/S", "", 403, "delete secret/S"},
		{mayfly.Caller{}, "GET", "/v1/apps/a/secrets/S/value", "", 401, ""},
		{admin, "DELETE", "/v1/apps/a/secrets/S", "", 204, ""},
		{admin, "GET", "/v1/apps/a/secrets/S", "", 404, ""},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r.WithContext(mayfly.WithCaller(context.Background(), c.who)))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.path, w.Code, w.Body, c.status, c.want)
		}
	}
}

func BenchmarkRedact(b *testing.B) {
	r := redactor{values: func() []string { return []string{"sk_live_abcdefgh", "another secret value", "third-secret-value"} }}
	line := strings.Repeat("an ordinary line of output ", 4)
	for b.Loop() {
		_ = r.redact(line)
	}
}
