package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// place has the bundles of all tests.
var place sandboxtest.Place

func TestMain(m *testing.M) { place.Main(m) }

// goGuest is testdata/guest, compiled by the Go toolchain and, so that no test waits
// for it, by wazero.
func goGuest(t testing.TB) []byte {
	t.Helper()
	file := place.Build(t, "guest/guest.wasm", "./testdata/guest", "GOOS=wasip1", "GOARCH=wasm")
	compiled.Do(func() {
		d, err := New(Config{Launcher: place.Launcher(), Dir: filepath.Join(place.Dir, "cache"), Spares: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if err := d.Prepare(context.Background(), &sandbox.Spec{App: "a", Function: "f", Dir: filepath.Dir(file), Memory: mayfly.GiB}); err != nil {
			t.Fatal(err)
		}
	})
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

var compiled sync.Once

func newDriver(t testing.TB) *Driver {
	t.Helper()
	d, err := New(Config{Launcher: place.Launcher(), Dir: filepath.Join(place.Dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func spec(t testing.TB, files map[string][]byte) *sandbox.Spec {
	t.Helper()
	dir := place.Folder(t)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &sandbox.Spec{App: "test", Function: "fn", Version: 1, Runtime: mayfly.Wasm, Dir: dir,
		Memory: 256 * mayfly.MiB, Timeout: time.Minute, PerInstance: 1}
}

func goSpec(t testing.TB, mode string, env ...string) *sandbox.Spec {
	t.Helper()
	s := spec(t, map[string][]byte{"main.wasm": goGuest(t)})
	s.Env = map[string]string{"MODE": mode, "PROBE": "seen"}
	for i := 0; i < len(env); i += 2 {
		s.Env[env[i]] = env[i+1]
	}
	return s
}

func start(t testing.TB, s *sandbox.Spec) sandbox.Instance {
	t.Helper()
	return startOn(t, newDriver(t), s)
}

func startOn(t testing.TB, d *Driver, s *sandbox.Spec) sandbox.Instance {
	t.Helper()
	in, err := d.Start(context.Background(), s, &sandboxtest.Recorder{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Stop(context.Background()) })
	return in
}

func call(t testing.TB, in sandbox.Instance, event string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := in.Call(ctx, &sandbox.Call{ID: "id-1", Deadline: time.Now().Add(time.Minute), Event: []byte(event)})
	if err != nil {
		return "", err
	}
	return sandboxtest.Read(reply, false)
}

func callHTTP(t testing.TB, in sandbox.Instance, event []byte) (*sandbox.Reply, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := in.Call(ctx, &sandbox.Call{ID: "id-1", HTTP: true, Trigger: mayfly.TriggerHTTP, Event: event})
	if err != nil {
		return nil, "", err
	}
	text, err := sandboxtest.Read(reply, false)
	return reply, text, err
}

func functionError(t testing.TB, err error, kind, says string) *mayfly.FunctionError {
	t.Helper()
	var fe *mayfly.FunctionError
	if !errors.As(err, &fe) || fe.Type != kind || !strings.Contains(fe.Message, says) {
		t.Fatalf("error %+v, want a %s that says %q", err, kind, says)
	}
	return fe
}

func TestContract(t *testing.T) {
	mode := func(mode string, change ...func(*sandbox.Spec)) sandboxtest.Maker {
		return func(t *testing.T) *sandbox.Spec {
			s := goSpec(t, mode)
			for _, c := range change {
				c(s)
			}
			return s
		}
	}
	sandboxtest.Run(t, sandboxtest.Suite{
		Driver: func(t *testing.T) sandbox.Driver { return newDriver(t) },
		Echo:   mode("echo"), Error: mode("error"), Hang: mode("hang"),
		Sleep:  mode("sleep", func(s *sandbox.Spec) { s.PerInstance = 4 }),
		Stream: mode("stream"), Endless: mode("endless"),
		Memory: mode("memory", func(s *sandbox.Spec) { s.Memory = 64 * mayfly.MiB }),
		Flood:  mode("flood"), Context: mode("context"),
		Broken: func(t *testing.T) *sandbox.Spec { return spec(t, nil) },
		// Exit: a module's exit is the end of a call, not of an instance.
		// Print: standard output is the result; the log is standard error.
		// NotJSON: text is a JSON string.
	})
}

func TestTinyModule(t *testing.T) {
	in := start(t, spec(t, map[string][]byte{"echo.wasm": echoModule()}))
	for i := range 50 {
		event := fmt.Sprintf(`{"n":%d}`, i)
		if got, err := call(t, in, event); err != nil || got != event {
			t.Fatalf("%q, %v", got, err)
		}
	}
	large := `"` + strings.Repeat("x", 5<<20) + `"`
	if got, err := call(t, in, large); err != nil || got != large {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if got, err := call(t, in, ""); err != nil || got != "null" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestFailures(t *testing.T) {
	in := start(t, spec(t, map[string][]byte{"trap.wasm": trapModule()}))
	for range 2 {
		_, err := call(t, in, `1`)
		if fe := functionError(t, err, errorTypeTrap, "unreachable"); len(fe.Trace) == 0 {
			t.Error("a trap has no trace")
		}
	}
	_, err := call(t, start(t, goSpec(t, "said")), `1`)
	functionError(t, err, "Mine", "as I say")
	_, err = call(t, start(t, goSpec(t, "error")), `1`)
	functionError(t, err, mayfly.ErrorTypeExit, "exit status 3: a deliberate failure")
	_, err = call(t, start(t, goSpec(t, "panic")), `1`)
	functionError(t, err, mayfly.ErrorTypeExit, "exit status 2")
	_, err = call(t, start(t, goSpec(t, "toolarge")), `1`)
	functionError(t, err, "Function.ResponseSizeTooLarge", "6MiB")
}

// A loop that calls nothing ends with its worker, and harms no other call.
func TestDeadlineEndsALoop(t *testing.T) {
	d := newDriver(t)
	spin, err := d.Start(context.Background(), spec(t, map[string][]byte{"spin.wasm": spinModule()}), &sandboxtest.Recorder{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := d.Start(context.Background(), spec(t, map[string][]byte{"echo.wasm": echoModule()}), &sandboxtest.Recorder{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := spin.Call(ctx, &sandbox.Call{ID: "x", Event: []byte(`1`)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if got, err := call(t, other, `2`); err != nil || got != `2` {
		t.Fatal(got, err)
	}
	if err := spin.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	<-spin.Done()
}

func TestPrepareRefuses(t *testing.T) {
	missing := module("other", 1, nil)
	foreign := slices.Clone(echoModule())
	copy(foreign[strings.Index(string(foreign), "fd_read"):], "fd_gone")
	for _, tt := range []struct {
		name, kind, says string
		files            map[string][]byte
	}{
		{"nothing", errorTypeModule, "no file that ends in .wasm", map[string][]byte{"a.txt": nil}},
		{"two", errorTypeModule, "2 modules", map[string][]byte{"a.wasm": echoModule(), "b.wasm": echoModule()}},
		{"text", errorTypeModule, "not a WebAssembly module", map[string][]byte{"a.wasm": []byte("hello")}},
		{"component", errorTypeModule, "component", map[string][]byte{"a.wasm": []byte("\x00asm\x0d\x00\x01\x00")}},
		{"cut", errorTypeModule, "not a valid module", map[string][]byte{"a.wasm": echoModule()[:100]}},
		{"entry", mayfly.ErrorTypeHandler, `"_start"`, map[string][]byte{"a.wasm": missing}},
		{"import", errorTypeModule, "wasi_snapshot_preview1.fd_gone", map[string][]byte{"a.wasm": foreign}},
		{"memory", errorTypeModule, "begins with", map[string][]byte{"a.wasm": module("_start", 5000, nil)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			functionError(t, newDriver(t).Prepare(context.Background(), spec(t, tt.files)), tt.kind, tt.says)
		})
	}
}

func TestNamedEntry(t *testing.T) {
	s := spec(t, map[string][]byte{"a.wasm": module("other", 1, nil)})
	s.Handler = "other"
	if got, err := call(t, start(t, s), `1`); err != nil || got != "null" {
		t.Fatal(got, err)
	}
}

func TestWAGI(t *testing.T) {
	in := start(t, goSpec(t, "env"))
	event := `{"version":"2.0","routeKey":"POST /a/{id}","rawPath":"/a/x%20y","rawQueryString":"q=1&r","cookies":["c=1","d=2"],
		"headers":{"host":"h.example:81","x-one-two":"3","proxy":"evil","content-type":"text/plain"},"pathParameters":{"id":"x y"},
		"requestContext":{"http":{"method":"POST","path":"/a/x y","protocol":"HTTP/1.1","sourceIp":"10.1.2.3"}},"body":"aGk=","isBase64Encoded":true}`
	_, text, err := callHTTP(t, in, []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	var seen struct {
		Env  []string
		Body string
	}
	if err := json.Unmarshal([]byte(text), &seen); err != nil {
		t.Fatal(text, err)
	}
	for _, want := range []string{
		"REQUEST_METHOD=POST", "PATH_INFO=/a/x y", "X_RAW_PATH_INFO=/a/x%20y", "QUERY_STRING=q=1&r", "HTTP_COOKIE=c=1; d=2",
		"SERVER_NAME=h.example", "SERVER_PORT=81", "HTTP_X_ONE_TWO=3", "CONTENT_TYPE=text/plain", "CONTENT_LENGTH=2",
		"X_MATCHED_ROUTE=/a/{id}", "X_PARAM_ID=x y", "REMOTE_ADDR=10.1.2.3", "X_FULL_URL=http://h.example:81/a/x%20y?q=1&r",
		"MODE=env", "PROBE=seen", "MAYFLY_REQUEST_ID=id-1", "MAYFLY_TRIGGER=http", "GATEWAY_INTERFACE=CGI/1.1",
	} {
		if !slices.Contains(seen.Env, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	if seen.Body != "hi" || strings.Contains(text, "evil") {
		t.Errorf("body %q; environment %q", seen.Body, seen.Env)
	}
}

func TestAnswers(t *testing.T) {
	request := sandboxtest.Request("GET", "/", "")
	d := newDriver(t)
	d.spares.most = 0
	for _, tt := range []struct {
		answer, body, kind string
		status             int // 0: a payload
	}{
		{"Content-Type: text/x\n\nhello", "hello", "text/x", 200},
		{"Status: 404 Not Found\r\nContent-Type: a/b\r\n\r\nno", "no", "a/b", 404},
		{"Location: /x\n\n", "", "", 302},
		{`{"statusCode":201,"body":"x"}`, `{"statusCode":201,"body":"x"}`, "", 0},
		{`[1]`, `[1]`, "", 0},
		{"just text", "just text", "text/plain; charset=utf-8", 200},
		{"Dear: reader\n\nhello", "Dear: reader\n\nhello", "text/plain; charset=utf-8", 200},
		{"<!DOCTYPE html><p>hi", "<!DOCTYPE html><p>hi", "text/html; charset=utf-8", 200},
	} {
		in := startOn(t, d, goSpec(t, "answer", "ANSWER", tt.answer))
		reply, text, err := callHTTP(t, in, request)
		if err != nil || text != tt.body {
			t.Fatalf("%q: %q, %v", tt.answer, text, err)
		}
		if tt.status == 0 {
			if reply.Meta != nil {
				t.Errorf("%q: head %+v", tt.answer, reply.Meta)
			}
			continue
		}
		if reply.Meta == nil || reply.Meta.Status != tt.status || reply.Meta.Header.Get("Content-Type") != tt.kind {
			t.Errorf("%q: head %+v", tt.answer, reply.Meta)
		}
	}
	_, text, err := callHTTP(t, startOn(t, d, goSpec(t, "large")), request)
	if err != nil || len(text) != 20<<20 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	reply, text, err := callHTTP(t, startOn(t, d, goSpec(t, "fail-late")), request)
	if err == nil || len(text) == 0 || reply == nil {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestFiles(t *testing.T) {
	s := goSpec(t, "file", "FILE", "/data.txt")
	os.WriteFile(filepath.Join(s.Dir, "data.txt"), []byte("hello"), 0o644)
	os.WriteFile(filepath.Join(place.Dir, "outside.txt"), []byte("secret"), 0o644)
	os.Symlink("../outside.txt", filepath.Join(s.Dir, "link"))
	if got, err := call(t, start(t, s), `1`); err != nil || !strings.Contains(got, `"content":"hello","failed":false,"written":false`) {
		t.Error(got, err)
	}
	for _, path := range []string{"/link", "/etc/passwd", "../outside.txt"} {
		s.Env = map[string]string{"MODE": "file", "FILE": path}
		if got, err := call(t, start(t, s), `1`); err != nil || !strings.Contains(got, `"content":"","failed":true,"written":false`) {
			t.Error(path, got, err)
		}
	}
	s = goSpec(t, "file", "FILE", "/run/secrets/KEY")
	s.Files = map[string][]byte{"KEY": []byte("hidden")}
	if got, err := call(t, start(t, s), `1`); err != nil || !strings.Contains(got, `"content":"hidden"`) {
		t.Error(got, err)
	}
}

func TestStderrIsTheLog(t *testing.T) {
	out := &sandboxtest.Recorder{}
	in, err := newDriver(t).Start(context.Background(), goSpec(t, "print"), out)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Stop(context.Background())
	if _, err := call(t, in, `{"line":"a line"}`); err != nil {
		t.Fatal(err)
	}
	line := out.Await(t, "of stderr", func(l mayfly.LogLine) bool { return l.Text == "a line" })
	if line.Stream != mayfly.Stderr || line.Invocation != "id-1" {
		t.Errorf("%+v", line)
	}
}

// The spare of a version serves the next start, with its own output and as the
// spec then says.
func TestSpare(t *testing.T) {
	d := newDriver(t)
	s := goSpec(t, "print")
	awaitSpare := func(s *sandbox.Spec) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !d.spares.ready(key(s)); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no spare was made")
			}
		}
	}
	if err := d.Prepare(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	awaitSpare(s)
	spare := d.spares.held[key(s)].in
	out := &sandboxtest.Recorder{}
	in, err := d.Start(context.Background(), s, out)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Stop(context.Background())
	if in != sandbox.Instance(spare) || len(in.Info().Phases) != 3 {
		t.Errorf("the spare was not used, or does not tell: %+v", in.Info())
	}
	if _, err := call(t, in, `{"line":"from the spare"}`); err != nil {
		t.Fatal(err)
	}
	out.Await(t, "of the spare", func(l mayfly.LogLine) bool { return l.Text == "from the spare" })
	awaitSpare(s)
	changed := *s
	changed.Env = map[string]string{"MODE": "answer", "ANSWER": "7"}
	in2, err := d.Start(context.Background(), &changed, out)
	if err != nil {
		t.Fatal(err)
	}
	defer in2.Stop(context.Background())
	if got, err := call(t, in2, `1`); err != nil || got != `7` {
		t.Error(got, err)
	}
	awaitSpare(s)
	d.Forget(s)
	if d.spares.ready(key(s)) {
		t.Error("a forgotten version has a spare")
	}
}

// A module is compiled once, whatever the bundle's folder and the driver.
func TestCache(t *testing.T) {
	s := spec(t, map[string][]byte{"a.wasm": module("_start", 3, nil)})
	d := newDriver(t)
	if err := d.Prepare(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	v, err := findModule(s.Dir)
	if err != nil || !d.cache.has(v.hash) {
		t.Fatal("not compiled", err)
	}
	rec := d.cache.record(v.hash)
	if len(rec.Files) != 1 {
		t.Fatalf("%+v", rec)
	}
	d.cache.size = 1
	d.cache.prune(v.hash)
	if !d.cache.has(v.hash) {
		t.Error("the module in use was pruned")
	}
	d.cache.prune("")
	if d.cache.has(v.hash) {
		t.Error("nothing was pruned")
	}
	if _, err := call(t, start(t, s), `1`); err != nil {
		t.Error("after pruning:", err)
	}
	left, _ := filepath.Glob(filepath.Join(d.cache.dir, "tmp-*"))
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestStopWithSpareBeingMade(t *testing.T) {
	d := newDriver(t)
	if err := d.Prepare(context.Background(), spec(t, map[string][]byte{"a.wasm": echoModule()})); err != nil {
		t.Fatal(err)
	}
	d.Close()
	d.Close()
}

func FuzzCutHeader(f *testing.F) {
	f.Add([]byte("Status: 200\nContent-Type: a\n\nbody"))
	f.Add([]byte("Location:\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		head, body, ok := cutHeader(b)
		if !ok {
			return
		}
		if !json.Valid(head) || len(body) > len(b) {
			t.Errorf("%q: head %q", b, head)
		}
	})
}
