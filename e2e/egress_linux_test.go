package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// insideVariable marks a test process that has a network and mounts of its own.
const insideVariable = "MAYFLY_E2E_INSIDE"

// inNetwork runs the calling test in a process whose network is empty but for
// the given addresses, and whose names are answered by 127.0.0.1. It reports
// whether this is that process; the other one passes on what it said.
func inNetwork(t *testing.T, addrs ...string) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		makeNetwork(t, addrs)
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make a network of its own")
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		t.Skip("this machine has no tunnel device: ", err)
	} else {
		f.Close()
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), insideVariable+"=1", binaryVariable+"="+binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Skip("this machine does not let a test have a network of its own: ", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

func makeNetwork(t *testing.T, addrs []string) {
	t.Helper()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, resolv, "nameserver 127.0.0.1\n")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for i, addr := range append([]string{"127.0.0.1"}, addrs...) {
		name := "lo"
		if i > 0 {
			name = fmt.Sprintf("lo:%d", i)
		}
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = r.SetInet4Addr(net.ParseIP(addr).To4())
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r)
		}
		if err == nil {
			r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOOPBACK)
			err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
		}
		if err != nil {
			t.Fatalf("give %s to %s: %v", addr, name, err)
		}
	}
}

// says serves text at an address, to whoever connects or sends a datagram.
func says(t *testing.T, addr, text string) string {
	t.Helper()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); u.Close(); all.Wait() })
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
		for b := make([]byte, 512); ; {
			_, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			u.WriteTo([]byte(text), from)
		}
	})
	return l.Addr().String()
}

// answersNames is a name server at 127.0.0.1. Of a name with several addresses
// it gives the first once and the last from then on, as in DNS rebinding.
func answersNames(t *testing.T, names map[string][]string) {
	t.Helper()
	u, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { u.Close(); all.Wait() })
	all.Go(func() {
		for b := make([]byte, 512); ; {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
			name := strings.TrimSuffix(q.Name.String(), ".")
			addrs := names[name]
			switch {
			case len(addrs) == 0:
				reply.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				reply.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
					Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(addrs[0]).To4())},
				}}
				names[name] = addrs[len(addrs)-1:]
			}
			if packed, err := reply.Pack(); err == nil {
				u.WriteTo(packed, from)
			}
		}
	})
}

// fetcher is a function that reads from each target of its event.
const fetcher = `
import socket
def fetch(target):
    kind, _, addr = target.partition("/")
    host, _, port = addr.rpartition(":")
    try:
        if kind == "tcp":
            with socket.create_connection((host, int(port)), 10) as s: return s.recv(100).decode() or "closed"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.connect((host, int(port)))
            s.send(b"?")
            return s.recv(100).decode()
    except OSError as e: return "refused"
def handler(event, context): return [fetch(t) for t in event]
`

// TestEgress calls services of a small internet, which the test made, from
// functions that may reach some of them.
func TestEgress(t *testing.T) {
	needs(t, "python3")
	const public, metadata, lan = "93.184.216.34", "169.254.169.254", "10.1.2.3"
	if !inNetwork(t, public, metadata, lan) {
		return
	}
	answersNames(t, map[string][]string{
		"api.test": {public}, "other.test": {public}, "a.wild.test": {public}, "wild.test": {public},
		"meta.wild.test": {metadata}, "home.wild.test": {"127.0.0.1"}, "lan.wild.test": {lan},
		"rebind.test": {public, metadata},
	})
	for _, port := range []string{":443", ":80"} {
		says(t, public+port, "public"+port)
		says(t, metadata+port, "metadata"+port)
	}
	says(t, lan+":5432", "database")
	says(t, lan+":443", "lan")
	local := strings.TrimPrefix(says(t, "127.0.0.1:0", "local"), "127.0.0.1:")
	hidden := strings.TrimPrefix(says(t, "127.0.0.1:0", "hidden"), "127.0.0.1:")
	n := start(t, t.TempDir(), "dev", app(t, map[string]string{"fetch/app.py": fetcher, "mayfly.yaml": `
app: net
defaults: {timeout: 60s}
functions:
  open:
    runtime: python
    source: ./fetch
    handler: app.handler
    egress: [api.test:443, rebind.test:443, "*.wild.test:443", 10.1.2.0/24:5432, localhost:` + local + `]
  closed:
    runtime: python
    source: ./fetch
    handler: app.handler
`}))
	for _, c := range []struct{ target, open, closed string }{
		{"tcp/api.test:443", "public:443", "refused"},
		{"udp/api.test:443", "public:443", "refused"},
		{"tcp/a.wild.test:443", "public:443", "refused"},
		{"tcp/lan.wild.test:5432", "database", "refused"}, // the name and the network are named
		{"tcp/" + lan + ":5432", "database", "refused"},
		{"tcp/127.0.0.1:" + local, "local", "refused"},
		{"tcp/rebind.test:443", "public:443", "refused"},
		{"tcp/rebind.test:443", "refused", "refused"}, // now it says that it is the metadata service
		{"tcp/api.test:80", "refused", "refused"},
		{"tcp/other.test:443", "refused", "refused"},
		{"tcp/wild.test:443", "refused", "refused"},
		{"tcp/meta.wild.test:443", "refused", "refused"},
		{"tcp/home.wild.test:" + hidden, "refused", "refused"},
		{"tcp/lan.wild.test:443", "refused", "refused"},
		{"tcp/" + lan + ":443", "refused", "refused"},
		{"tcp/" + metadata + ":80", "refused", "refused"},
		{"udp/" + metadata + ":80", "refused", "refused"},
		{"tcp/127.0.0.1:" + hidden, "refused", "refused"},
		{"tcp/" + n.Gateway[len("http://"):], "refused", "refused"},
	} {
		event, _ := json.Marshal([]string{c.target})
		for fn, want := range map[string]string{"open": c.open, "closed": c.closed} {
			if r := n.direct("net", fn, string(event)); strings.TrimSpace(r.body) != `["`+want+`"]` {
				t.Errorf("%s from %s: %d %s, want %s", c.target, fn, r.status, r.body, want)
			}
		}
	}
	for fn, lines := range map[string][]string{
		"open":   {`"api.test:80"`, `"other.test:443"`, `"wild.test:443"`, `"169.254.169.254:443"`, `"169.254.169.254:80"`, `"10.1.2.3:443"`},
		"closed": {`"api.test:443"`},
	} {
		var out string
		eventually(t, "the log of "+fn+" says what to add", func() bool {
			out, _ = n.cli("logs", fn, "--app", "net")
			return !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(out, "egress: ["+line+"]") })
		})
	}
	var usage struct {
		Rows []struct{ Usage struct{ Egress int64 } }
	}
	if err := n.client().Do(t.Context(), "GET", "/v1/usage?app=net&function=open", nil, &usage); err != nil || len(usage.Rows) != 1 || usage.Rows[0].Usage.Egress != 1 {
		t.Errorf("the ledger does not have the one byte that was sent: %+v %v", usage, err)
	}
	n.stop()
}
