package egress

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// MTU of a cell's device: large, for packets stay on this machine.
const MTU = 16 << 10

// Bounds of one cell.
const (
	connectionsAtMost = 1024 // TCP and UDP together
	dialTimeout       = 30 * time.Second
	quietUDP          = time.Minute // a UDP flow without packets ends
	queueLength       = 512         // packets on the way into the cell
	nic               = 1
)

// Config configures a Stack.
type Config struct {
	Device *os.File // of the cell's network device, non-blocking; the Stack owns it
	Gate   *Gate    // what may pass
	Dial   DialFunc // default net.Dialer's
}

// DialFunc makes the daemon's side of a connection.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Stack is one cell's way out. It is safe for concurrent use.
type Stack struct {
	cfg   Config
	stack *stack.Stack
	link  *channel.Endpoint
	ctx   context.Context // ends with the Stack
	end   context.CancelFunc
	all   sync.WaitGroup // goroutines

	mu    sync.Mutex
	conns map[io.Closer]struct{} // guarded by mu; nil when closed
}

// Open starts a stack. Close ends it.
func Open(cfg Config) (*Stack, error) {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	s := &Stack{cfg: cfg, conns: map[io.Closer]struct{}{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	s.link = channel.New(queueLength, MTU, "")
	s.link.LinkEPCapabilities |= stack.CapabilityRXChecksumOffload // the kernel made them
	if err := s.configure(); err != nil {
		s.Close()
		return nil, err
	}
	s.all.Go(s.receive)
	s.all.Go(s.transmit)
	return s, nil
}

func (s *Stack) configure() error {
	if err := s.stack.CreateNIC(nic, s.link); err != nil {
		return fmt.Errorf("start network stack: %s", err)
	}
	// Every address of the world is this stack's.
	if err := s.stack.SetPromiscuousMode(nic, true); err != nil {
		return fmt.Errorf("start network stack: %s", err)
	}
	if err := s.stack.SetSpoofing(nic, true); err != nil {
		return fmt.Errorf("start network stack: %s", err)
	}
	s.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	sack := tcpip.TCPSACKEnabled(true)
	s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	s.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s.stack, 0, 256, s.acceptTCP).HandlePacket)
	s.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s.stack, s.acceptUDP).HandlePacket)
	return nil
}

// receive takes packets from the cell.
func (s *Stack) receive() {
	b := make([]byte, MTU)
	for {
		n, err := s.cfg.Device.Read(b)
		if err != nil {
			return
		}
		if n == 0 || header.IPVersion(b[:n]) != header.IPv4Version {
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b[:n])})
		s.link.InjectInbound(header.IPv4ProtocolNumber, pkt)
		pkt.DecRef()
	}
}

// transmit brings packets to the cell.
func (s *Stack) transmit() {
	for {
		pkt := s.link.ReadContext(s.ctx)
		if pkt == nil {
			return
		}
		view := pkt.ToView()
		pkt.DecRef()
		_, err := s.cfg.Device.Write(view.AsSlice())
		view.Release()
		if err != nil && s.ctx.Err() != nil {
			return
		}
	}
}

// target is where the cell's side of a flow wants to go.
func target(id stack.TransportEndpointID) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(id.LocalAddress.AsSlice())
	return netip.AddrPortFrom(addr, id.LocalPort)
}

// enter counts a goroutine that the stack did not start itself, unless the
// stack is closed.
func (s *Stack) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return false
	}
	s.all.Add(1)
	return true
}

// acceptTCP connects one connection of the cell, or resets it. It is called on
// a goroutine of the forwarder.
func (s *Stack) acceptTCP(r *tcp.ForwarderRequest) {
	if !s.enter() {
		r.Complete(true)
		return
	}
	defer s.all.Done()
	out := s.dial("tcp4", target(r.ID()))
	if out == nil {
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	ep, err := r.CreateEndpoint(&queue)
	r.Complete(false)
	if err != nil {
		s.drop(out)
		return
	}
	s.relay(gonet.NewTCPConn(&queue, ep), out)
}

// dial connects the daemon's side of a flow. It returns nil where the flow is
// refused, or cannot be made.
func (s *Stack) dial(network string, to netip.AddrPort) net.Conn {
	if !s.cfg.Gate.allowed(to) {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	conn, err := s.cfg.Dial(ctx, network, to.String())
	if err != nil || !s.keep(conn) {
		return nil
	}
	return conn
}

// keep makes Close close c. It reports false, having closed c, where there are
// too many or the stack is closed.
func (s *Stack) keep(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= connectionsAtMost {
		c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// drop closes what keep kept.
func (s *Stack) drop(c io.Closer) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// halfCloser is a TCP connection of either side.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// relay copies both ways until both are done. It takes over both connections.
func (s *Stack) relay(in halfCloser, out net.Conn) {
	defer s.drop(out)
	if !s.keep(in) {
		return
	}
	defer s.drop(in)
	copyBoth(in, out.(halfCloser))
}

// copyBoth copies both ways until both are done.
func copyBoth(a, b halfCloser) {
	var back sync.WaitGroup
	back.Go(func() { copyHalf(a, b) })
	copyHalf(b, a)
	back.Wait()
}

// copyHalf copies one way and passes the end on.
func copyHalf(to, from halfCloser) {
	if _, err := io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from}); err != nil {
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}

// acceptUDP relays a flow of datagrams.
func (s *Stack) acceptUDP(r *udp.ForwarderRequest) bool {
	to := target(r.ID())
	if !s.cfg.Gate.allowed(to) {
		return false // the stack answers that the port is unreachable
	}
	var queue waiter.Queue
	ep, err := r.CreateEndpoint(&queue)
	if err != nil {
		return true
	}
	in := gonet.NewUDPConn(&queue, ep)
	if !s.keep(in) || !s.enter() {
		return true
	}
	go func() {
		defer s.all.Done()
		defer s.drop(in)
		s.relayUDP(in, to)
	}()
	return true
}

func (s *Stack) relayUDP(in net.Conn, to netip.AddrPort) {
	out := s.dial("udp4", to)
	if out == nil {
		return
	}
	defer s.drop(out)
	var both sync.WaitGroup
	both.Go(func() { copyDatagrams(out, in) })
	both.Go(func() { copyDatagrams(in, out) })
	both.Wait()
}

// copyDatagrams copies one way until a minute without any.
func copyDatagrams(to, from net.Conn) {
	b := make([]byte, MTU)
	for {
		from.SetReadDeadline(time.Now().Add(quietUDP))
		n, err := from.Read(b)
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			from.Close()
			return
		}
	}
}

// Close ends every flow and waits for its goroutines. It may be called again.
func (s *Stack) Close() {
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	if conns == nil {
		return
	}
	s.end()
	for c := range conns {
		c.Close()
	}
	s.cfg.Device.Close()
	s.link.Close()
	s.stack.Close()
	s.stack.Wait()
	s.all.Wait()
}
