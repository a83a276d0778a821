package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly/api/client"
)

// binary is the mayfly that the tests run, built by TestMain unless the
// variable names one.
var binary string

const binaryVariable = "MAYFLY_E2E_BINARY"

func TestMain(m *testing.M) {
	if binary = os.Getenv(binaryVariable); binary != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "mayfly-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "mayfly")
	build := exec.Command("go", "build", "-o", binary, "../cmd/mayfly")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build mayfly: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// node is a running mayfly.
type node struct {
	t    *testing.T
	cmd  *exec.Cmd
	data string
	out  *output
	done chan struct{}
	err  error // of the process, after done

	Gateway, API, Console, S3, Token string
}

// output collects what a process prints, and shows it where a test fails.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs a verb (dev or serve) with its data in a folder and waits until it
// is ready.
func start(t *testing.T, data string, args ...string) *node {
	t.Helper()
	n := &node{t: t, data: data, out: &output{}, done: make(chan struct{})}
	ready := filepath.Join(t.TempDir(), "ready.json")
	args = append(args, "--data", data, "--gateway", "127.0.0.1:0", "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--ready-file", ready, "--log-level", "info")
	n.cmd = exec.Command(binary, args...)
	n.cmd.Stdout, n.cmd.Stderr = n.out, n.out
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { n.err = n.cmd.Wait(); close(n.done) }()
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			said := n.out.String()
			t.Logf("the node said:\n%s", said[max(0, len(said)-8<<10):])
		}
	})
	n.await(ready)
	return n
}

func (n *node) await(ready string) {
	n.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(ready); err == nil {
			if err := json.Unmarshal(b, n); err != nil {
				n.t.Fatalf("ready file: %v in %s", err, b)
			}
			return
		}
		select {
		case <-n.done:
			n.t.Fatalf("the node ended: %v\n%s", n.err, n.out)
		default:
		}
	}
	n.t.Fatalf("the node was not ready in time:\n%s", n.out)
}

// kill is kill -9, and waits.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.done
}

// stop is Ctrl-C, and waits for a clean end.
func (n *node) stop() {
	n.t.Helper()
	_ = n.cmd.Process.Signal(os.Interrupt)
	select {
	case <-n.done:
		if n.err != nil {
			n.t.Errorf("the node ended with %v\n%s", n.err, n.out)
		}
	case <-time.After(time.Minute):
		n.t.Errorf("the node did not stop:\n%s", n.out)
	}
}

func (n *node) client() *client.Client { return &client.Client{Base: n.API, Token: n.Token} }

// reply is an HTTP reply, read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// call sends a request to the gateway.
func (n *node) call(method, path, body string, header ...string) reply {
	n.t.Helper()
	r, err := n.try(method, path, body, header...)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (n *node) try(method, path, body string, header ...string) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.Gateway+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(b)}, err
}

// direct calls a function by its name.
func (n *node) direct(app, fn, event string) reply {
	n.t.Helper()
	return n.call("POST", "/_fn/"+app+"/"+fn, event, "Authorization", "Bearer "+n.Token)
}

// cli runs a verb against the node and returns its output and its exit status.
func (n *node) cli(args ...string) (string, int) {
	n.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = n.t.TempDir()
	cmd.Env = append(os.Environ(), "MAYFLY_API="+n.API, "MAYFLY_TOKEN="+n.Token)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatalf("mayfly %s: %v", strings.Join(args, " "), err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// app writes an app's files into a folder.
func app(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}

// needs skips a test on a machine without a tool.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on this machine", tool)
		}
	}
	if runtime.GOOS == "windows" {
		t.Skip("the tests use POSIX signals")
	}
}
