package daemon

import (
	"errors"
	"net"
	"syscall"

	"github.com/mayfly-cloud/mayfly"
)

// listeners are the node's open ports.
type listeners struct{ gateway, api, s3 net.Listener }

func (c Config) listen() (l listeners, err error) {
	for _, p := range []struct {
		flag, addr string
		to         *net.Listener
	}{{"--gateway", c.Gateway, &l.gateway}, {"--api", c.API, &l.api}, {"--s3", c.S3, &l.s3}} {
		*p.to, err = net.Listen("tcp", p.addr)
		if err != nil {
			l.close()
			return l, portError(p.flag, p.addr, err)
		}
	}
	return l, nil
}

func portError(flag, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return mayfly.Errorf(mayfly.Conflict, "", "%s is in use by another program; choose another address with %s, such as %s 127.0.0.1:0 for a free port", addr, flag, flag)
	case errors.Is(err, syscall.EACCES):
		return mayfly.Errorf(mayfly.Denied, "", "this user may not listen on %s; choose a port above 1023 with %s", addr, flag)
	}
	return mayfly.Errorf(mayfly.Invalid, "", "cannot listen on %s (%s): %w", addr, flag, err)
}

func (l listeners) close() {
	for _, x := range []net.Listener{l.gateway, l.api, l.s3} {
		if x != nil {
			_ = x.Close()
		}
	}
}
