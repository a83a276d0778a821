package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/mayfly-cloud/mayfly/api/client"
)

// node is a daemon under test.
type node struct {
	Gateway string `json:"gateway"`
	API     string `json:"api"`
	S3      string `json:"s3"`
	Token   string `json:"token"`

	cmd   *exec.Cmd
	ended chan struct{}
	log   *tail
	took  time.Duration // from exec to the ready file
}

// startWithin is how long a daemon may take to be ready, deploys included.
const startWithin = 5 * time.Minute

// startNode runs `mayfly dev` on app, a folder with a mayfly.yaml.
func (s *session) startNode(ctx context.Context, app, data string, flags ...string) (*node, error) {
	ready := filepath.Join(s.dir, fmt.Sprintf("ready-%d.json", time.Now().UnixNano()))
	args := append([]string{"dev", app, "--data", data, "--gateway", "127.0.0.1:0", "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--ready-file", ready}, flags...)
	n := &node{cmd: exec.Command(s.binary, args...), ended: make(chan struct{}), log: &tail{}}
	n.cmd.Dir = app
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	began := time.Now()
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start mayfly: %w", err)
	}
	go func() {
		_ = n.cmd.Wait()
		close(n.ended)
	}()
	if err := n.await(ctx, ready); err != nil {
		n.stop()
		return nil, err
	}
	n.took = time.Since(began)
	return n, nil
}

func (n *node) await(ctx context.Context, ready string) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		if b, err := os.ReadFile(ready); err == nil && json.Unmarshal(b, n) == nil && n.Gateway != "" {
			return nil
		}
		select {
		case <-n.ended:
			return fmt.Errorf("mayfly ended before it was ready:\n%s", n.log)
		case <-ctx.Done():
			return fmt.Errorf("mayfly was not ready: %w\n%s", ctx.Err(), n.log)
		case <-time.After(time.Millisecond):
		}
	}
}

// stop ends the daemon, politely first. It may be called twice.
func (n *node) stop() {
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.ended:
	case <-time.After(20 * time.Second):
		n.kill()
	}
}

// kill is kill -9.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.ended
}

func (n *node) pid() int { return n.cmd.Process.Pid }

// gateway is host:port of the gateway.
func (n *node) gateway() string { return hostOf(n.Gateway) }

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return address
}

func (n *node) client() *client.Client { return &client.Client{Base: n.API, Token: n.Token} }

// authorization is the header line of the admin token.
func (n *node) authorization() string { return "Authorization: Bearer " + n.Token + "\r\n" }

// mustAnswer waits until path answers 200, for as long as a deploy may take.
func (n *node) mustAnswer(ctx context.Context, path string) error {
	var last error
	for began := time.Now(); time.Since(began) < 20*time.Second && ctx.Err() == nil; pause(ctx, 20*time.Millisecond) {
		w, err := dial(n.gateway())
		if err != nil {
			last = err
			continue
		}
		r, err := w.call(get(path)(0, 0))
		if err == nil && r.status == 200 {
			w.close()
			return nil
		}
		if last = err; err == nil {
			last = refused(r)
		}
		w.close()
	}
	return errors.Join(fmt.Errorf("%s does not answer: %w", path, last), ctx.Err(), fmt.Errorf("%s", n.log))
}

// tail keeps the end of what a daemon says.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

func (t *tail) Write(p []byte) (int, error) {
	const keep = 8 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*keep {
		t.buf = bytes.Clone(t.buf[len(t.buf)-keep:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
