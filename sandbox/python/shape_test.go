package python_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// run starts a function.
func run(t *testing.T, spec *sandbox.Spec) *sandboxtest.Function {
	t.Helper()
	return sandboxtest.Start(t, newDriver(t), spec)
}

// code is a version whose app.py is text.
func code(t *testing.T, text string) *sandbox.Spec {
	return bundle(t, "app.handler", map[string]string{"app.py": text})
}

func TestHandlers(t *testing.T) {
	for name, c := range map[string]struct {
		handler string
		files   map[string]string
		event   string
		want    string
	}{
		"async":           {"app.handler", map[string]string{"app.py": "import asyncio\nasync def handler(e, c):\n    await asyncio.sleep(0)\n    return [e]\n"}, "1", "[1]"},
		"async in sync":   {"app.handler", map[string]string{"app.py": "async def inner(e): return [e]\ndef handler(e, c):\n    return inner(e)\n"}, "1", "[1]"},
		"asyncio.run":     {"app.handler", map[string]string{"app.py": "import asyncio\nasync def inner(e): return [e]\ndef handler(e, c):\n    return asyncio.run(inner(e))\n"}, "1", "[1]"},
		"object":          {"app.handler", map[string]string{"app.py": "class H:\n    async def __call__(self, e, c): return e\nhandler = H()\n"}, "1", "1"},
		"package":         {"pkg.mod.handler", map[string]string{"pkg/__init__.py": "", "pkg/mod.py": "from . import other\ndef handler(e, c): return other.x\n", "pkg/other.py": "x = 5\n"}, "1", "5"},
		"path":            {"src/app.handler", map[string]string{"src/app.py": "def handler(e, c): return __name__\n"}, "1", `"src.app"`},
		"vendored":        {"app.handler", map[string]string{"app.py": "import dep\ndef handler(e, c): return dep.x\n", "vendor/dep.py": "x = 6\n"}, "1", "6"},
		"bundled":         {"app.handler", map[string]string{"app.py": "import dep\ndef handler(e, c): return dep.x\n", "dep/__init__.py": "x = 7\n"}, "1", "7"},
		"PYTHONPATH":      {"app.handler", map[string]string{"app.py": "import sys\ndef handler(e, c): return sys.argv\n"}, "1", `[""]`},
		"nothing":         {"app.handler", map[string]string{"app.py": "def handler(e, c): pass\n"}, "1", "null"},
		"decimal":         {"app.handler", map[string]string{"app.py": "import decimal\ndef handler(e, c): return {'d': decimal.Decimal('1.5')}\n"}, "1", `{"d":1.5}`},
		"surrogate":       {"app.handler", map[string]string{"app.py": "def handler(e, c): return '\\ud800'\n"}, "1", `"\ud800"`},
		"unicode":         {"app.handler", map[string]string{"app.py": "def handler(e, c): return e\n"}, `"\u00e4🦋"`, `"ä🦋"`},
		"spaces":          {"app.handler", map[string]string{"app.py": "def handler(e, c): return e\n"}, " [ 1 ]\n", `[1]`},
		"task root":       {"app.handler", map[string]string{"app.py": "import os\ndef handler(e, c): return open('data.txt').read() + str(os.environ['LAMBDA_TASK_ROOT'] == os.getcwd() and os.path.isdir(os.environ['LAMBDA_RUNTIME_DIR']))\n", "data.txt": "d"}, "1", `"dTrue"`},
		"generator":       {"app.handler", map[string]string{"app.py": "def handler(e, c):\n    for i in range(3): yield {'i': i}\n"}, "1", "{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n"},
		"empty generator": {"app.handler", map[string]string{"app.py": "def handler(e, c):\n    return\n    yield\n"}, "1", ""},
		"async generator": {"app.handler", map[string]string{"app.py": "async def handler(e, c):\n    yield 'a'\n    yield b'b'\n"}, "1", "ab"},
		"forked child":    {"app.handler", map[string]string{"app.py": "import multiprocessing\ndef work(n): print('in a child'); return n * 2\ndef handler(e, c):\n    with multiprocessing.get_context('fork').Pool(2) as p: return p.map(work, [1, 2])\n"}, "1", "[2,4]"},
	} {
		t.Run(name, func(t *testing.T) {
			f := run(t, bundle(t, c.handler, c.files))
			f.Want(f.Event(c.event), c.want)
			f.Want(f.Event(c.event), c.want)
		})
	}
}

func TestContextObject(t *testing.T) {
	f := run(t, code(t, `
import os
def handler(event, c):
    return [c.function_name, c.function_version, c.memory_limit_in_mb, c.log_group_name, c.log_stream_name == os.environ["MAYFLY_INSTANCE"],
            c.invoked_function_arn, c.identity.cognito_identity_id, c.client_context, c.get_remaining_time_in_millis() > 0,
            c.trigger, c.attempt, os.environ["_X_AMZN_TRACE_ID"].startswith("Root=1-"), "LambdaContext" in repr(c),
            [os.environ[k] for k in ("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_REGION", "_HANDLER", "MAYFLY_APP", "MAYFLY_FUNCTION", "TZ")],
            os.environ["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_python3."), sorted(k for k in os.environ if k.startswith(("GO", "MAYFLY_TEST")))]
`))
	t.Setenv("MAYFLY_TEST_SECRET", "of the daemon")
	f.Want(f.Event("{}"), `["fn","7",256,"/mayfly/app/fn",true,"arn:mayfly:local:app:function:fn",null,null,true,"direct",1,true,true,`+
		`["fn","7","256","local","app.handler","app","fn",":UTC"],true,[]]`)
}

// TestTraceVariable: code, and the programs that it starts, read the trace of
// their call, and from the third call on it is where it was before: setenv would
// keep every value.
func TestTraceVariable(t *testing.T) {
	f := run(t, code(t, `
import ctypes, os, subprocess
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_void_p
def handler(event, c):
    name = "_X_AMZN_TRACE_ID"
    seen = [os.environ[name], subprocess.check_output(["printenv", name], text=True).strip(), getenv(name.encode())]
    if event == "delete": del os.environ[name]
    if event == "short": os.environ[name] = "Root=none"
    return seen
`))
	var places []int
	for _, event := range []string{"", "", "", "", "delete", "", "short", "", "", ""} {
		call := &sandbox.Call{Event: []byte(strconv.Quote(event))}
		var seen []any
		reply, err := f.Call(call)
		if err == nil {
			err = json.Unmarshal(reply.Payload, &seen)
		}
		if want := call.Trace.XRay(); err != nil || len(seen) != 3 || seen[0] != want || seen[1] != want {
			t.Fatalf("the variable is %v (%v), want %s", seen, err, want)
		}
		places = append(places, int(seen[2].(float64)))
	}
	if places[2] != places[1] || places[3] != places[1] || places[9] != places[8] {
		t.Errorf("the variable moves: %x", places)
	}
}

func TestFailures(t *testing.T) {
	f := run(t, code(t, `
import os, signal, sys, math
def deep(n):
    return deep(n + 1)
def handler(e, c):
    if e == "value": raise ValueError("bad value")
    if e == "deep": return deep(0)
    if e == "set": return {1}
    if e == "nan": return math.nan
    if e == "large": return "x" * (7 << 20)
    if e == "unprintable":
        class E(Exception):
            def __str__(self): raise RuntimeError
        raise E()
    if e == "self":
        a = []
        a.append(a)
        return a
    return "fine"
`))
	for event, want := range map[string]struct{ kind, message string }{
		"value": {"ValueError", "bad value"}, "deep": {"RecursionError", "recursion"}, "set": {mayfly.ErrorTypeMarshal, "set"},
		"nan": {mayfly.ErrorTypeMarshal, ""}, "large": {"Function.ResponseSizeTooLarge", "6 MiB"}, "self": {mayfly.ErrorTypeMarshal, "itself"},
		"unprintable": {"E", "cannot be shown"},
	} {
		e := f.Fails(`"` + event + `"`)
		if e.Type != want.kind || !strings.Contains(e.Message, want.message) {
			t.Errorf("%s: %+v", event, e)
		}
		f.Want(f.Event(`"x"`), `"fine"`)
	}
	e := f.Fails(`"value"`)
	if len(e.Trace) != 1 || !strings.Contains(e.Trace[0], `app.py", line 6, in handler`) || !strings.Contains(e.Trace[0], "raise ValueError") {
		t.Errorf("the trace is %q", e.Trace)
	}
	f.Out.Await(t, "with the error", func(l mayfly.LogLine) bool {
		return l.Level == "error" && strings.Contains(l.Text, "ValueError: bad value") && strings.Contains(l.Text, "line 6") && l.Invocation != ""
	})
}

func TestEnds(t *testing.T) {
	for what, want := range map[string]string{
		"sys.exit()": "without providing a reason", "sys.exit(4)": "exit status 4", "sys.exit('why')": "exit status 1", "os._exit(5)": "exit status 5",
		"os.kill(os.getpid(), signal.SIGKILL)": "signal: killed", "os.abort()": "signal: aborted", "os.close(3)": "", "os.write(3, b'x' * 100)": "",
	} {
		for _, handler := range []string{"def", "async def"} {
			t.Run(handler+" "+what, func(t *testing.T) {
				f := run(t, code(t, "import os, signal, sys, time\n"+handler+" handler(e, c):\n    "+what+"\n    time.sleep(1000)\n"))
				e := f.Fails("{}")
				if e.Type != mayfly.ErrorTypeExit || !strings.Contains(e.Message, want) {
					t.Errorf("the error is %+v, want %q", e, want)
				}
				<-f.Instance.Done()
			})
		}
	}
}

func TestBrokenCode(t *testing.T) {
	for name, c := range map[string]struct {
		handler, code string
		kind, message string
	}{
		"syntax":         {"app.handler", "x = 1\ndef handler(e, c)\n    pass\n", mayfly.ErrorTypeSyntax, "app.py, line 2"},
		"import":         {"app.handler", "\nimport nothing_of_that_name\n", mayfly.ErrorTypeImport, "app.py, line 2"},
		"module":         {"other.handler", "", mayfly.ErrorTypeImport, "No module named 'other'"},
		"function":       {"app.other", "def handler(e, c): pass\n", mayfly.ErrorTypeHandler, "Handler 'other' missing on module 'app', which has handler"},
		"not a function": {"app.handler", "handler = 5\n", mayfly.ErrorTypeHandler, "int"},
		"form":           {"handler", "", "Runtime.MalformedHandlerName", "module.function"},
		"raises":         {"app.handler", "\n\n1 / 0\n", "ZeroDivisionError", "app.py, line 3"},
		"exits":          {"app.handler", "import sys\nsys.exit(9)\n", mayfly.ErrorTypeExit, "9"},
		"dies":           {"app.handler", "import os\nos._exit(9)\n", mayfly.ErrorTypeExit, "9"},
		"startup":        {"app:app", "async def app(scope, receive, send):\n    await receive()\n    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n", "Runtime.StartupFailed", "no database"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			err := d.Prepare(sandboxtest.Within(t), sandboxtest.Complete(bundle(t, c.handler, map[string]string{"app.py": c.code})))
			var failed *mayfly.FunctionError
			if !errors.As(err, &failed) {
				t.Fatalf("Prepare returned %v, want a FunctionError", err)
			}
			if failed.Type != c.kind || !strings.Contains(failed.Message, c.message) {
				t.Errorf("the error is %+v, want %s with %q", failed, c.kind, c.message)
			}
		})
	}
}

func TestInitThatHangs(t *testing.T) {
	d := newDriver(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := d.Start(ctx, sandboxtest.Complete(code(t, "import time\ntime.sleep(1000)\n")), &sandboxtest.Recorder{})
	if err == nil {
		t.Fatal("Start succeeded")
	}
}

func TestLogs(t *testing.T) {
	f := run(t, code(t, `
import logging, os, subprocess, sys, threading
log = logging.getLogger()
log.setLevel(logging.INFO)
def handler(e, c):
    print("two\nlines")
    sys.stderr.write("to stderr\n")
    sys.stdout.buffer.write(b"bytes\n")
    log.info("an %s", "info")
    logging.getLogger("x.y").warning("a warning")
    log.debug("not shown")
    try: 1 / 0
    except Exception: log.exception("caught")
    os.write(1, b"from C\n")
    subprocess.run(["echo", "from a child"])
    t = threading.Thread(target=print, args=("from a thread",)); t.start(); t.join()
    print("no end", end="")
`))
	f.Event("{}")
	for text, want := range map[string]struct {
		stream mayfly.LogStream
		level  string
	}{
		"two": {mayfly.Stdout, ""}, "lines": {mayfly.Stdout, ""}, "no end": {mayfly.Stdout, ""}, "to stderr": {mayfly.Stderr, ""}, "bytes": {mayfly.Stdout, ""},
		"an info": {mayfly.Stderr, "info"}, "a warning": {mayfly.Stderr, "warn"}, "from a thread": {mayfly.Stdout, ""},
	} {
		l := f.Out.Await(t, text, func(l mayfly.LogLine) bool { return l.Text == text })
		if l.Stream != want.stream || l.Level != want.level || l.Invocation == "" || l.SpanID == "" {
			t.Errorf("%q is %+v", text, l)
		}
	}
	f.Out.Await(t, "with a traceback", func(l mayfly.LogLine) bool {
		return l.Level == "error" && strings.HasPrefix(l.Text, "caught\n") && strings.Contains(l.Text, "ZeroDivisionError")
	})
	// What comes by the pipes of the process may come after the reply.
	f.Out.Await(t, "from C", func(l mayfly.LogLine) bool { return l.Text == "from C" })
	f.Out.Await(t, "from a child", func(l mayfly.LogLine) bool { return l.Text == "from a child" })
	for _, l := range f.Out.Lines() {
		if l.Text == "not shown" {
			t.Error("a debug line is shown")
		}
	}
}

// TestConcurrentLogs: lines of calls that overlap are told apart.
func TestConcurrentLogs(t *testing.T) {
	for name, text := range map[string]string{
		"threads": "import threading\nb = threading.Barrier(4)\ndef handler(e, c):\n    b.wait()\n    print('line', e, end='')\n    b.wait()\n    print('', c.aws_request_id)\n    return c.aws_request_id\n",
		"loop":    "import asyncio\nn = 0\nasync def handler(e, c):\n    global n\n    n += 1\n    while n < 4: await asyncio.sleep(0.001)\n    print('line', e, end='')\n    await asyncio.sleep(0.01)\n    print('', c.aws_request_id)\n    return c.aws_request_id\n",
	} {
		t.Run(name, func(t *testing.T) {
			spec := code(t, text)
			spec.PerInstance = 4
			f := run(t, spec)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { f.Event(`1`) })
			}
			wg.Wait()
			n := 0
			for _, l := range f.Out.Lines() {
				if !strings.HasPrefix(l.Text, "line") {
					continue
				}
				if n++; l.Text != "line 1 "+l.Invocation {
					t.Errorf("%q is a line of %s", l.Text, l.Invocation)
				}
			}
			if n != 4 {
				t.Errorf("there are %d lines, want 4", n)
			}
		})
	}
}

func TestPoliteStop(t *testing.T) {
	for name, text := range map[string]string{
		"atexit":  "import atexit\natexit.register(print, 'goodbye')\ndef handler(e, c): pass\n",
		"loop":    "import atexit\natexit.register(print, 'goodbye')\nasync def handler(e, c): pass\n",
		"threads": "import atexit\natexit.register(print, 'goodbye')\ndef handler(e, c): pass\n",
		"handler": "import signal, sys\ndef bye(*_):\n    print('goodbye')\n    sys.exit()\nsignal.signal(signal.SIGTERM, bye)\ndef handler(e, c): pass\n",
	} {
		t.Run(name, func(t *testing.T) {
			spec := code(t, text)
			if name == "threads" {
				spec.PerInstance = 3
			}
			f := run(t, spec)
			f.Event("{}")
			if err := f.Instance.Stop(sandboxtest.Within(t)); err != nil {
				t.Fatal(err)
			}
			f.Out.Await(t, "goodbye", func(l mayfly.LogLine) bool { return l.Text == "goodbye" })
			if !errors.Is(f.Instance.Err(), sandbox.ErrStopped) {
				t.Errorf("Err is %v", f.Instance.Err())
			}
		})
	}
}

func TestStreamError(t *testing.T) {
	for _, def := range []string{"def", "async def"} {
		f := run(t, code(t, def+" handler(e, c):\n    if e == 'early': raise ValueError('early')\n    yield 'part'\n    raise ValueError('late')\n"))
		if e := f.Fails(`"early"`); e.Message != "early" {
			t.Errorf("the error is %+v", e)
		}
		reply, err := f.Call(&sandbox.Call{Event: []byte("1")})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(reply.Body)
		var failed *mayfly.FunctionError
		if string(data) != "part" || !errors.As(err, &failed) || failed.Message != "late" {
			t.Errorf("%q, %v", data, err)
		}
	}
}

func TestLargeStream(t *testing.T) {
	for _, def := range []string{"def", "async def"} {
		f := run(t, code(t, def+" handler(e, c):\n    for i in range(40): yield bytes([i]) * 300000\n"))
		for range 2 {
			if text := f.Event("1"); len(text) != 40*300000 || text[len(text)-1] != 39 {
				t.Errorf("%d bytes came", len(text))
			}
		}
	}
}

func TestJSONOfErrors(t *testing.T) {
	f := run(t, code(t, "def handler(e, c): raise KeyError('k')\n"))
	data, err := json.Marshal(f.Fails("{}"))
	if err != nil || !strings.Contains(string(data), `"errorType":"KeyError","errorMessage":"'k'","stackTrace":["  File`) {
		t.Errorf("%s, %v", data, err)
	}
}
