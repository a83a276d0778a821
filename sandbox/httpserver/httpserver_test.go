package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// place has the bundles of all tests.
var place sandboxtest.Place

func TestMain(m *testing.M) { place.Main(m) }

func newDriver(t testing.TB) *Driver {
	t.Helper()
	d := New(Config{Launcher: place.Launcher()})
	t.Cleanup(func() { d.Close() })
	return d
}

// serverSpec is a version with the program of testdata/server.
func serverSpec(t testing.TB, mode string) *sandbox.Spec {
	t.Helper()
	dir := filepath.Dir(place.Build(t, "server/server", "./testdata/server"))
	return &sandbox.Spec{
		App: "test", Function: "fn", Version: 3, Runtime: mayfly.HTTP, Handler: "./server", Dir: dir,
		Env:    map[string]string{"MODE": mode, "PROBE": "seen"},
		Memory: 256 * mayfly.MiB, Timeout: time.Minute, PerInstance: 1,
	}
}

func start(t testing.TB, spec *sandbox.Spec) sandbox.Instance {
	t.Helper()
	in, err := newDriver(t).Start(context.Background(), spec, &sandboxtest.Recorder{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Stop(context.Background()) })
	return in
}

func TestContract(t *testing.T) {
	mode := func(mode string, change ...func(*sandbox.Spec)) sandboxtest.Maker {
		return func(t *testing.T) *sandbox.Spec {
			s := serverSpec(t, mode)
			for _, c := range change {
				c(s)
			}
			return s
		}
	}
	sandboxtest.Run(t, sandboxtest.Suite{
		Driver:     func(t *testing.T) sandbox.Driver { return newDriver(t) },
		HTTPEvents: true,
		Echo:       mode("echo"), Exit: mode("exit"), Hang: mode("hang"),
		Sleep:  mode("sleep", func(s *sandbox.Spec) { s.PerInstance = 4 }),
		Stream: mode("stream"), Endless: mode("endless"),
		Memory: mode("memory", func(s *sandbox.Spec) { s.Memory = 64 * mayfly.MiB }),
		Print:  mode("print"), Flood: mode("flood"), Context: mode("context"),
		Broken: mode("", func(s *sandbox.Spec) { s.Handler = "./missing" }),
		// Error, NotJSON: an HTTP answer is the program's own, whatever it is.
	})
}

type seen struct {
	Method, URI, Host, Body string
	Header                  http.Header
}

func ask(t *testing.T, in sandbox.Instance, call *sandbox.Call) seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := in.Call(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	text, err := sandboxtest.Read(reply, call.HTTP)
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEvents(t *testing.T) {
	in := start(t, serverSpec(t, "request"))
	trace := mayfly.NewTrace()
	at := time.Now().Add(time.Minute)
	s := ask(t, in, &sandbox.Call{ID: "i1", Trigger: mayfly.TriggerQueue, Trace: trace, Attempt: 2, Deadline: at, Event: []byte(`{"Records":[]}`)})
	if s.Method != "POST" || s.URI != "/" || s.Body != `{"Records":[]}` {
		t.Errorf("%+v", s)
	}
	for name, want := range map[string]string{
		"Ce-Id": "i1", "Ce-Type": "mayfly.queue", "Ce-Source": "/mayfly/test/queue", "Ce-Specversion": "1.0", "Content-Type": "application/json",
		"Traceparent": trace.Header(), "X-Request-Id": "i1", "X-Mayfly-Attempt": "2", "X-Mayfly-Trigger": "queue",
	} {
		if s.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, s.Header.Get(name), want)
		}
	}
	s = ask(t, in, &sandbox.Call{ID: "i2", Trigger: mayfly.TriggerDirect, Event: []byte(`[1]`)})
	if s.Body != `[1]` || s.Header.Get("Ce-Id") != "" {
		t.Errorf("%+v", s)
	}
	s = ask(t, in, &sandbox.Call{ID: "i3", Trigger: mayfly.TriggerTopic,
		Event: []byte(`{"specversion":"1.0","id":"e","source":"/s","type":"order.made","subject":"ö \"x\"","ext":7,"datacontenttype":"application/json","data":{"n":1}}`)})
	if s.Body != `{"n":1}` || s.Header.Get("Ce-Type") != "order.made" || s.Header.Get("Ce-Ext") != "7" || s.Header.Get("Ce-Subject") != "%C3%B6%20%22x%22" {
		t.Errorf("%+v", s)
	}
	s = ask(t, in, &sandbox.Call{ID: "i4", Trigger: mayfly.TriggerTopic,
		Event: []byte(`{"specversion":"1.0","id":"e","source":"/s","type":"t","datacontenttype":"text/plain","data":"hi"}`)})
	if s.Body != "hi" || s.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("%+v", s)
	}
	s = ask(t, in, &sandbox.Call{ID: "i5", Trigger: mayfly.TriggerTopic, Event: []byte(`[{"specversion":"1.0"}]`)})
	if s.Header.Get("Content-Type") != "application/cloudevents-batch+json" {
		t.Errorf("%+v", s)
	}
}

func TestHTTPCall(t *testing.T) {
	in := start(t, serverSpec(t, "request"))
	event := `{"version":"2.0","rawPath":"/a%20b/c","rawQueryString":"x=1&y=%20","cookies":["a=1","b=2"],
		"headers":{"host":"h.example","x-one":"1","content-length":"999","connection":"upgrade"},
		"requestContext":{"http":{"method":"PUT","path":"/a b/c"}},"body":"aGk=","isBase64Encoded":true}`
	s := ask(t, in, &sandbox.Call{ID: "i", HTTP: true, Trigger: mayfly.TriggerHTTP, Event: []byte(event)})
	if s.Method != "PUT" || s.URI != "/a%20b/c?x=1&y=%20" || s.Host != "h.example" || s.Body != "hi" ||
		s.Header.Get("X-One") != "1" || s.Header.Get("Cookie") != "a=1; b=2" {
		t.Errorf("%+v", s)
	}
	in = start(t, serverSpec(t, "stream"))
	reply, err := in.Call(context.Background(), &sandbox.Call{ID: "j", HTTP: true, Event: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if len(reply.Meta.Cookies) != 1 || reply.Meta.Cookies[0] != "a=b" || reply.Meta.Header.Get("Set-Cookie") != "" {
		t.Errorf("%+v", reply.Meta)
	}
	if _, err := in.Call(context.Background(), &sandbox.Call{ID: "k", HTTP: true, Event: []byte(`nonsense`)}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Error(err)
	}
}

func TestErrorStatusFailsAnEvent(t *testing.T) {
	in := start(t, serverSpec(t, "error"))
	_, err := in.Call(context.Background(), &sandbox.Call{ID: "i", Event: []byte(`{}`)})
	var fe *mayfly.FunctionError
	if !errors.As(err, &fe) || fe.Type != "E" || !strings.Contains(fe.Message, "500: deliberate") {
		t.Errorf("%+v", err)
	}
}

func TestServer(t *testing.T) {
	in := start(t, serverSpec(t, "echo"))
	dial := in.(sandbox.Server).DialContext
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}}
	resp, err := client.Post("http://x/", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "hello" {
		t.Errorf("%q", b)
	}
}

func TestGracefulStop(t *testing.T) {
	out := &sandboxtest.Recorder{}
	in, err := newDriver(t).Start(context.Background(), serverSpec(t, "echo"), out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := in.Stop(ctx); err != nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
	out.Await(t, "of the SIGTERM handler", func(l mayfly.LogLine) bool { return l.Text == "bye" })
}

func TestFailedStarts(t *testing.T) {
	for _, tt := range []struct {
		name, mode, handler string
		timeout             time.Duration
		kind, says          string
	}{
		{"exit", "broken", "./server", time.Minute, mayfly.ErrorTypeExit, "exit status 4"},
		{"deaf", "deaf", "./server", 2 * time.Second, mayfly.ErrorTypeTimeout, "did not listen on port"},
		{"no handler", "", "", time.Minute, mayfly.ErrorTypeHandler, "needs a command line"},
		{"quotes", "", "'x", time.Minute, mayfly.ErrorTypeHandler, "not closed"},
		{"unknown", "", "no-such-program -x", time.Minute, mayfly.ErrorTypeHandler, "no program"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := serverSpec(t, tt.mode)
			spec.Handler, spec.Timeout = tt.handler, tt.timeout
			_, err := newDriver(t).Start(context.Background(), spec, &sandboxtest.Recorder{})
			var fe *mayfly.FunctionError
			if !errors.As(err, &fe) || fe.Type != tt.kind || !strings.Contains(fe.Message, tt.says) {
				t.Fatalf("%+v", err)
			}
			if tt.name == "exit" && (len(fe.Trace) != 1 || fe.Trace[0] != "no database") {
				t.Errorf("trace %q", fe.Trace)
			}
		})
	}
}

func TestCommandLines(t *testing.T) {
	for _, handler := range []string{"server request", "./server 'request'", `/var/task/server "request"`, "./server $WHAT", "WHAT=request; ./server $WHAT"} {
		t.Run(handler, func(t *testing.T) {
			spec := serverSpec(t, "")
			spec.Handler, spec.Env = handler, map[string]string{"WHAT": "request"}
			if s := ask(t, start(t, spec), &sandbox.Call{ID: "i", Event: []byte(`1`)}); s.Body != "1" {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestPythonServer(t *testing.T) {
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("needs /usr/bin/python3")
	}
	dir := place.Folder(t)
	sandboxtest.Write(t, dir, 0o644, map[string]string{"hello.txt": "hello"})
	in := start(t, &sandbox.Spec{App: "a", Function: "f", Handler: "python3 -m http.server $PORT", Dir: dir, Memory: 256 * mayfly.MiB, Timeout: time.Minute})
	event := sandboxtest.Request("GET", "/hello.txt", "")
	reply, err := in.Call(context.Background(), &sandbox.Call{ID: "i", HTTP: true, Event: event})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sandboxtest.Read(reply, true); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}
