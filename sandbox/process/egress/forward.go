package egress

import (
	"net"
	"sync"
)

// Forward connects what l accepts to addr, a service of this machine, until l
// is closed. It ends its connections then.
func Forward(l net.Listener, addr string) {
	var f forwards
	defer f.end()
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		f.all.Go(func() { f.one(in, addr) })
	}
}

// forwards are connections under way.
type forwards struct {
	all sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
	ended bool                  // guarded by mu
}

func (f *forwards) one(in net.Conn, addr string) {
	defer f.drop(in)
	out, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer f.drop(out)
	if f.keep(in, out) {
		copyBoth(in.(halfCloser), out.(halfCloser))
	}
}

func (f *forwards) keep(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		f.conns = map[net.Conn]struct{}{}
	}
	for _, c := range conns {
		f.conns[c] = struct{}{}
	}
	return !f.ended
}

func (f *forwards) drop(c net.Conn) {
	c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

func (f *forwards) end() {
	f.mu.Lock()
	f.ended = true
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.all.Wait()
}
