package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// peerVariable makes this program the net/http peer.
const peerVariable = "MAYFLY_BENCH_PEER"

// servePeer answers every request with "ok", until its parent ends it.
func servePeer() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	body := []byte("ok")
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) }))
}

const nodePeer = `
const server = require("http").createServer((req, res) => { res.setHeader("Content-Type", "text/plain"); res.end("ok"); });
server.listen(0, "127.0.0.1", () => console.log("127.0.0.1:" + server.address().port));
`

const pythonPeer = `
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass
class Server(ThreadingHTTPServer):
    request_queue_size = 128
server = Server(("127.0.0.1", 0), Handler)
print("127.0.0.1:%d" % server.server_address[1], flush=True)
server.serve_forever()
`

// peer is a plain server.
type peer struct {
	name string
	addr string
	cmd  *exec.Cmd
}

// startPeers starts those whose interpreter is there.
func (s *session) startPeers(ctx context.Context) (peers []*peer, stop func(), err error) {
	stop = func() {
		for _, p := range peers {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, stop, err
	}
	commands := []*exec.Cmd{exec.CommandContext(ctx, self)}
	names := []string{"net/http"}
	if node := s.tools["node"]; node != "" {
		commands, names = append(commands, exec.CommandContext(ctx, node, "-e", nodePeer)), append(names, "node http")
	}
	if python := s.tools["python3"]; python != "" {
		commands, names = append(commands, exec.CommandContext(ctx, python, "-c", pythonPeer)), append(names, "python http.server")
	}
	for i, cmd := range commands {
		p, err := startPeer(cmd, names[i])
		if err != nil {
			stop()
			return nil, func() {}, err
		}
		peers = append(peers, p)
	}
	return peers, stop, nil
}

func startPeer(cmd *exec.Cmd, name string) (*peer, error) {
	cmd.Env = append(os.Environ(), peerVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("%s said no address: %w", name, err)
	}
	return &peer{name: name, addr: strings.TrimSpace(line), cmd: cmd}, nil
}

// wrk measures with wrk where it is there: requests per second.
func (s *session) wrk(ctx context.Context, addr, path string, connections int) (float64, bool) {
	tool := s.tools["wrk"]
	if tool == "" {
		return 0, false
	}
	out, err := exec.CommandContext(ctx, tool, "-t2", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", max(1, int(s.duration/time.Second))), "http://"+addr+path).Output()
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(out)) {
		var rate float64
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "Requests/sec: %f", &rate); err == nil {
			return rate, true
		}
	}
	return 0, false
}
