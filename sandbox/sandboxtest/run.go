package sandboxtest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Patience bounds every wait of a test. It is never a measure.
const Patience = 60 * time.Second

// Run runs the contract on a driver.
func Run(t *testing.T, s Suite) {
	t.Helper()
	before := descriptors()
	for _, c := range []struct {
		name  string
		maker Maker
		test  func(*bench)
	}{
		{"Echo", s.Echo, testEcho},
		{"LargeEvent", s.Echo, testLargeEvent},
		{"Error", s.Error, testError},
		{"Exit", s.Exit, testExit},
		{"Timeout", s.Hang, testTimeout},
		{"StopWhileBusy", s.Hang, testStopWhileBusy},
		{"StopTwice", s.Echo, testStopTwice},
		{"Concurrent", s.Sleep, testConcurrent},
		{"Stream", s.Stream, testStream},
		{"StreamClosed", s.Endless, testStreamClosed},
		{"OutOfMemory", s.Memory, testOutOfMemory},
		{"Log", s.Print, testLog},
		{"Flood", s.Flood, testFlood},
		{"NotJSON", s.NotJSON, testNotJSON},
		{"Broken", s.Broken, testBroken},
		{"Context", s.Context, testContext},
		{"Freeze", s.Echo, testFreeze},
		{"Burst", s.Echo, testBurst},
		{"Forget", s.Echo, testForget},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.maker == nil {
				t.Skip("this runtime has no such behaviour")
			}
			c.test(newBench(t, s, c.maker))
		})
	}
	t.Run("Leak", func(t *testing.T) { waitDescriptors(t, before) })
}

// A bench is one driver with one version, for one test.
type bench struct {
	*testing.T
	suite  Suite
	driver sandbox.Driver
	spec   *sandbox.Spec
	out    *Recorder
}

func newBench(t *testing.T, s Suite, maker Maker) *bench {
	t.Helper()
	b := &bench{T: t, suite: s, driver: s.Driver(t), spec: Complete(maker(t)), out: &Recorder{}}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := b.driver.Check(ctx); err != nil {
		t.Skipf("this machine cannot run %s: %v", b.driver.Runtime(), err)
	}
	return b
}

// Complete sets what is empty of App ("app"), Function ("fn"), Version (7), Digest
// (one of its own), Memory, Timeout (Patience) and PerInstance (1), and returns s.
// A complete one it only reads, as the driver that has it may do beside.
func Complete(s *sandbox.Spec) *sandbox.Spec {
	fill(&s.App, "app")
	fill(&s.Function, "fn")
	fill(&s.Version, 7)
	fill(&s.Digest, "sha256:"+strconv.FormatInt(time.Now().UnixNano(), 16))
	fill(&s.Memory, mayfly.DefaultMemory)
	fill(&s.Timeout, Patience)
	fill(&s.PerInstance, 1)
	return s
}

func fill[T comparable](field *T, value T) {
	var empty T
	if *field == empty {
		*field = value
	}
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	b.Cleanup(cancel)
	return ctx
}

// start prepares the version and starts an instance that ends with the test.
func (b *bench) start() sandbox.Instance {
	b.Helper()
	if err := b.driver.Prepare(b.ctx(), b.spec); err != nil {
		b.Fatalf("Prepare: %v", err)
	}
	inst, err := b.driver.Start(b.ctx(), b.spec, b.out)
	if err != nil {
		b.Fatalf("Start: %v", err)
	}
	b.Cleanup(func() { stop(b.T, inst) })
	return inst
}

// stop ends an instance by force.
func stop(t *testing.T, inst sandbox.Instance) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := inst.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	select {
	case <-inst.Done():
	case <-time.After(Patience):
		t.Error("Done is not closed after Stop")
	}
}

// call makes a call whose event is event.
func (b *bench) call(event string) *sandbox.Call {
	c := &sandbox.Call{
		ID: mayfly.NewID(), Trace: mayfly.NewTrace(), Deadline: time.Now().Add(Patience), Attempt: 1,
		Trigger: mayfly.TriggerDirect, ARN: "arn:mayfly:lambda:local:000000000000:function:probe", Event: []byte(event),
	}
	if b.suite.HTTPEvents {
		c.HTTP, c.Trigger, c.Event = true, mayfly.TriggerHTTP, Request("POST", "/", event)
	}
	return c
}

// Request is an HTTPRequest as JSON.
func Request(method, path, body string) []byte {
	path, query, _ := strings.Cut(path, "?")
	params := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		if k, v, found := strings.Cut(part, "="); found {
			params[k] = v
		}
	}
	r := mayfly.HTTPRequest{
		Version: "2.0", RouteKey: "$default", RawPath: path, RawQueryString: query, QueryStringParameters: params, Body: body,
		Headers: map[string]string{"host": "probe.localhost", "content-type": "application/json", "content-length": strconv.Itoa(len(body))},
	}
	r.RequestContext.HTTP = mayfly.RequestHTTP{Method: method, Path: path, Protocol: "HTTP/1.1", SourceIP: "127.0.0.1", UserAgent: "sandboxtest"}
	r.RequestContext.DomainName = "probe.localhost"
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // of strings alone
	}
	return data
}

// Read takes a whole reply as text: the payload, an HTTP response's body, or
// all that was streamed.
func Read(reply *sandbox.Reply, http bool) (string, error) {
	if reply.Body != nil {
		defer reply.Body.Close()
		data, err := io.ReadAll(reply.Body)
		return string(data), err
	}
	if !http {
		return string(reply.Payload), nil
	}
	var r mayfly.HTTPResponse
	if err := json.Unmarshal(reply.Payload, &r); err != nil || r.StatusCode == 0 {
		return string(reply.Payload), nil
	}
	if r.IsBase64Encoded {
		data, err := base64.StdEncoding.DecodeString(r.Body)
		return string(data), err
	}
	return r.Body, nil
}

func (b *bench) do(inst sandbox.Instance, call *sandbox.Call) (string, error) {
	reply, err := inst.Call(b.ctx(), call)
	if err != nil {
		return "", err
	}
	return Read(reply, b.suite.HTTPEvents)
}

// echo makes a call that must return its event.
func (b *bench) echo(inst sandbox.Instance, event string) {
	b.Helper()
	got, err := b.do(inst, b.call(event))
	if err != nil {
		b.Fatalf("Call: %v", err)
	}
	if !sameJSON(got, event) {
		b.Fatalf("the reply is %.200q, want %.200q", got, event)
	}
}

// sameJSON compares without regard to spaces.
func sameJSON(a, b string) bool {
	return compact(a) == compact(b)
}

func compact(s string) string {
	var v any
	if json.Unmarshal([]byte(s), &v) != nil {
		return s
	}
	data, err := json.Marshal(v)
	if err != nil {
		return s
	}
	return string(data)
}

// Recorder is an Output that keeps what it gets.
type Recorder struct {
	mu    sync.Mutex
	lines []mayfly.LogLine // guarded by mu
}

// Log keeps a line.
func (r *Recorder) Log(line mayfly.LogLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// Lines is a copy of what came so far.
func (r *Recorder) Lines() []mayfly.LogLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]mayfly.LogLine(nil), r.lines...)
}

// Await waits for a line that satisfies ok.
func (r *Recorder) Await(t testing.TB, what string, ok func(mayfly.LogLine) bool) mayfly.LogLine {
	t.Helper()
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, l := range r.Lines() {
			if ok(l) {
				return l
			}
		}
	}
	t.Fatalf("no line %s came; there were %d", what, len(r.Lines()))
	return mayfly.LogLine{}
}

// descriptors is how many files this process has open, -1 where that cannot be
// known.
func descriptors() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	n := 0
	for _, fd := range all {
		// Files of the runtime and of the test's own log come and go.
		target, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err == nil && (strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "pipe:") || strings.HasPrefix(target, "net:")) {
			n++
		}
	}
	return n
}

// waitDescriptors waits until no more sockets, pipes and namespaces are open
// than before.
func waitDescriptors(t *testing.T, before int) {
	t.Helper()
	if before < 0 {
		t.Skip("this machine has no /proc/self/fd")
	}
	now := descriptors()
	for end := time.Now().Add(Patience); now > before && time.Now().Before(end); now = descriptors() {
		time.Sleep(20 * time.Millisecond)
	}
	if now > before {
		t.Errorf("%d sockets, pipes and namespaces are open, %d before the suite", now, before)
	}
}
