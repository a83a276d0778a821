package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// cable leads to a server, until it is cut.
type cable struct {
	l      net.Listener
	server string

	mu    sync.Mutex
	off   bool              // guarded by mu
	conns map[net.Conn]bool // guarded by mu
	all   sync.WaitGroup
}

// newCable leads to the address of a server, until the test ends.
func newCable(t *testing.T, server string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{l: l, server: server, conns: map[net.Conn]bool{}}
	c.all.Go(c.accept)
	t.Cleanup(func() { l.Close(); c.cut(true); c.all.Wait() })
	return c
}

func (c *cable) addr() string { return c.l.Addr().String() }

// cut ends all connections and lets no new one be, or lets them be again.
func (c *cable) cut(off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = off
	for conn := range c.conns {
		if off {
			conn.Close()
		}
	}
}

func (c *cable) accept() {
	for {
		in, err := c.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.server)
		if err != nil || !c.add(in, out) {
			in.Close()
			continue
		}
		for from, to := range map[net.Conn]net.Conn{in: out, out: in} {
			c.all.Go(func() { _, _ = io.Copy(to, from); c.remove(from, to) })
		}
	}
}

// add keeps a pair of connections, unless the cable is cut.
func (c *cable) add(in, out net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		out.Close()
		return false
	}
	c.conns[in], c.conns[out] = true, true
	return true
}

func (c *cable) remove(pair ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range pair {
		conn.Close()
		delete(c.conns, conn)
	}
}

// natsServer is a NATS server outside; its address.
func natsServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "outside", Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready")
	}
	return s.Addr().String()
}
