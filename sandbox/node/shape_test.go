package node_test

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

// code is a version whose app.js is text.
func code(t *testing.T, text string) *sandbox.Spec {
	return bundle(t, "app.handler", map[string]string{"app.js": text})
}

func TestHandlers(t *testing.T) {
	for name, c := range map[string]struct {
		handler string
		files   map[string]string
		event   string
		want    string
	}{
		"async":             {"app.handler", map[string]string{"app.js": "exports.handler = async (e) => [e]"}, "1", "[1]"},
		"callback":          {"app.handler", map[string]string{"app.js": "exports.handler = (e, c, cb) => { setTimeout(() => cb(null, [e]), 1) }"}, "1", "[1]"},
		"callback, waits":   {"app.handler", map[string]string{"app.js": "let n = 0; exports.handler = (e, c, cb) => { const o = {}; cb(null, o); setTimeout(() => { o.late = ++n > 0 }, 5) }"}, "1", `{"late":true}`},
		"callback, at once": {"app.handler", map[string]string{"app.js": "exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; const o = {}; cb(null, o); setTimeout(() => { o.late = true }, 5) }"}, "1", `{}`},
		"no callback":       {"app.handler", map[string]string{"app.js": "exports.handler = (e, c, cb) => { setTimeout(() => {}, 1) }"}, "1", `null`},
		"succeed":           {"app.handler", map[string]string{"app.js": "exports.handler = (e, c) => { setTimeout(() => c.succeed('s'), 1) }"}, "1", `"s"`},
		"done":              {"app.handler", map[string]string{"app.js": "exports.handler = (e, c) => { c.done(null, 'd') }"}, "1", `"d"`},
		"replaced succeed":  {"app.handler", map[string]string{"app.js": "'use strict'; exports.handler = (e, c) => { const { succeed } = c; c.succeed = (v) => succeed([v]); c.succeed(e) }"}, "1", "[1]"},
		"derived context":   {"app.handler", map[string]string{"app.js": "exports.handler = (e, c) => { new Proxy(Object.create(c), {}).done(null, [e]) }"}, "1", "[1]"},
		"sync":              {"app.handler", map[string]string{"app.js": "exports.handler = (e) => ({e})"}, "1", `{"e":1}`},
		"timer":             {"app.handler", map[string]string{"app.js": "exports.handler = (e, c) => setTimeout(() => c.succeed([e]), 5)"}, "1", "[1]"},
		"server":            {"app.handler", map[string]string{"app.js": "exports.handler = (e, c) => require('http').createServer().listen('/tmp/s').close(() => c.done(null, [e]))"}, "1", "[1]"},
		"proxy":             {"app.handler", map[string]string{"app.js": "exports.handler = (e, c) => ({ promise: new Promise((ok) => setTimeout(() => ok(c.succeed([e])), 5)) })"}, "1", "[1]"},
		"this":              {"app.handler", map[string]string{"app.js": "exports.handler = function () { return [this === undefined || this === globalThis] }"}, "1", "[true]"},
		"undefined":         {"app.handler", map[string]string{"app.js": "exports.handler = async () => {}"}, "1", `null`},
		"nested":            {"src/app.api.get", map[string]string{"src/app.js": "exports.api = { get: async () => require('./dep') }", "src/dep.js": "module.exports = 'dep'"}, "1", `"dep"`},
		"cjs":               {"app.handler", map[string]string{"app.cjs": "exports.handler = async () => __filename.endsWith('app.cjs')"}, "1", `true`},
		"mjs":               {"app.handler", map[string]string{"app.mjs": "import { x } from './dep.mjs'; export const handler = async () => x", "dep.mjs": "export const x = await Promise.resolve(3)"}, "1", `3`},
		"type module":       {"src/app.handler", map[string]string{"package.json": `{"type":"module"}`, "src/app.js": "import fs from 'fs'; export async function handler() { return typeof fs.readFile }"}, "1", `"function"`},
		"default function":  {"app", map[string]string{"app.mjs": "export default async (e) => [e]"}, "1", `[1]`},
		"default exports":   {"app.handler", map[string]string{"app.mjs": "export default { handler: async (e) => [e, 'd'] }"}, "1", `[1,"d"]`},
		"index":             {"src.handler", map[string]string{"src/index.js": "exports.handler = async () => 'i'"}, "1", `"i"`},
		"node_modules":      {"app.handler", map[string]string{"app.js": "exports.handler = async () => require('dep')", "node_modules/dep/index.js": "module.exports = 'vendored'"}, "1", `"vendored"`},
		"task root":         {"app.handler", map[string]string{"app.js": "exports.handler = async () => require('fs').readFileSync('data.txt', 'utf8') + (process.env.LAMBDA_TASK_ROOT === process.cwd() && require('fs').existsSync(process.env.LAMBDA_RUNTIME_DIR))", "data.txt": "d"}, "1", `"dtrue"`},
		"unicode":           {"app.handler", map[string]string{"app.js": "exports.handler = async (e) => e"}, `"ä🦋\u0000"`, `"ä🦋\u0000"`},
		"thenable":          {"app.handler", map[string]string{"app.js": "exports.handler = () => ({ then(f) { f(5) } })"}, `1`, `5`},
		"stream":            {"app.handler", map[string]string{"app.mjs": "export const handler = awslambda.streamifyResponse(async (e, out) => { out.setContentType('text/x'); out.write('a'); out.end('b') })"}, `1`, `ab`},
		"empty stream":      {"app.handler", map[string]string{"app.mjs": "export const handler = awslambda.streamifyResponse(async (e, out) => { out.end() })"}, `1`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			f := run(t, bundle(t, c.handler, c.files))
			f.Want(f.Event(c.event), c.want)
			f.Want(f.Event(c.event), c.want)
		})
	}
}

// TestUnmarkedModule: a file written as an ES module that no package.json
// declares as one.
func TestUnmarkedModule(t *testing.T) {
	spec := bundle(t, "app", map[string]string{"app.js": "export default { fetch: () => new Response('fine') }"})
	d := newDriver(t)
	inst, err := d.Start(sandboxtest.Within(t), sandboxtest.Complete(spec), &sandboxtest.Recorder{})
	var failed *mayfly.FunctionError
	if errors.As(err, &failed) && failed.Type == mayfly.ErrorTypeSyntax {
		t.Skipf("this machine's Node does not detect modules: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	sandboxtest.End(inst)
}

func TestContextObject(t *testing.T) {
	f := run(t, code(t, `
exports.handler = async (event, c) => [c.functionName, c.functionVersion, c.memoryLimitInMB, c.logGroupName, c.logStreamName === process.env.MAYFLY_INSTANCE,
	c.invokedFunctionArn, c.getRemainingTimeInMillis() > 0, c.callbackWaitsForEmptyEventLoop, c.trigger, c.attempt, process.env._X_AMZN_TRACE_ID.startsWith('Root=1-'),
	['AWS_LAMBDA_FUNCTION_NAME', 'AWS_LAMBDA_FUNCTION_MEMORY_SIZE', 'AWS_REGION', '_HANDLER', 'MAYFLY_APP', 'TZ'].map((k) => process.env[k]),
	/^AWS_Lambda_nodejs\d+\.x$/.test(process.env.AWS_EXECUTION_ENV), Object.keys(process.env).filter((k) => /^(GO|MAYFLY_TEST)/.test(k)),
	new Date(0).getHours()]
`))
	t.Setenv("MAYFLY_TEST_SECRET", "of the daemon")
	f.Want(f.Event("{}"), `["fn","7","256","/mayfly/app/fn",true,"arn:mayfly:local:app:function:fn",true,true,"direct",1,true,`+
		`["fn","256","local","app.handler","app",":UTC"],true,[],0]`)
}

// TestTraceVariable: code, and the programs that it starts, read the trace of
// their call, which is no variable of the C library: setenv would keep every
// value. A process.env of code's own has it too.
func TestTraceVariable(t *testing.T) {
	f := run(t, code(t, `
exports.handler = async (event) => {
	const seen = [process.env._X_AMZN_TRACE_ID, require('child_process').execSync('printenv _X_AMZN_TRACE_ID').toString().trim(), Object.hasOwn(process.env, '_X_AMZN_TRACE_ID')];
	if (event === 'set') process.env._X_AMZN_TRACE_ID = 'Root=none';
	if (event === 'replace') process.env = { PATH: process.env.PATH };
	return seen;
}`))
	for _, event := range []string{"", "", "set", "", "replace", "", ""} {
		call := &sandbox.Call{Event: []byte(strconv.Quote(event))}
		var seen []any
		reply, err := f.Call(call)
		if err == nil {
			err = json.Unmarshal(reply.Payload, &seen)
		}
		if want := call.Trace.XRay(); err != nil || len(seen) != 3 || seen[0] != want || seen[1] != want {
			t.Fatalf("the variable is %v (%v), want %s", seen, err, want)
		}
	}
}

// TestContextPassesOn: the old ways to answer may be passed as functions.
func TestContextPassesOn(t *testing.T) {
	f := run(t, code(t, `
exports.handler = (event, context) => {
	const { succeed, fail, done } = context;
	setTimeout(() => {}, 60000);
	if (event === 'fail') return void Promise.reject(new RangeError('passed')).catch(fail);
	if (event === 'done') return void setTimeout(done, 1, null, 'done');
	Promise.resolve(Object.keys(context).length).then(succeed);
}`))
	f.Want(f.Event(`"done"`), `"done"`)
	f.Want(f.Event(`"succeed"`), "15")
	if e := f.Fails(`"fail"`); e.Type != "RangeError" {
		t.Errorf("the error is %+v", e)
	}
}

func TestFailures(t *testing.T) {
	f := run(t, code(t, `
function deep(n) { return deep(n + 1) + 1 }
exports.handler = async (e, c) => {
	if (e === 'type') null.x;
	if (e === 'deep') return deep(0);
	if (e === 'text') throw 'a text';
	if (e === 'object') throw { code: 5 };
	if (e === 'nothing') throw undefined;
	if (e === 'bigint') return 5n;
	if (e === 'large') return 'x'.repeat(7 << 20);
	if (e === 'named') { const x = new Error('named'); x.name = 'MyError'; throw x }
	if (e === 'bad stack') { const x = new Error('m'); Object.defineProperty(x, 'stack', { get() { throw 1 } }); throw x }
	return 'fine';
}`))
	for event, want := range map[string]struct{ kind, message string }{
		"type": {"TypeError", "null"}, "deep": {"RangeError", "call stack"}, "text": {"string", "a text"}, "object": {"object", "5"}, "nothing": {"undefined", ""},
		"bigint": {mayfly.ErrorTypeMarshal, "BigInt"}, "large": {"Function.ResponseSizeTooLarge", "6 MiB"}, "named": {"MyError", "named"}, "bad stack": {"Error", "m"},
	} {
		e := f.Fails(`"` + event + `"`)
		if e.Type != want.kind || !strings.Contains(e.Message, want.message) {
			t.Errorf("%s: %+v", event, e)
		}
		f.Want(f.Event(`"x"`), `"fine"`)
	}
	e := f.Fails(`"type"`)
	if len(e.Trace) != 2 || !strings.Contains(e.Trace[1], "app.js:4:") {
		t.Errorf("the trace is %q", e.Trace)
	}
	f.Out.Await(t, "with the error", func(l mayfly.LogLine) bool {
		return l.Level == "error" && strings.Contains(l.Text, "TypeError: Cannot read") && strings.Contains(l.Text, "app.js:4") && l.Invocation != ""
	})
}

func TestCallbackFailures(t *testing.T) {
	f := run(t, code(t, `
exports.handler = (e, c, cb) => {
	if (e === 'error') cb(new Error('by callback'));
	if (e === 'text') cb('a text');
	if (e === 'fail') c.fail(new Error('by fail'));
	if (e === 'throw') throw new Error('thrown');
	if (e === 'twice') { cb(null, 1); cb(null, 2) }
}`))
	for event, want := range map[string]string{"error": "by callback", "text": "a text", "fail": "by fail", "throw": "thrown"} {
		if e := f.Fails(`"` + event + `"`); e.Message != want {
			t.Errorf("%s: %+v", event, e)
		}
	}
	f.Event(`"twice"`)
	f.Want(f.Event(`"none"`), "null")
}

func TestEnds(t *testing.T) {
	for what, want := range map[string][2]string{
		"process.exit(0)":                                    {mayfly.ErrorTypeExit, "without providing a reason"},
		"process.exit(4)":                                    {mayfly.ErrorTypeExit, "exit status 4"},
		"process.kill(process.pid, 'SIGKILL')":               {mayfly.ErrorTypeExit, "signal: killed"},
		"process.abort()":                                    {mayfly.ErrorTypeExit, "signal: aborted"},
		"require('fs').writeSync(3, 'x'.repeat(100))":        {mayfly.ErrorTypeExit, ""},
		"Promise.reject(new Error('nobody'))":                {"Runtime.UnhandledPromiseRejection", "nobody"},
		"setTimeout(() => { throw new RangeError('late') })": {"RangeError", "late"},
	} {
		t.Run(what, func(t *testing.T) {
			f := run(t, code(t, "exports.handler = (e, c) => { "+what+"; return new Promise((r) => setTimeout(r, 100000)) }"))
			e := f.Fails("{}")
			if e.Type != want[0] || !strings.Contains(e.Message, want[1]) {
				t.Errorf("the error is %+v, want %q", e, want)
			}
			<-f.Instance.Done()
		})
	}
}

func TestBrokenCode(t *testing.T) {
	for name, c := range map[string]struct {
		handler, file, code string
		kind, message       string
	}{
		"syntax":         {"app.handler", "app.js", "const x = 1\nexports.handler = async (e => e\n", mayfly.ErrorTypeSyntax, "app.js:2"},
		"syntax, mjs":    {"app.handler", "app.mjs", "export const x = 1\nexport const handler = async (e => e\n", mayfly.ErrorTypeSyntax, "app.mjs:"},
		"import":         {"app.handler", "app.js", "\nrequire('nothing-of-that-name')", mayfly.ErrorTypeImport, "nothing-of-that-name"},
		"import, mjs":    {"app.handler", "app.mjs", "import 'nothing-of-that-name'", mayfly.ErrorTypeImport, "nothing-of-that-name"},
		"file":           {"other.handler", "app.js", "", mayfly.ErrorTypeImport, "other.js"},
		"export":         {"app.other", "app.js", "exports.handler = async () => 1", mayfly.ErrorTypeHandler, "app.other is undefined"},
		"no default":     {"app", "app.mjs", "export const x = 1", mayfly.ErrorTypeHandler, "default export"},
		"not a function": {"app.handler", "app.js", "exports.handler = 5; exports.handlr = () => 1", mayfly.ErrorTypeHandler, "not exported; exported is handlr"},
		"throws":         {"app.handler", "app.js", "\n\nnull.x", "TypeError", "null"},
		"exits":          {"app.handler", "app.js", "process.exit(9)", mayfly.ErrorTypeExit, "9"},
		"rejects":        {"app.handler", "app.mjs", "await Promise.reject(new Error('at start'))", "Error", "at start"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			err := d.Prepare(sandboxtest.Within(t), sandboxtest.Complete(bundle(t, c.handler, map[string]string{c.file: c.code})))
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

func TestTypeScript(t *testing.T) {
	d := newDriver(t)
	spec := bundle(t, "app.handler", map[string]string{"app.ts": "export const handler = async (e: number): Promise<number> => e"})
	inst, err := d.Start(sandboxtest.Within(t), sandboxtest.Complete(spec), &sandboxtest.Recorder{})
	var failed *mayfly.FunctionError
	if errors.As(err, &failed) {
		if !strings.Contains(failed.Message, "cannot run TypeScript") || !strings.Contains(failed.Message, "22.18") {
			t.Errorf("the error is %+v", failed)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	sandboxtest.End(inst)
}

func TestLogs(t *testing.T) {
	f := run(t, code(t, `
exports.handler = async () => {
	console.log('a %s', 'log', { a: 1 });
	console.info('two\nlines');
	console.debug('a debug');
	console.warn('a warning');
	console.error(new Error('an error'));
	process.stdout.write('written\nparts, ');
	process.stdout.write('joined\n');
	process.stderr.write(Buffer.from('to stderr\n'));
	console.group(); console.log('in a group'); console.groupEnd();
	require('fs').writeSync(1, 'from C\n');
	require('child_process').execSync('echo from a child >&2', { stdio: 'inherit' });
	process.stdout.write('no end');
	setTimeout(() => console.log('late'), 20);
}`))
	f.Event("{}")
	for text, want := range map[string]struct {
		stream mayfly.LogStream
		level  string
	}{
		"a log { a: 1 }": {mayfly.Stdout, "info"}, "two\nlines": {mayfly.Stdout, "info"}, "a debug": {mayfly.Stdout, "debug"}, "a warning": {mayfly.Stderr, "warn"},
		"written": {mayfly.Stdout, ""}, "parts, joined": {mayfly.Stdout, ""}, "to stderr": {mayfly.Stderr, ""}, "  in a group": {mayfly.Stdout, "info"},
		"no end": {mayfly.Stdout, ""}, "late": {mayfly.Stdout, "info"},
	} {
		l := f.Out.Await(t, text, func(l mayfly.LogLine) bool { return l.Text == text })
		if l.Stream != want.stream || l.Level != want.level || l.Invocation == "" || l.SpanID == "" {
			t.Errorf("%q is %+v", text, l)
		}
	}
	f.Out.Await(t, "with a stack", func(l mayfly.LogLine) bool {
		return l.Level == "error" && strings.HasPrefix(l.Text, "Error: an error\n") && strings.Contains(l.Text, "app.js:7")
	})
	f.Out.Await(t, "from C", func(l mayfly.LogLine) bool { return l.Text == "from C" })
	f.Out.Await(t, "from a child", func(l mayfly.LogLine) bool { return l.Text == "from a child" && l.Stream == mayfly.Stderr })
}

// TestConcurrentLogs: lines of calls that overlap are told apart.
func TestConcurrentLogs(t *testing.T) {
	spec := code(t, `
let n = 0;
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
exports.handler = async (e, c) => {
	n++;
	while (n < 4) await sleep(1);
	console.log('line', c.awsRequestId);
	await sleep(5);
	console.log('line', c.awsRequestId);
}`)
	spec.PerInstance = 4
	f := run(t, spec)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { f.Event(`1`) })
	}
	wg.Wait()
	n := 0
	for _, l := range f.Out.Lines() {
		if n++; l.Text != "line "+l.Invocation {
			t.Errorf("%q is a line of %s", l.Text, l.Invocation)
		}
	}
	if n != 8 {
		t.Errorf("there are %d lines, want 8", n)
	}
}

func TestPoliteStop(t *testing.T) {
	for name, text := range map[string]string{
		"exit":    "process.on('exit', () => console.log('goodbye'))",
		"handler": "process.on('SIGTERM', () => setTimeout(() => { console.log('goodbye'); process.exit() }, 100))",
	} {
		t.Run(name, func(t *testing.T) {
			f := run(t, code(t, text+"\nexports.handler = async () => {}"))
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
	f := run(t, code(t, `
exports.handler = awslambda.streamifyResponse(async (e, out) => {
	if (e === 'early') throw new Error('early');
	out.write('part');
	throw new Error('late');
})`))
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

func TestFetch(t *testing.T) {
	spec := bundle(t, "app", map[string]string{"app.mjs": `
export default {
	async fetch(request, env, ctx) {
		const url = new URL(request.url);
		if (url.pathname === '/echo') return Response.json({ method: request.method, query: url.search, host: url.host, body: await request.text(), probe: env.PROBE, ua: request.headers.get('content-type') });
		if (url.pathname === '/stream') {
			const encoder = new TextEncoder();
			const body = new ReadableStream({ async start(c) {
				for (const s of ['one', 'two', 'three']) { c.enqueue(encoder.encode(s)); await new Promise((r) => setTimeout(r, 2)) }
				c.close();
			} });
			return new Response(body, { status: 201, headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['x-test', 'yes']] });
		}
		if (url.pathname === '/endless') {
			request.signal.addEventListener('abort', () => console.log('aborted'));
			return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1000)) }, cancel() { console.log('cancelled') } }));
		}
		if (url.pathname === '/late') return new Response(new ReadableStream({ async start(c) { c.enqueue(new Uint8Array(4)); await new Promise((r) => setTimeout(r, 5)); c.error(new Error('late')) } }));
		if (url.pathname === '/later') { ctx.waitUntil(new Promise((r) => setTimeout(() => { console.log('done later'); r() }, 5))); return new Response('now') }
		if (url.pathname === '/empty') return new Response(null, { status: 204 });
		if (url.pathname === '/wrong') return 'no response';
		throw new Error('in the app');
	}
}`})
	spec.Env["PROBE"] = "seen"
	f := run(t, spec)
	_, body := f.HTTP("POST", "/echo?a=1", `{"x":1}`)
	f.Want(body, `{"method":"POST","query":"?a=1","host":"probe.localhost","body":"{\"x\":1}","probe":"seen","ua":"application/json"}`)
	meta, body := f.HTTP("GET", "/stream", "")
	f.Want(body, "onetwothree")
	if meta.Status != 201 || len(meta.Cookies) != 2 || meta.Header.Get("X-Test") != "yes" {
		t.Errorf("the head is %+v", meta)
	}
	meta, body = f.HTTP("GET", "/empty", "")
	f.Want(body, "")
	if meta.Status != 204 {
		t.Errorf("the status is %d", meta.Status)
	}
	_, body = f.HTTP("GET", "/later", "")
	f.Want(body, "now")
	f.Out.Await(t, "done later", func(l mayfly.LogLine) bool { return l.Text == "done later" && l.Invocation != "" })
	for path, want := range map[string]string{"/else": "in the app", "/wrong": "no Response"} {
		_, err := f.Call(&sandbox.Call{HTTP: true, Event: sandboxtest.Request("GET", path, "")})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if e := f.Fails(`{"not":"http"}`); e.Type != "Runtime.NotHTTP" {
		t.Errorf("the error is %+v", e)
	}
	reply, err := f.Call(&sandbox.Call{HTTP: true, Event: sandboxtest.Request("GET", "/late", "")})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(reply.Body); len(data) != 4 || err == nil || !strings.Contains(err.Error(), "late") {
		t.Errorf("%q, %v", data, err)
	}
	if reply, err = f.Call(&sandbox.Call{HTTP: true, Event: sandboxtest.Request("GET", "/endless", "")}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, reply.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	f.Out.Await(t, "cancelled", func(l mayfly.LogLine) bool { return l.Text == "cancelled" })
	f.Out.Await(t, "aborted", func(l mayfly.LogLine) bool { return l.Text == "aborted" })
}

func TestInitThatHangs(t *testing.T) {
	d := newDriver(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := d.Start(ctx, sandboxtest.Complete(code(t, "for (;;);")), &sandboxtest.Recorder{})
	if err == nil {
		t.Fatal("Start succeeded")
	}
}
