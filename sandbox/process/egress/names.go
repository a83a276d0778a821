package egress

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	nameTimeout  = 10 * time.Second
	namesAtOnce  = 16 // of one flow
	quietNames   = 15 * time.Second
	longestQuery = 512
)

// serveNames answers one flow of DNS queries (RFC 1035) until it is quiet.
func (s *Stack) serveNames(conn net.Conn) {
	turns := make(chan struct{}, namesAtOnce)
	for {
		b := make([]byte, longestQuery)
		conn.SetReadDeadline(time.Now().Add(quietNames))
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		turns <- struct{}{}
		s.all.Go(func() {
			defer func() { <-turns }()
			if reply := s.answer(b[:n]); reply != nil {
				conn.Write(reply)
			}
		})
	}
}

// answer is the reply to a query, nil for what is none.
func (s *Stack) answer(query []byte) []byte {
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
	addrs, code := s.resolve(q)
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
func (s *Stack) resolve(q dnsmessage.Question) ([]netip.Addr, dnsmessage.RCode) {
	name := canonical(q.Name.String())
	if !s.cfg.Policy.Name(name) {
		s.refuse(name, name+":443")
		return nil, dnsmessage.RCodeNameError
	}
	if q.Type != dnsmessage.TypeA || q.Class != dnsmessage.ClassINET {
		return nil, dnsmessage.RCodeSuccess
	}
	ctx, cancel := context.WithTimeout(s.ctx, nameTimeout)
	defer cancel()
	found, err := s.cfg.Resolver.LookupNetIP(ctx, "ip4", name+".")
	if err != nil {
		if notFound, ok := err.(*net.DNSError); ok && notFound.IsNotFound {
			return nil, dnsmessage.RCodeNameError
		}
		return nil, dnsmessage.RCodeServerFailure
	}
	kept := s.cfg.Policy.Answer(name, found, time.Now())
	if len(kept) == 0 {
		s.refuse(name+" ("+found[0].Unmap().String()+")", found[0].Unmap().String()+":443")
		return nil, dnsmessage.RCodeNameError
	}
	return kept[:min(len(kept), addressesAtMost)], dnsmessage.RCodeSuccess
}
