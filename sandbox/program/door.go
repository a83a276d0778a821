package program

import (
	"fmt"
	"net"
	"strconv"

	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Door is a port of the program's loopback that the driver serves. Its address
// is known before the program starts, so that it can be in the environment:
// where cells have a loopback of their own the wanted port is free, elsewhere
// the daemon listens on one that is.
type Door struct {
	port int
	own  net.Listener // where the program shares the machine's loopback
}

// OpenDoor chooses the port.
func OpenDoor(l *process.Launcher, want int) (*Door, error) {
	port, err := l.Port(want)
	if err != nil {
		return nil, err
	}
	if port == want {
		return &Door{port: port}, nil
	}
	own, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the program: %w", err)
	}
	return &Door{port: own.Addr().(*net.TCPAddr).Port, own: own}, nil
}

// Addr is what the program dials.
func (d *Door) Addr() string { return "127.0.0.1:" + strconv.Itoa(d.port) }

// Listen is for Command.Listen.
func (d *Door) Listen() []int {
	if d.own != nil {
		return nil
	}
	return []int{d.port}
}

// Listener accepts the program's connections. Whoever serves it closes it.
func (d *Door) Listener(p *process.Process) net.Listener {
	if d.own != nil {
		return d.own
	}
	return p.Listener(0)
}

// Close is for a door whose program did not start.
func (d *Door) Close() {
	if d.own != nil {
		d.own.Close()
	}
}
