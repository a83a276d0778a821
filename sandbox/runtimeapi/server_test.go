package runtimeapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// rig is a Server on a loopback port, with a client.
type rig struct {
	*Server
	t    testing.TB
	addr string
	http *http.Client
}

func newRig(t testing.TB, config Config) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(config)
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		s.Fail(sandbox.ErrStopped)
		<-served
		client.CloseIdleConnections()
	})
	return &rig{Server: s, t: t, addr: l.Addr().String(), http: client}
}

func (r *rig) url(path string) string { return "http://" + r.addr + "/2018-06-01/runtime/" + path }

// next polls as a runtime does.
func (r *rig) next() (id string, event []byte, h http.Header) {
	r.t.Helper()
	resp, err := r.http.Get(r.url("invocation/next"))
	if err != nil {
		r.t.Error(err)
		return
	}
	defer resp.Body.Close()
	event, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Errorf("next: %s, %v", resp.Status, err)
	}
	return resp.Header.Get("Lambda-Runtime-Aws-Request-Id"), event, resp.Header
}

func (r *rig) post(path string, body io.Reader, header ...string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.url(path), body)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return r.do(req)
}

func (r *rig) do(req *http.Request) (int, string) {
	r.t.Helper()
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

type result struct {
	reply *sandbox.Reply
	err   error
}

func (r *rig) call(c *sandbox.Call) <-chan result {
	if c.Deadline.IsZero() {
		c.Deadline = time.Now().Add(patience)
	}
	out := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		reply, err := r.Call(ctx, c)
		out <- result{reply, err}
	}()
	return out
}

func functionError(t *testing.T, err error, kind string) *mayfly.FunctionError {
	t.Helper()
	var fe *mayfly.FunctionError
	if !errors.As(err, &fe) || fe.Type != kind {
		t.Fatalf("error %v, want a FunctionError of type %s", err, kind)
	}
	return fe
}

func TestCallAndReply(t *testing.T) {
	r := newRig(t, Config{})
	trace := mayfly.NewTrace()
	deadline := time.Now().Add(patience)
	got := r.call(&sandbox.Call{ID: "one", Event: []byte(`{"a":1}`), ARN: "arn:x", Trace: trace, Deadline: deadline})
	id, event, h := r.next()
	if id != "one" || string(event) != `{"a":1}` {
		t.Fatalf("next gave %q %s", id, event)
	}
	for name, want := range map[string]string{
		"Lambda-Runtime-Deadline-Ms":          fmt.Sprint(deadline.UnixMilli()),
		"Lambda-Runtime-Invoked-Function-Arn": "arn:x",
		"Lambda-Runtime-Trace-Id":             trace.XRay(),
		"Content-Type":                        "application/json",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
	if c := r.Current(); c == nil || c.ID != "one" {
		t.Errorf("current call %v", c)
	}
	if code, body := r.post("invocation/one/response", strings.NewReader(`{"b":2}`)); code != 202 || body != "{\"status\":\"OK\"}\n" {
		t.Fatalf("response: %d %s", code, body)
	}
	if res := <-got; res.err != nil || string(res.reply.Payload) != `{"b":2}` {
		t.Fatalf("reply %+v", res)
	}
	<-r.Ready()
	if !r.Polled() || r.InitError() != nil {
		t.Error("not ready after a poll")
	}
}

func TestReplies(t *testing.T) {
	trailer := http.Header{
		"Lambda-Runtime-Function-Error-Type": {"Late"},
		"Lambda-Runtime-Function-Error-Body": {base64.StdEncoding.EncodeToString([]byte(`{"errorType":"Late","errorMessage":"half way"}`))},
	}
	for _, tt := range []struct {
		name    string
		chunked bool
		body    string
		trailer http.Header
		want    string
		kind    string
	}{
		{name: "json", body: `[1]`, want: `[1]`},
		{name: "chunked", chunked: true, body: `[1]`, want: `[1]`},
		{name: "text", body: "hi <there>", want: `"hi \u003cthere\u003e"`},
		{name: "empty", body: "", want: `""`},
		{name: "trailer", chunked: true, body: `[1]`, trailer: trailer, kind: "Late"},
		{name: "too large", body: `"` + strings.Repeat("x", 2000) + `"`, kind: errorTypeTooLarge},
		{name: "too large in chunks", chunked: true, body: `"` + strings.Repeat("x", 2000) + `"`, kind: errorTypeTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Config{MaxReply: 1000})
			got := r.call(&sandbox.Call{ID: "one", Event: []byte(`1`)})
			r.next()
			var body io.Reader = strings.NewReader(tt.body)
			if tt.chunked {
				body = io.MultiReader(body)
			}
			req, _ := http.NewRequest(http.MethodPost, r.url("invocation/one/response"), body)
			req.Trailer = tt.trailer
			code, text := r.do(req)
			res := <-got
			if tt.kind == errorTypeTooLarge && (code != 413 || !strings.Contains(text, "RequestEntityTooLarge")) {
				t.Errorf("answer %d %s", code, text)
			}
			if tt.kind != "" {
				functionError(t, res.err, tt.kind)
				return
			}
			if res.err != nil || string(res.reply.Payload) != tt.want {
				t.Fatalf("%+v, want %s", res, tt.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	r := newRig(t, Config{})
	for _, tt := range []struct{ body, header, kind, message, trace string }{
		{`{"errorType":"E","errorMessage":"m","stackTrace":["a","b"]}`, "", "E", "m", "a|b"},
		{`{"errorType":"E","errorMessage":"m","stackTrace":[{"path":"x.go","line":7,"label":"f"}]}`, "", "E", "m", "x.go:7 f"},
		{`plain`, "Kind", "Kind", "plain", ""},
		{``, "", errorTypeUnhandled, "", ""},
	} {
		got := r.call(&sandbox.Call{ID: "e", Event: []byte(`1`)})
		r.next()
		code, _ := r.post("invocation/e/error", strings.NewReader(tt.body), "Lambda-Runtime-Function-Error-Type", tt.header)
		fe := functionError(t, (<-got).err, tt.kind)
		if code != 202 || fe.Message != tt.message || strings.Join(fe.Trace, "|") != tt.trace {
			t.Errorf("%s: %d %+v", tt.body, code, fe)
		}
	}
}

func TestForgedAndSecondReplies(t *testing.T) {
	r := newRig(t, Config{PerInstance: 2})
	got := r.call(&sandbox.Call{ID: "mine", Event: []byte(`1`)})
	r.next()
	waiting := r.call(&sandbox.Call{ID: "waiting", Event: []byte(`1`)})
	refused := func(path string, want int, kind string) {
		t.Helper()
		if code, body := r.post(path, strings.NewReader(`"forged"`)); code != want || !strings.Contains(body, kind) {
			t.Errorf("%s: %d %s, want %d %s", path, code, body, want, kind)
		}
	}
	refused("invocation/other/response", 400, "InvalidRequestID")
	refused("invocation/other/error", 400, "InvalidRequestID")
	refused("invocation//response", 400, "InvalidRequestID")
	refused("invocation/waiting/response", 400, "InvalidRequestID")
	refused("invocation/mine/respond", 404, "NotFound")
	refused("invocation/next", 405, "MethodNotAllowed")
	refused("init/error", 403, "InvalidStateTransition")
	if code, _ := r.post("invocation/mine/response", strings.NewReader(`"real"`)); code != 202 {
		t.Fatal(code)
	}
	refused("invocation/mine/response", 403, "InvalidStateTransition")
	if res := <-got; res.err != nil || string(res.reply.Payload) != `"real"` {
		t.Fatalf("%+v", res)
	}
	r.next()
	r.post("invocation/waiting/response", strings.NewReader(`2`))
	if res := <-waiting; res.err != nil || string(res.reply.Payload) != `2` {
		t.Fatalf("%+v", res)
	}
}

func TestInitError(t *testing.T) {
	r := newRig(t, Config{})
	code, _ := r.post("init/error", strings.NewReader(`{"errorType":"Runtime.Import","errorMessage":"no module"}`))
	<-r.Ready()
	if fe := functionError(t, r.InitError(), "Runtime.Import"); code != 202 || fe.Message != "no module" || r.Polled() {
		t.Errorf("%d %+v", code, fe)
	}
}

func TestFailEndsCalls(t *testing.T) {
	r := newRig(t, Config{PerInstance: 2})
	flying := r.call(&sandbox.Call{ID: "a", Event: []byte(`1`)})
	r.next()
	waiting := r.call(&sandbox.Call{ID: "b", Event: []byte(`1`)})
	gone := &mayfly.FunctionError{Type: mayfly.ErrorTypeExit, Message: "gone"}
	r.Fail(gone)
	r.Fail(errors.New("second"))
	for _, got := range []<-chan result{flying, waiting, r.call(&sandbox.Call{ID: "c"})} {
		if res := <-got; res.err != gone {
			t.Errorf("error %v", res.err)
		}
	}
}

func TestCancelledCallIsWithdrawn(t *testing.T) {
	r := newRig(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Call(ctx, &sandbox.Call{ID: "early", Event: []byte(`1`)}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	got := r.call(&sandbox.Call{ID: "kept", Event: []byte(`1`)})
	if id, _, _ := r.next(); id != "kept" {
		t.Fatalf("next gave %q", id)
	}
	r.post("invocation/kept/response", strings.NewReader(`1`))
	<-got
}

// A poll whose client went away takes no event with it.
func TestPollThatLeft(t *testing.T) {
	r := newRig(t, Config{})
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(nc, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
	<-r.Ready()
	nc.Close()
	for n := 1; n > 0; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		n = len(r.conns)
		r.mu.Unlock()
	}
	got := r.call(&sandbox.Call{ID: "x", Event: []byte(`1`)})
	if id, _, _ := r.next(); id != "x" {
		t.Fatalf("next gave %q", id)
	}
	r.post("invocation/x/response", strings.NewReader(`1`))
	<-got
}

func TestStream(t *testing.T) {
	r := newRig(t, Config{})
	got := r.call(&sandbox.Call{ID: "s", Event: []byte(`1`), HTTP: true})
	r.next()
	pr, pw := io.Pipe()
	answered := make(chan int, 1)
	go func() {
		code, _ := r.post("invocation/s/response", pr, "Lambda-Runtime-Function-Response-Mode", "streaming",
			"Content-Type", "application/vnd.awslambda.http-integration-response")
		answered <- code
	}()
	io.WriteString(pw, `{"statusCode":201,"headers":{"x-a":"b","x-many":["1","2"]},"cookies":["c=1"]}`)
	pw.Write(make([]byte, 8))
	io.WriteString(pw, "first ")
	res := <-got
	if res.err != nil {
		t.Fatal(res.err)
	}
	m := res.reply.Meta
	if m.Status != 201 || m.Header.Get("X-A") != "b" || len(m.Header["X-Many"]) != 2 || m.Cookies[0] != "c=1" {
		t.Errorf("meta %+v", m)
	}
	first := make([]byte, 6)
	if _, err := io.ReadFull(res.reply.Body, first); err != nil || string(first) != "first " {
		t.Fatalf("%q %v", first, err)
	}
	io.WriteString(pw, "second")
	pw.Close()
	rest, err := io.ReadAll(res.reply.Body)
	if err != nil || string(rest) != "second" || <-answered != 202 {
		t.Fatalf("%q %v", rest, err)
	}
}

func TestStreamEndings(t *testing.T) {
	start := func(t *testing.T, r *rig) (*sandbox.Reply, *io.PipeWriter, chan struct{}) {
		got := r.call(&sandbox.Call{ID: "s", Event: []byte(`1`), HTTP: true})
		r.next()
		pr, pw := io.Pipe()
		posted := make(chan struct{})
		go func() {
			defer close(posted)
			req, _ := http.NewRequest(http.MethodPost, r.url("invocation/s/response"), pr)
			req.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
			req.Trailer = http.Header{"Lambda-Runtime-Function-Error-Type": nil}
			if resp, err := r.http.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
		io.WriteString(pw, "x")
		res := <-got
		if res.err != nil || res.reply.Meta.Header.Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("%+v", res)
		}
		return res.reply, pw, posted
	}
	t.Run("program gone", func(t *testing.T) {
		r := newRig(t, Config{})
		reply, pw, posted := start(t, r)
		r.Fail(sandbox.ErrOutOfMemory)
		if _, err := io.ReadAll(reply.Body); !errors.Is(err, sandbox.ErrOutOfMemory) {
			t.Error(err)
		}
		pw.Close()
		<-posted
	})
	t.Run("reader gone", func(t *testing.T) {
		r := newRig(t, Config{})
		reply, pw, posted := start(t, r)
		reply.Body.Close()
		for {
			if _, err := io.WriteString(pw, "more"); err != nil {
				break
			}
		}
		<-posted
	})
	t.Run("bad prelude", func(t *testing.T) {
		r := newRig(t, Config{})
		got := r.call(&sandbox.Call{ID: "s", Event: []byte(`1`), HTTP: true})
		r.next()
		nc, _ := net.Dial("tcp", r.addr)
		defer nc.Close()
		fmt.Fprintf(nc, "POST %sinvocation/s/response HTTP/1.1\r\nContent-Type: application/vnd.awslambda.http-integration-response\r\nContent-Length: 3\r\n\r\n{a}", prefix)
		functionError(t, (<-got).err, errorTypePrelude)
	})
}

func TestHostileRequests(t *testing.T) {
	r := newRig(t, Config{})
	for _, tt := range []struct{ send, want string }{
		{"nonsense\r\n\r\n", "400"},
		{"GET / HTTP/2.0\r\n\r\n", "400"},
		{"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"},
		{"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"},
		{"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "400"},
		{"GET /" + strings.Repeat("x", 8<<10) + " HTTP/1.1\r\n\r\n", "431"},
		{"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n", "404"},
		{"GET /x HTTP/1.0\r\nX: " + strings.Repeat("y", 1<<20) + "\r\n\r\n", "404"},
		{"POST /2018-06-01/runtime/invocation/no/response HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", "400"},
		{"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n", ""},
	} {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(nc, tt.send)
		nc.SetReadDeadline(time.Now().Add(patience))
		b, _ := io.ReadAll(nc)
		nc.Close()
		if _, status, _ := strings.Cut(string(b), " "); !strings.HasPrefix(status, tt.want) || tt.want == "" && len(b) > 0 {
			t.Errorf("%.60q: answer %.60q, want %s", tt.send, b, tt.want)
		}
	}
}

// A client that wants its connection closed still gets its event.
func TestPollWithClose(t *testing.T) {
	for _, head := range []string{"HTTP/1.1\r\nConnection: close", "HTTP/1.0"} {
		for _, first := range []bool{true, false} {
			r := newRig(t, Config{})
			var got <-chan result
			if first {
				got = r.call(&sandbox.Call{ID: "x", Event: []byte(`17`)})
			}
			nc, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(nc, "GET %sinvocation/next %s\r\n\r\n", prefix, head)
			<-r.Ready()
			if !first {
				got = r.call(&sandbox.Call{ID: "x", Event: []byte(`17`)})
			}
			b, err := io.ReadAll(nc)
			nc.Close()
			if err != nil || !strings.HasSuffix(string(b), "\r\n\r\n17") {
				t.Errorf("%q, %v", b, err)
			}
			r.post("invocation/x/response", strings.NewReader(`1`))
			if res := <-got; res.err != nil {
				t.Error(res.err)
			}
		}
	}
}

func TestExpectContinue(t *testing.T) {
	r := newRig(t, Config{})
	got := r.call(&sandbox.Call{ID: "x", Event: []byte(`1`)})
	r.next()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprintf(nc, "POST %sinvocation/x/response HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", prefix)
	br := bufio.NewReader(nc)
	if line, _ := br.ReadString('\n'); !strings.Contains(line, "100") {
		t.Fatal(line)
	}
	io.WriteString(nc, "17")
	if res := <-got; res.err != nil || string(res.reply.Payload) != "17" {
		t.Fatalf("%+v", res)
	}
}

// Many polls and calls at once: every call gets its own answer.
func TestConcurrentPolls(t *testing.T) {
	r := newRig(t, Config{PerInstance: 8})
	var loops sync.WaitGroup
	for range 8 {
		loops.Go(func() {
			for {
				resp, err := r.http.Get(r.url("invocation/next"))
				if err != nil {
					return // the server ended
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil {
					return
				}
				post, err := r.http.Post(r.url("invocation/"+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response"), "", bytes.NewReader(body))
				if err != nil {
					return
				}
				post.Body.Close()
			}
		})
	}
	var calls sync.WaitGroup
	for i := range 16 {
		calls.Go(func() {
			for j := range 50 {
				id := fmt.Sprintf("%d-%d", i, j)
				res := <-r.call(&sandbox.Call{ID: id, Event: []byte(`"` + id + `"`)})
				if res.err != nil || string(res.reply.Payload) != `"`+id+`"` {
					t.Errorf("%s: %+v", id, res)
				}
			}
		})
	}
	calls.Wait()
	r.Fail(sandbox.ErrStopped)
	loops.Wait()
}

func FuzzRequest(f *testing.F) {
	f.Add("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
	f.Add("POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nLambda-Runtime-Function-Error-Type: E\r\n\r\n")
	f.Add("POST /2018-06-01/runtime/init/error HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
	f.Fuzz(func(t *testing.T, in string) {
		br := bufio.NewReaderSize(strings.NewReader(in), readBuffer)
		var q request
		for range 100 {
			if q.read(br) != nil || q.discard(br) != nil {
				return
			}
		}
	})
}

func FuzzPrelude(f *testing.F) {
	f.Add([]byte("{\"statusCode\":200,\"headers\":{\"a\":[\"b\"]}}\x00\x00\x00\x00\x00\x00\x00\x00body"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if meta, _, err := cutPrelude(in); err == nil && meta.Header == nil {
			t.Error("no header")
		}
	})
}
