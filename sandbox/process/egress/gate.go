package egress

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Gate is what stands between one instance and the world: it answers names and
// judges connections by a Policy, and tells of refusals. It is safe for
// concurrent use.
type Gate struct {
	policy   *Policy
	refused  func(target, line string)
	resolver *net.Resolver

	mu   sync.Mutex
	told map[string]time.Time // guarded by mu; when a target's refusal was last told
}

// NewGate makes a gate. Refused is told of each refusal, with the line that
// would allow it, at most once a minute per target; it may be nil. A nil
// resolver is the machine's.
func NewGate(p *Policy, refused func(target, line string), resolver *net.Resolver) *Gate {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if refused == nil {
		refused = func(string, string) {}
	}
	return &Gate{policy: p, refused: refused, resolver: resolver, told: map[string]time.Time{}}
}

// allowed judges a flow and tells of its refusal.
func (g *Gate) allowed(to netip.AddrPort) bool {
	line, ok := g.policy.Dial(to, time.Now())
	if !ok {
		g.refuse(to.String(), line)
	}
	return ok
}

// refuse tells of a refusal.
func (g *Gate) refuse(target, line string) {
	now := time.Now()
	g.mu.Lock()
	again := now.Sub(g.told[target]) < time.Minute
	if len(g.told) > 1000 {
		clear(g.told)
	}
	if !again {
		g.told[target] = now
	}
	g.mu.Unlock()
	if !again {
		g.refused(target, line)
	}
}

const (
	nameTimeout  = 10 * time.Second
	namesAtOnce  = 16 // of one cell
	longestQuery = 512
)

// ServeNames answers DNS queries (RFC 1035) that come to conn, a UDP port of
// the cell, until conn is closed.
func (g *Gate) ServeNames(conn net.PacketConn) {
	ctx, end := context.WithCancel(context.Background())
	turns := make(chan struct{}, namesAtOnce)
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	for {
		b := make([]byte, longestQuery)
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			if reply := g.answer(ctx, b[:n]); reply != nil {
				conn.WriteTo(reply, from)
			}
		})
	}
}

// answer is the reply to a query, nil for what is none.
func (g *Gate) answer(ctx context.Context, query []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil || head.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: head.ID, Response: true, RecursionDesired: head.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	addrs, code := g.resolve(ctx, q)
	reply.RCode = code
	for _, a := range addrs {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: uint32(answerTTL.Seconds())},
			Body:   &dnsmessage.AResource{A: a.As4()},
		})
	}
	b, err := reply.Pack()
	if err != nil {
		return nil
	}
	return b
}

// addressesAtMost keeps a reply below the 512 bytes of a plain datagram.
const addressesAtMost = 12

// resolve finds the addresses that a question may have. Questions for other
// things than IPv4 addresses have no answer: their content would be a channel
// out.
func (g *Gate) resolve(ctx context.Context, q dnsmessage.Question) ([]netip.Addr, dnsmessage.RCode) {
	name := canonical(q.Name.String())
	if !g.policy.Name(name) {
		g.refuse(name, name+":443")
		return nil, dnsmessage.RCodeNameError
	}
	if q.Type != dnsmessage.TypeA || q.Class != dnsmessage.ClassINET {
		return nil, dnsmessage.RCodeSuccess
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	found, err := g.resolver.LookupNetIP(ctx, "ip4", name+".")
	if err != nil {
		if notFound, ok := err.(*net.DNSError); ok && notFound.IsNotFound {
			return nil, dnsmessage.RCodeNameError
		}
		return nil, dnsmessage.RCodeServerFailure
	}
	kept := g.policy.Answer(name, found, time.Now())
	if len(kept) == 0 {
		g.refuse(name+" ("+found[0].Unmap().String()+")", found[0].Unmap().String()+":443")
		return nil, dnsmessage.RCodeNameError
	}
	return kept[:min(len(kept), addressesAtMost)], dnsmessage.RCodeSuccess
}
