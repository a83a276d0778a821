package process

import (
	"context"
	"errors"
	"net"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process/egress"
)

// metered is the dialer of a cell's egress, whose connections tell the meter
// what code sent.
func (w *walls) metered(who mayfly.Caller) egress.DialFunc {
	meter, ok := w.cfg.Egress.(EgressMeter)
	if !ok {
		return w.dial
	}
	dial := w.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &meteredConn{Conn: c, sent: func(n int) { meter.EgressSent(who, n) }}, nil
	}
}

// meteredConn counts what is written.
type meteredConn struct {
	net.Conn
	sent func(n int)
}

func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.sent(n)
	}
	return n, err
}

// CloseWrite passes the end of what code sent on; only TCP has one.
func (c *meteredConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
