package egress

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newPolicy(t testing.TB, lines ...string) *Policy {
	t.Helper()
	p, err := NewPolicy(lines)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPolicyNames(t *testing.T) {
	p := newPolicy(t, "api.stripe.com:443", "*.Example.com:443", "10.0.0.0/8:5432")
	for name, want := range map[string]bool{
		"api.stripe.com": true, "API.stripe.com.": true, "stripe.com": false, "x.api.stripe.com": false,
		"example.com": false, "a.example.com": true, "a.b.example.com": true, "badexample.com": false, "": false,
	} {
		if got := p.Name(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestPolicyDial(t *testing.T) {
	p := newPolicy(t, "api.test:443", "*.api.test:443", "10.0.0.0/8:5432", "192.168.1.7:*")
	p.Answer("api.test", addrs("93.184.216.34"), now)
	p.Answer("evil.api.test", addrs("10.0.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "93.184.216.35"), now)
	for _, c := range []struct {
		to, line string
		ok       bool
	}{
		{"93.184.216.34:443", "", true},
		{"93.184.216.34:80", "api.test:80", false},
		{"93.184.216.35:443", "", true},
		{"93.184.216.36:443", "93.184.216.36:443", false},
		{"10.0.0.1:5432", "", true},
		{"10.0.0.1:443", "10.0.0.1:443", false},
		{"192.168.1.7:9", "", true},
		{"192.168.1.8:9", "192.168.1.8:9", false},
		{"169.254.169.254:443", "169.254.169.254:443", false},
		{"172.16.0.1:443", "172.16.0.1:443", false},
		{"127.0.0.1:443", "127.0.0.1:443", false},
	} {
		line, ok := p.Dial(netip.MustParseAddrPort(c.to), now)
		if line != c.line || ok != c.ok {
			t.Errorf("%s: %q, %v", c.to, line, ok)
		}
	}
	p.Answer("new.api.test", addrs("93.184.216.34"), now.Add(time.Second))
	if line, _ := p.Dial(netip.MustParseAddrPort("93.184.216.34:80"), now.Add(time.Second)); line != "new.api.test:80" {
		t.Errorf("of the names of an address, %q is told", line)
	}
	if _, ok := p.Dial(netip.MustParseAddrPort("93.184.216.34:443"), now.Add(time.Hour)); ok {
		t.Error("an answer was remembered for an hour")
	}
}

func addrs(list ...string) (all []netip.Addr) {
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func TestPolicyAnyHost(t *testing.T) {
	p := newPolicy(t, "*:443")
	for to, want := range map[string]bool{"93.184.216.34:443": true, "93.184.216.34:80": false, "10.0.0.1:443": false, "169.254.169.254:443": false} {
		if _, ok := p.Dial(netip.MustParseAddrPort(to), now); ok != want {
			t.Errorf("%s: %v", to, ok)
		}
	}
}

func TestPolicyLoopback(t *testing.T) {
	p := newPolicy(t, "localhost:5432", "127.0.0.1:80", "[::1]:81")
	if got := p.Loopback(); !slices.Equal(got, []uint16{5432, 80, 81}) || p.Remote() {
		t.Error(got, p.Remote())
	}
}

func TestPolicyErrors(t *testing.T) {
	for _, line := range []string{"", "host", "host:", "host:0", "host:70000", ":80", "10.0.0.0/40:80", "[2001:db8::]/32:80", "2001:db8::1:80x", "localhost:*"} {
		if _, err := NewPolicy([]string{line}); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
}

func TestPolicyForgets(t *testing.T) {
	p := newPolicy(t, "*.test:443")
	for i := range 3 * answersAtMost {
		p.Answer("a.test", []netip.Addr{netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)})}, now)
	}
	if len(p.resolved) > answersAtMost {
		t.Errorf("%d addresses are remembered", len(p.resolved))
	}
}

func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"api.test.", "other.test."} {
		q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
		b, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	p := newPolicy(f, "api.test:443")
	refuse := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	f.Fuzz(func(t *testing.T, query []byte) {
		reply := NewGate(p, nil, refuse).answer(t.Context(), query)
		var m dnsmessage.Message
		if reply != nil && m.Unpack(reply) != nil {
			t.Errorf("the reply to %x cannot be read", query)
		}
		if len(m.Answers) > 0 {
			t.Errorf("%x was answered", query)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add("api.stripe.com:443")
	f.Add("*.example.com:*")
	f.Add("10.0.0.0/8:5432")
	f.Fuzz(func(t *testing.T, line string) {
		p, err := NewPolicy([]string{line})
		if err != nil {
			return
		}
		if _, ok := p.Dial(netip.MustParseAddrPort("169.254.169.254:80"), now); ok && !strings.ContainsAny(line, "0123456789") {
			t.Errorf("%q opens the metadata service", line)
		}
	})
}
