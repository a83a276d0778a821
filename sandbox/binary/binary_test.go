package binary

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/aws/aws-lambda-go/lambda" // testdata/lambda is built from it

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

// lambdaSpec is a version with the program of testdata/lambda, made with the
// unmodified aws-lambda-go.
func lambdaSpec(t testing.TB, mode string) *sandbox.Spec {
	t.Helper()
	return &sandbox.Spec{
		App: "test", Function: "fn", Version: 3, Runtime: mayfly.Binary, Dir: filepath.Dir(place.Build(t, "lambda/bootstrap", "./testdata/lambda")), Env: map[string]string{"MODE": mode, "PROBE": "seen"},
		Memory: 256 * mayfly.MiB, Timeout: time.Minute, PerInstance: 1,
	}
}

// bundle is a version made of files, all of them executable.
func bundle(t testing.TB, files map[string]string) *sandbox.Spec {
	t.Helper()
	dir := place.Folder(t)
	sandboxtest.Write(t, dir, 0o755, files)
	return &sandbox.Spec{App: "test", Function: "fn", Version: 1, Runtime: mayfly.Binary, Dir: dir,
		Memory: 256 * mayfly.MiB, Timeout: time.Minute, PerInstance: 1}
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

func call(t testing.TB, in sandbox.Instance, event string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := in.Call(ctx, &sandbox.Call{ID: mayfly.NewID(), Trace: mayfly.NewTrace(), Deadline: time.Now().Add(time.Minute), Event: []byte(event)})
	if err != nil {
		return "", err
	}
	return string(reply.Payload), nil
}

func TestContract(t *testing.T) {
	mode := func(mode string, change ...func(*sandbox.Spec)) sandboxtest.Maker {
		return func(t *testing.T) *sandbox.Spec {
			s := lambdaSpec(t, mode)
			for _, c := range change {
				c(s)
			}
			return s
		}
	}
	sandboxtest.Run(t, sandboxtest.Suite{
		Driver: func(t *testing.T) sandbox.Driver { return newDriver(t) },
		Echo:   mode("echo"), Error: mode("error"), Exit: mode("exit"), Hang: mode("hang"),
		Sleep:  mode("sleep", func(s *sandbox.Spec) { s.PerInstance = 4 }),
		Stream: mode("stream"), Endless: mode("endless"),
		Memory: mode("memory", func(s *sandbox.Spec) { s.Memory = 64 * mayfly.MiB }),
		Print:  mode("print"), Flood: mode("flood"), Context: mode("context"),
		Broken: func(t *testing.T) *sandbox.Spec { return bundle(t, nil) },
		// NotJSON: a response that is not JSON is a JSON string here.
	})
}

func TestPanicEndsTheInstance(t *testing.T) {
	in := start(t, lambdaSpec(t, "panic"))
	_, err := call(t, in, `{}`)
	var fe *mayfly.FunctionError
	if !errors.As(err, &fe) || fe.Message != "deliberate" || len(fe.Trace) == 0 {
		t.Fatalf("%+v", err)
	}
	<-in.Done()
	if !errors.As(in.Err(), &fe) || fe.Type != mayfly.ErrorTypeExit {
		t.Errorf("%v", in.Err())
	}
}

func TestFailedStarts(t *testing.T) {
	for _, tt := range []struct {
		name, kind, says string
		spec             func(t *testing.T) *sandbox.Spec
	}{
		{"exit", mayfly.ErrorTypeExit, "exit status 4", func(t *testing.T) *sandbox.Spec { return lambdaSpec(t, "init") }},
		{"no file", mayfly.ErrorTypeHandler, `no file "bootstrap"`, func(t *testing.T) *sandbox.Spec { return bundle(t, nil) }},
		{"escape", mayfly.ErrorTypeHandler, "not a path within the bundle", func(t *testing.T) *sandbox.Spec {
			s := bundle(t, nil)
			s.Handler = "../../bin/sh"
			return s
		}},
		{"macOS", mayfly.ErrorTypeHandler, "macOS", func(t *testing.T) *sandbox.Spec {
			return bundle(t, map[string]string{"bootstrap": "\xcf\xfa\xed\xfe...."})
		}},
		{"not executable", mayfly.ErrorTypeHandler, "chmod +x", func(t *testing.T) *sandbox.Spec {
			s := bundle(t, map[string]string{"bootstrap": "#!/bin/sh\n"})
			os.Chmod(filepath.Join(s.Dir, "bootstrap"), 0o644)
			return s
		}},
		{"slow", mayfly.ErrorTypeTimeout, "did not ask for an event", func(t *testing.T) *sandbox.Spec {
			s := bundle(t, map[string]string{"bootstrap": "#!/bin/sh\nexec sleep 1000\n"})
			s.Timeout = 50 * time.Millisecond
			return s
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, err := newDriver(t).Start(context.Background(), tt.spec(t), &sandboxtest.Recorder{})
			var fe *mayfly.FunctionError
			if !errors.As(err, &fe) || fe.Type != tt.kind || !strings.Contains(fe.Message, tt.says) {
				t.Fatalf("%v, %+v", in, err)
			}
			if tt.name == "exit" && (len(fe.Trace) == 0 || fe.Trace[0] != "cannot find my settings") {
				t.Errorf("trace %q", fe.Trace)
			}
		})
	}
}

const shell = `#!/bin/sh
set -e
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while :; do
	headers=$(mktemp)
	event=$(curl -sS -D "$headers" "$api/invocation/next")
	id=$(grep -i '^lambda-runtime-aws-request-id' "$headers" | tr -d '[:space:]' | cut -d: -f2)
	curl -sS -o /dev/null -d "got $event" "$api/invocation/$id/response"
done
`

const python = `#!/usr/bin/env python3
import os, json, urllib.request as u
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/"
while True:
    with u.urlopen(api + "invocation/next") as r:
        id, event = r.headers["Lambda-Runtime-Aws-Request-Id"], json.load(r)
    if event.get("fail"):
        body, what = {"errorType": "ValueError", "errorMessage": "no", "stackTrace": ["  a\n"]}, "error"
    else:
        body, what = {"python": event}, "response"
    u.urlopen(u.Request(api + "invocation/" + id + "/" + what, json.dumps(body).encode(), method="POST")).close()
`

const node = `#!/usr/bin/env node
const http = require('http')
const api = 'http://' + process.env.AWS_LAMBDA_RUNTIME_API + '/2018-06-01/runtime/'
const agent = new http.Agent({ keepAlive: true })
const ask = (method, path, body) => new Promise((done, fail) => {
  const req = http.request(api + path, { method, agent }, res => {
    let text = ''
    res.on('data', d => text += d).on('end', () => done({ id: res.headers['lambda-runtime-aws-request-id'], text }))
  }).on('error', fail)
  req.end(body)
})
const loop = async () => {
  for (;;) {
    const { id, text } = await ask('GET', 'invocation/next')
    await ask('POST', 'invocation/' + id + '/response', JSON.stringify({ node: JSON.parse(text) }))
  }
}
loop().catch(e => { console.error(e); process.exit(1) })
`

func TestCustomRuntimes(t *testing.T) {
	for _, tt := range []struct{ name, needs, code, want string }{
		{"shell", "curl", shell, `"got {\"a\":1}"`},
		{"python", "python3", python, `{"python": {"a": 1}}`},
		{"node", "node", node, `{"node":{"a":1}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := os.Stat("/usr/bin/" + tt.needs); err != nil {
				t.Skip("needs /usr/bin/" + tt.needs)
			}
			in := start(t, bundle(t, map[string]string{"bootstrap": tt.code}))
			for range 3 {
				if got, err := call(t, in, `{"a":1}`); err != nil || got != tt.want {
					t.Fatalf("%s, %v", got, err)
				}
			}
			if tt.name != "python" {
				return
			}
			var fe *mayfly.FunctionError
			if _, err := call(t, in, `{"fail":true}`); !errors.As(err, &fe) || fe.Type != "ValueError" || len(fe.Trace) != 1 {
				t.Errorf("%+v", err)
			}
		})
	}
}

// tutorial is the custom runtime of Lambda's own tutorial: the handler names a
// file and a function in it, and bootstrap finds both.
const tutorial = `#!/bin/bash
set -euo pipefail
source $LAMBDA_TASK_ROOT/"$(echo $_HANDLER | cut -d. -f1).sh"
while true
do
  HEADERS="$(mktemp)"
  EVENT_DATA=$(curl -sS -LD "$HEADERS" "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/next")
  REQUEST_ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
  RESPONSE=$($(echo "$_HANDLER" | cut -d. -f2) "$EVENT_DATA")
  curl "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response"  -d "$RESPONSE"
done
`

func TestHandlerOfACustomRuntime(t *testing.T) {
	for _, file := range []string{"/bin/bash", "/usr/bin/curl"} {
		if _, err := os.Stat(file); err != nil {
			t.Skip("needs " + file)
		}
	}
	spec := bundle(t, map[string]string{"bootstrap": tutorial, "function.sh": "function handler () { echo \"Echoing request: '$1'\"; }\n"})
	spec.Handler = "function.handler"
	if got, err := call(t, start(t, spec), `{"a":1}`); err != nil || got != `"Echoing request: '{\"a\":1}'"` {
		t.Errorf("%s, %v", got, err)
	}
}
