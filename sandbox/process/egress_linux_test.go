package process

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/mayfly-cloud/mayfly"
)

// refusals records what was refused.
type refusals struct {
	mu    sync.Mutex
	lines []string
}

func (r *refusals) EgressRefused(who mayfly.Caller, target, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, who.String()+" "+target+" "+line)
}

func (r *refusals) has(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.lines, line)
}

// serveText serves text on a loopback port of this machine, over TCP and UDP.
func serveText(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Skip("the same port is not free for UDP: ", err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		u.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, text)
			conn.Close()
		}
	})
	all.Go(func() {
		b := make([]byte, 100)
		for {
			_, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			u.WriteTo([]byte(text), from)
		}
	})
	return l.Addr().String()
}

// serveNames is a name server on this machine's loopback.
func serveNames(t *testing.T, names map[string][4]byte) *net.Resolver {
	t.Helper()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { u.Close(); all.Wait() })
	all.Go(func() {
		b := make([]byte, 512)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true}, Questions: m.Questions}
			if a, ok := names[q.Name.String()]; ok && q.Type == dnsmessage.TypeA {
				reply.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: a}}}
			} else {
				reply.RCode = dnsmessage.RCodeNameError
			}
			if packed, err := reply.Pack(); err == nil {
				u.WriteTo(packed, from)
			}
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", u.LocalAddr().String())
	}}
}

// hasTunnel reports whether cells can have a network device here.
func hasTunnel() bool {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// egressLauncher has a world of one public service, and names that lie.
func egressLauncher(t *testing.T, told *refusals) *Launcher {
	t.Helper()
	if !hasTunnel() {
		t.Skip("/dev/net/tun cannot be opened here")
	}
	public := serveText(t, "public")
	l := newLauncher(t, Config{Egress: told})
	l.walls.resolver = serveNames(t, map[string][4]byte{
		"api.test.": {93, 184, 216, 34}, "meta.api.test.": {169, 254, 169, 254}, "home.api.test.": {127, 0, 0, 1}, "lan.api.test.": {10, 1, 2, 3},
	})
	l.walls.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !strings.HasPrefix(addr, "93.184.216.34:") {
			return nil, fmt.Errorf("dialled %s", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, public)
	}
	skipWithout(t, l, "closed network")
	return l
}

func TestEgress(t *testing.T) {
	var told refusals
	l := egressLauncher(t, &told)
	local, other := serveText(t, "local"), serveText(t, "other")
	targets := []string{
		"tcp/api.test:443", "udp/api.test:443", "tcp/93.184.216.34:443", "tcp/" + local,
		"tcp/api.test:80", "tcp/other.test:443", "tcp/meta.api.test:443", "tcp/home.api.test:443", "tcp/lan.api.test:443",
		"tcp/169.254.169.254:80", "tcp/8.8.8.8:53", "udp/8.8.8.8:53", "tcp/" + other, "tcp/10.199.0.1:53",
	}
	var out buffer
	p := startProbe(t, l, "fetch", func(c *Command) {
		c.Env, c.Stdout, c.Stderr = append(c.Env, "TARGETS="+strings.Join(targets, " ")), &out, &out
		c.Egress = []string{"api.test:443", "*.api.test:443", "localhost:" + local[strings.LastIndexByte(local, ':')+1:]}
	})
	waitDone(t, p)
	var want []string
	for i, target := range targets {
		want = append(want, target+" "+[]string{"public", "public", "public", "local", "failed"}[min(i, 4)])
	}
	if got := strings.TrimSpace(out.String()); got != strings.Join(want, "\n") {
		t.Errorf("reached:\n%s", got)
	}
	for _, line := range []string{
		"93.184.216.34:80 api.test:80", "other.test other.test:443", "meta.api.test (169.254.169.254) 169.254.169.254:443",
		"169.254.169.254:80 169.254.169.254:80", "8.8.8.8:53 8.8.8.8:53",
	} {
		if !told.has("function shop/cart " + line) {
			t.Errorf("nobody was told of %s: %q", line, told.lines)
		}
	}
}

func TestNoEgress(t *testing.T) {
	var told refusals
	l := walledLauncher(t, Config{Egress: &told})
	host := serveText(t, "host")
	targets := []string{"tcp/" + host, "tcp/93.184.216.34:443", "udp/93.184.216.34:443", "tcp/api.test:443"}
	var out buffer
	p := startProbe(t, l, "fetch", func(c *Command) {
		c.Env, c.Stdout, c.Stderr = append(c.Env, "TARGETS="+strings.Join(targets, " ")), &out, &out
	})
	waitDone(t, p)
	if got := out.String(); strings.Count(got, "failed") != len(targets) {
		t.Errorf("reached:\n%s", got)
	}
	if !told.has("function shop/cart api.test api.test:443") {
		t.Errorf("nobody was told of a refused name: %q", told.lines)
	}
}

func TestBadEgress(t *testing.T) {
	l := walledLauncher(t, Config{})
	_, err := l.Start(t.Context(), Command{Path: "/bin/true", Assignment: Assignment{Who: who, Egress: []string{"nonsense"}}})
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("got %v", err)
	}
}

// probeFetch reads from each of its targets and says what it read.
func probeFetch() error {
	for _, target := range strings.Fields(os.Getenv("TARGETS")) {
		network, addr, _ := strings.Cut(target, "/")
		got, err := fetch(network, addr)
		if err != nil {
			got = "failed"
		}
		fmt.Println(target, got)
	}
	return nil
}

func fetch(network, addr string) (string, error) {
	conn, err := net.DialTimeout(network, addr, 20*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if network == "udp" {
		io.WriteString(conn, "?")
		b := make([]byte, 100)
		n, err := conn.Read(b)
		return string(b[:n]), err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}
