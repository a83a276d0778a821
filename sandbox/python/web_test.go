package python_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

const wsgiApp = `
import json

class Closing:
    def __init__(self, items): self.items = iter(items)
    def __iter__(self): return self
    def __next__(self): return next(self.items)
    def close(self): print("closed")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/environ":
        body = environ["wsgi.input"].read()
        seen = {k: v for k, v in environ.items() if isinstance(v, str)}
        seen["body"] = body.decode("latin-1")
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(seen).encode()]
    if path == "/stream":
        start_response("201 Created", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "close")])
        return Closing([b"one", b"", b"two"])
    if path == "/write":
        write = start_response("200 OK", [])
        write(b"by ")
        write(b"write")
        return []
    if path == "/empty":
        start_response("204 No Content", [])
        return []
    if path == "/replaced":
        start_response("200 OK", [("X-A", "1")])
        try:
            raise ValueError("late")
        except ValueError:
            import sys
            start_response("500 Oops", [("X-A", "2")], sys.exc_info())
            return [b"oops"]
    if path == "/raise":
        raise ValueError("in the app")
    if path == "/silent":
        return [b"no start"]
    environ["wsgi.errors"].write("to the log\n")
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [bytes(range(256))]
`

func TestWSGI(t *testing.T) {
	for _, perInstance := range []int{1, 3} {
		spec := bundle(t, "web:app", map[string]string{"web.py": wsgiApp})
		spec.PerInstance = perInstance
		f := run(t, spec)
		meta, body := f.HTTP("GET", "/stream", "")
		f.Want(body, "onetwo")
		if meta.Status != 201 || len(meta.Header["Set-Cookie"]) != 2 || meta.Header.Get("Connection") != "" {
			t.Errorf("the head is %+v", meta)
		}
		f.Out.Await(t, "closed", func(l mayfly.LogLine) bool { return l.Text == "closed" })
		_, body = f.HTTP("GET", "/write", "")
		f.Want(body, "by write")
		meta, body = f.HTTP("GET", "/empty", "")
		f.Want(body, "")
		if meta.Status != 204 {
			t.Errorf("the status is %d", meta.Status)
		}
		meta, body = f.HTTP("GET", "/replaced", "")
		f.Want(body, "oops")
		if meta.Status != 500 || meta.Header.Get("X-A") != "2" {
			t.Errorf("the head is %+v", meta)
		}
		_, body = f.HTTP("GET", "/bytes", "")
		if len(body) != 256 || body[255] != 255 {
			t.Errorf("the bytes are %q", body)
		}
		f.Out.Await(t, "to the log", func(l mayfly.LogLine) bool { return l.Text == "to the log" && l.Stream == mayfly.Stderr })
		for path, want := range map[string]string{"/raise": "in the app", "/silent": "start_response"} {
			_, err := f.Call(&sandbox.Call{HTTP: true, Event: sandboxtest.Request("GET", path, "")})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", path, err)
			}
		}
		if e := f.Fails(`{"not":"http"}`); e.Type != "Runtime.NotHTTP" {
			t.Errorf("the error is %+v", e)
		}
	}
}

func TestWSGIEnviron(t *testing.T) {
	f := run(t, bundle(t, "web:app", map[string]string{"web.py": wsgiApp}))
	var event mayfly.HTTPRequest
	if err := json.Unmarshal(sandboxtest.Request("POST", "/environ?a=1&b=%20", ""), &event); err != nil {
		t.Fatal(err)
	}
	event.RawPath = "/environ"
	event.Body, event.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte("\x00\xffbody")), true
	event.Cookies = []string{"a=1", "b=2"}
	event.Headers["x-forwarded-proto"] = "https"
	data, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := f.Call(&sandbox.Call{HTTP: true, Event: data})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := sandboxtest.Read(reply, true)
	var seen map[string]string
	if err := json.Unmarshal([]byte(text), &seen); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for k, want := range map[string]string{
		"REQUEST_METHOD": "POST", "PATH_INFO": "/environ", "QUERY_STRING": "a=1&b=%20", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "6",
		"SERVER_NAME": "probe.localhost", "SERVER_PORT": "443", "wsgi.url_scheme": "https", "HTTP_COOKIE": "a=1; b=2", "REMOTE_ADDR": "127.0.0.1",
		"HTTP_HOST": "probe.localhost", "SERVER_PROTOCOL": "HTTP/1.1", "SCRIPT_NAME": "", "body": "\x00ÿbody",
	} {
		if seen[k] != want {
			t.Errorf("%s is %q, want %q", k, seen[k], want)
		}
	}
}

const asgiApp = `
import asyncio, json

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            m = await receive()
            if m["type"] == "lifespan.startup":
                scope["state"]["db"] = "connected"
                await send({"type": "lifespan.startup.complete"})
            else:
                print("shut down")
                await send({"type": "lifespan.shutdown.complete"})
                return
    path = scope["path"]
    if path == "/scope":
        m = await receive()
        seen = {k: scope[k] for k in ("type", "method", "path", "scheme", "http_version", "root_path", "client", "server", "state")}
        seen["query"] = scope["query_string"].decode()
        seen["raw"] = scope["raw_path"].decode()
        seen["headers"] = {k.decode(): v.decode() for k, v in scope["headers"]}
        seen["body"] = m["body"].decode()
        seen["more"] = m["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
    elif path == "/stream":
        await send({"type": "http.response.start", "status": 201, "headers": [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]})
        for part in (b"one", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0.001)
        await send({"type": "http.response.body", "body": b"three"})
    elif path == "/waits":
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        print((await receive())["type"])
    elif path == "/ignores":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True: await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        except OSError as e:
            print("refused")
    elif path == "/nothing":
        return
    elif path == "/head":
        await send({"type": "http.response.start", "status": 204, "headers": []})
    elif path == "/late":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise ValueError("late")
    else:
        raise ValueError("in the app")
`

func TestASGI(t *testing.T) {
	spec := bundle(t, "pkg.web:app", map[string]string{"pkg/web.py": asgiApp})
	spec.PerInstance = 4
	f := run(t, spec)
	_, body := f.HTTP("POST", "/scope?a=1", `{"x":1}`)
	var seen struct {
		Type, Method, Path, Scheme, Query, Raw, Body string
		HTTP                                         string `json:"http_version"`
		State                                        map[string]string
		Headers                                      map[string]string
		More                                         bool
	}
	if err := json.Unmarshal([]byte(body), &seen); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	if seen.Method != "POST" || seen.Path != "/scope" || seen.Query != "a=1" || seen.Body != `{"x":1}` || seen.More || seen.HTTP != "1.1" ||
		seen.State["db"] != "connected" || seen.Headers["host"] != "probe.localhost" || seen.Scheme != "http" {
		t.Errorf("the application saw %s", body)
	}
	meta, body := f.HTTP("GET", "/stream", "")
	f.Want(body, "onetwothree")
	if meta.Status != 201 || len(meta.Header["Set-Cookie"]) != 2 {
		t.Errorf("the head is %+v", meta)
	}
	meta, _ = f.HTTP("GET", "/head", "")
	if meta.Status != 204 {
		t.Errorf("the status is %d", meta.Status)
	}
	for path, want := range map[string]string{"/else": "in the app", "/nothing": "without a response"} {
		_, err := f.Call(&sandbox.Call{HTTP: true, Event: sandboxtest.Request("GET", path, "")})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	reply, err := f.Call(&sandbox.Call{HTTP: true, Event: sandboxtest.Request("GET", "/late", "")})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(reply.Body); string(data) != "part" || err == nil || !strings.Contains(err.Error(), "late") {
		t.Errorf("%q, %v", data, err)
	}
	for path, line := range map[string]string{"/waits": "http.disconnect", "/ignores": "refused"} {
		reply, err := f.Call(&sandbox.Call{HTTP: true, Event: sandboxtest.Request("GET", path, "")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, reply.Body, 1); err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		f.Out.Await(t, line, func(l mayfly.LogLine) bool { return l.Text == line })
	}
	if err := f.Instance.Stop(sandboxtest.Within(t)); err != nil {
		t.Fatal(err)
	}
	f.Out.Await(t, "of the lifespan's end", func(l mayfly.LogLine) bool { return l.Text == "shut down" })
}

// TestASGIWithoutLifespan: an application may know nothing of it.
func TestASGIWithoutLifespan(t *testing.T) {
	f := run(t, bundle(t, "web:app", map[string]string{"web.py": `
class App:
    async def __call__(self, scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})
app = App()
`}))
	_, body := f.HTTP("GET", "/", "")
	f.Want(body, "fine")
}
