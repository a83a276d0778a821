package process

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
)

func TestMain(m *testing.M) {
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

func waitDone(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
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

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
