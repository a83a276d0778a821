package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
)

func TestMain(m *testing.M) {
	if attempt := os.Getenv("PROBE"); attempt != "" {
		probe(attempt)
		return
	}
	goleak.VerifyTestMain(m)
}

var who = mayfly.Caller{Kind: mayfly.CallerFunction, App: "shop", Function: "cart", Version: 1}

// buffer is a bytes.Buffer for one writer and many readers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newLauncher(t *testing.T, cfg Config) *Launcher {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// run starts a shell script and returns what it printed and how it ended.
func run(t *testing.T, l *Launcher, script string, change func(*Command)) (string, Ended) {
	t.Helper()
	var out buffer
	cmd := Command{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Stdout: &out, Stderr: &out}
	cmd.Who = who
	if change != nil {
		change(&cmd)
	}
	p, err := l.Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	waitDone(t, p)
	return strings.TrimSpace(out.String()), p.Ended()
}

// patience is how long a condition may take: an emulated processor needs minutes
// for what takes seconds (bench/vm.sh).
const patience = 5 * time.Minute

func waitDone(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("the program did not end")
	}
}

// greeter is a door that answers with the caller's name.
func greeter() Door {
	return Door{Port: 9002, Env: []string{"ENDPOINT=http://{addr}"}, Serve: func(l net.Listener, who mayfly.Caller) {
		http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, who.String()) }))
	}}
}

// bundle makes a folder with one file.
func bundle(t *testing.T, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// everyTier runs a test in every kind of cell that the machine allows.
func everyTier(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{WallsNone, WallsAuto} {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

func TestStart(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		out, ended := run(t, l, "pwd; cat hello; cat /run/secrets/KEY; echo $NAME >&2; exit 3", func(c *Command) {
			c.Bundle = bundle(t, "hello", "bundled\n")
			c.Secrets = map[string][]byte{"KEY": []byte("secret\n")}
			c.Args[1] = strings.ReplaceAll(c.Args[1], "hello", "/var/task/hello")
			c.Env = append(c.Env, "NAME=value")
		})
		if ended.Code != 3 || ended.Signal != "" {
			t.Errorf("ended as %+v, want status 3", ended)
		}
		for _, want := range []string{"bundled", "secret", "value"} {
			if !strings.Contains(out, want) {
				t.Errorf("output %q lacks %q", out, want)
			}
		}
	})
}

func TestKillEndsChildren(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		var out buffer
		cmd := Command{Path: "/bin/sh", Args: []string{"-c", "sleep 1000 & echo started; wait"}, Stdout: &out}
		cmd.Who = who
		p, err := l.Start(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		eventually(t, "the program prints", func() bool { return strings.Contains(out.String(), "started") })
		if err := p.Freeze(); err != nil {
			t.Error(err)
		}
		p.Kill()
		waitDone(t, p)
		if e := p.Ended(); e.Signal != "killed" {
			t.Errorf("ended as %+v", e)
		}
	})
}

func TestFiles(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		run(t, l, "echo through >&3", func(c *Command) { c.Files = []*os.File{w} })
		w.Close()
		got, _ := io.ReadAll(r)
		if string(got) != "through\n" {
			t.Errorf("descriptor 3 gave %q", got)
		}
	})
}

func TestMissingProgram(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		cmd := Command{Path: "/no/such/program"}
		cmd.Who = who
		_, err := l.Start(t.Context(), cmd)
		if mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("got %v, want an invalid error", err)
		}
	})
}

func TestBundleElsewhere(t *testing.T) {
	bundles := t.TempDir()
	l := newLauncher(t, Config{Walls: WallsNone, Bundles: bundles})
	for _, dir := range []string{bundles, bundles + "/../x", "/etc", bundles + "x"} {
		_, err := l.Start(t.Context(), Command{Path: "/bin/true", Assignment: Assignment{Who: who, Bundle: dir}})
		if mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("a bundle at %s gave %v", dir, err)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		cmd := Command{Path: "/bin/sleep", Args: []string{"1000"}}
		cmd.Who = who
		p, err := l.Start(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		p.Close()
		l.Close()
		if _, err := l.Start(context.Background(), cmd); mayfly.CodeOf(err) != mayfly.Unavailable {
			t.Errorf("a closed launcher answered %v", err)
		}
	})
}

// The shell has no network client, so these programs are this test's own
// executable: see probe.
func TestDoorsAndListeners(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind, Doors: []Door{greeter()}})
		in, tell, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer tell.Close()
		var out buffer
		p := startProbe(t, l, "client", func(c *Command) {
			c.Stdout, c.Stderr, c.Listen, c.Files = &out, &out, []int{9001}, []*os.File{in}
		})
		in.Close()
		fmt.Fprintln(tell, p.Addr(0))
		for range 2 {
			conn, err := p.Listener(0).Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
		waitDone(t, p)
		if got := out.String(); got != "function shop/cart\n" {
			t.Errorf("the door told the program %q", got)
		}
	})
}

func TestDial(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		port, err := l.Port(8080)
		if err != nil {
			t.Fatal(err)
		}
		p := startProbe(t, l, "server", func(c *Command) { c.Env = append(c.Env, "PORT="+strconv.Itoa(port)) })
		for range 10 {
			var conn net.Conn
			eventually(t, "the program listens", func() bool {
				var err error
				conn, err = p.Dial(t.Context(), port)
				return err == nil
			})
			got, _ := io.ReadAll(conn)
			conn.Close()
			if string(got) != "served" {
				t.Errorf("read %q", got)
			}
		}
	})
}

func TestAssign(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind, Doors: []Door{greeter()}})
		in, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		var out buffer
		p, err := l.Start(t.Context(), Command{
			Path: "/bin/sh", Args: []string{"-c", "read path secret <&3; cat $path $secret"}, Files: []*os.File{in}, Stdout: &out, Stderr: &out,
		})
		in.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		a := Assignment{Who: who, Bundle: bundle(t, "hello", "bundled\n"), Secrets: map[string][]byte{"KEY": []byte("secret\n")}, Memory: 64 * mayfly.MiB}
		if err := p.Assign(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if err := p.Assign(t.Context(), a); mayfly.CodeOf(err) != mayfly.Conflict {
			t.Errorf("a second Assign gave %v", err)
		}
		fmt.Fprintln(w, p.Path("/var/task/hello"), p.Path("/run/secrets/KEY"))
		waitDone(t, p)
		if out.String() != "bundled\nsecret\n" {
			t.Errorf("read %q", out.String())
		}
	})
}

func TestFreeze(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		var out buffer
		p := startProbe(t, l, "count", func(c *Command) { c.Stdout = &out })
		eventually(t, "the program counts", func() bool { return len(out.String()) > 3 })
		if err := p.Freeze(); err != nil {
			skipUnavailable(t, err)
		}
		var before int
		eventually(t, "the program stands still", func() bool {
			before = len(out.String())
			time.Sleep(50 * time.Millisecond)
			return len(out.String()) == before
		})
		if err := p.Thaw(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the program goes on", func() bool { return len(out.String()) > before })
		if u := p.Usage(); u.Memory == 0 && kind == WallsNone {
			t.Errorf("usage %+v", u)
		}
	})
}

// TestDialFrozen gives a dial up whose cell cannot answer. The cell lives on.
func TestDialFrozen(t *testing.T) {
	l := newLauncher(t, Config{})
	port, err := l.Port(8080)
	if err != nil {
		t.Fatal(err)
	}
	p := startProbe(t, l, "server", func(c *Command) { c.Env = append(c.Env, "PORT="+strconv.Itoa(port)) })
	dial := func(ctx context.Context) error {
		conn, err := p.Dial(ctx, port)
		if err == nil {
			conn.Close()
		}
		return err
	}
	eventually(t, "the program listens", func() bool { return dial(t.Context()) == nil })
	if err := p.Freeze(); err != nil {
		skipUnavailable(t, err)
	}
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		dial(ctx)
		cancel()
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		eventually(t, "the program answers", func() bool { return dial(t.Context()) == nil })
	}
}

func skipUnavailable(t *testing.T, err error) {
	t.Helper()
	if mayfly.CodeOf(err) == mayfly.Unavailable {
		t.Skip(err)
	}
	t.Fatal(err)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
