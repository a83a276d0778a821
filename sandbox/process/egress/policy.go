package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Policy is what one instance may reach. It is safe for concurrent use.
type Policy struct {
	names    []nameRule
	networks []networkRule
	loopback []uint16

	mu       sync.Mutex
	resolved map[netip.Addr]map[string]time.Time // guarded by mu; names by address, until when
}

// nameRule opens a port of a name; port 0 opens all.
type nameRule struct {
	name   string // lower case, without the dot at its end; "" is every name
	within bool   // the names below name, not itself
	port   uint16
}

// networkRule opens a port of a network; port 0 opens all.
type networkRule struct {
	prefix netip.Prefix
	port   uint16
}

// Limits of what a policy remembers of a cell's names.
const (
	answerTTL     = 30 * time.Second
	answerKept    = 15 * time.Minute // pools of connections dial long after a look-up
	answersAtMost = 4096
)

// NewPolicy reads a function's egress lines: HOST:PORT, *.DOMAIN:PORT,
// ADDRESS:PORT, ADDRESS/BITS:PORT, and * for any port or any public host.
func NewPolicy(lines []string) (*Policy, error) {
	p := &Policy{resolved: map[netip.Addr]map[string]time.Time{}}
	for _, line := range lines {
		if err := p.add(line); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Policy) add(line string) error {
	host, port, err := split(line)
	if err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = netip.PrefixFrom(addr, addr.BitLen()).String()
	}
	prefix, err := netip.ParsePrefix(host)
	switch {
	case host == "localhost", err == nil && prefix.Addr().IsLoopback():
		if port == 0 {
			return fmt.Errorf("egress %q: name the port of a service on this machine", line)
		}
		p.loopback = append(p.loopback, port)
	case err == nil && !prefix.Addr().Is4():
		return fmt.Errorf("egress %q: sandboxes have IPv4 only", line)
	case err == nil:
		p.networks = append(p.networks, networkRule{prefix.Masked(), port})
	case strings.Contains(host, "/"):
		return fmt.Errorf("egress %q: %q is not a network", line, host)
	case host == "*":
		p.names = append(p.names, nameRule{"", true, port})
	default:
		name, within := strings.CutPrefix(canonical(host), "*.")
		p.names = append(p.names, nameRule{name, within, port})
	}
	return nil
}

// split takes a line apart; port 0 stands for "*".
func split(line string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(line, ':')
	if i <= 0 {
		return "", 0, fmt.Errorf("egress %q: write HOST:PORT", line)
	}
	host = strings.TrimSuffix(strings.TrimPrefix(line[:i], "["), "]")
	if line[i+1:] == "*" {
		return host, 0, nil
	}
	n, err := strconv.ParseUint(line[i+1:], 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("egress %q: %q is not a port", line, line[i+1:])
	}
	return host, uint16(n), nil
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Loopback are ports of this machine's own loopback that lines name. A cell's
// loopback is its own, so that they are not reached through the stack.
func (p *Policy) Loopback() []uint16 { return slices.Clone(p.loopback) }

// Remote reports whether any line names something that is not this machine.
func (p *Policy) Remote() bool { return len(p.names)+len(p.networks) > 0 }

// Name reports whether some port of a name is open.
func (p *Policy) Name(name string) bool {
	return slices.ContainsFunc(p.names, func(r nameRule) bool { return r.matches(canonical(name)) })
}

func (r nameRule) matches(name string) bool {
	if !r.within {
		return name == r.name
	}
	return r.name == "" || strings.HasSuffix(name, "."+r.name)
}

// Answer keeps of a name's addresses those that it may have, and remembers
// them for Dial.
func (p *Policy) Answer(name string, addrs []netip.Addr, now time.Time) (kept []netip.Addr) {
	name = canonical(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	for _, a := range addrs {
		a = a.Unmap()
		if !a.Is4() || !public(a) && !p.named(a) {
			continue
		}
		kept = append(kept, a)
		if p.resolved[a] == nil {
			p.resolved[a] = map[string]time.Time{}
		}
		p.resolved[a][name] = now.Add(answerKept)
	}
	return kept
}

// forget drops what is too old, once there is much. p.mu is held.
func (p *Policy) forget(now time.Time) {
	if len(p.resolved) < answersAtMost {
		return
	}
	for a, names := range p.resolved {
		for name, until := range names {
			if now.After(until) {
				delete(names, name)
			}
		}
		if len(names) == 0 {
			delete(p.resolved, a)
		}
	}
	if len(p.resolved) >= answersAtMost {
		clear(p.resolved)
	}
}

// named reports whether a line names an address or its network.
func (p *Policy) named(a netip.Addr) bool {
	return slices.ContainsFunc(p.networks, func(r networkRule) bool { return r.prefix.Contains(a) })
}

// Dial reports whether a connection may be made, and where not, the line that
// would allow it.
func (p *Policy) Dial(to netip.AddrPort, now time.Time) (line string, ok bool) {
	addr, port := to.Addr().Unmap(), to.Port()
	for _, r := range p.networks {
		if r.prefix.Contains(addr) && (r.port == 0 || r.port == port) {
			return "", true
		}
	}
	line = netip.AddrPortFrom(addr, port).String()
	if !public(addr) {
		return line, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var latest time.Time
	for name, until := range p.resolved[addr] {
		if now.After(until) {
			continue
		}
		if p.open(name, port) {
			return "", true
		}
		if until.After(latest) { // of several names, the one that was meant
			latest, line = until, name+":"+strconv.Itoa(int(port))
		}
	}
	if p.open("", port) { // "*" opens addresses that nobody looked up
		return "", true
	}
	return line, false
}

// open reports whether a line opens a port of a name.
func (p *Policy) open(name string, port uint16) bool {
	return slices.ContainsFunc(p.names, func(r nameRule) bool {
		return (r.port == 0 || r.port == port) && r.matches(name)
	})
}

// special are networks that are not of the public internet (IANA's IPv4
// special-purpose address registry), the clouds' metadata services among them.
var special = func() (all []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32", // Azure's metadata and agent
	} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}()

// public reports whether an address is of the public internet.
func public(a netip.Addr) bool {
	return a.Is4() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}
