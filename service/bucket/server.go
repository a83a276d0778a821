package bucket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/versity/versitygw/debuglogger"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"

	"github.com/mayfly-cloud/mayfly"
)

// Most connections and requests at once, of all doors together.
const (
	maxConnections = 16_384
	maxRequests    = 4_096
)

// server is versitygw on a unix socket. Connections of the S3 port and of the
// doors are joined to it: the signature says who calls.
type server struct {
	d      *Driver
	api    *s3api.S3ApiServer
	socket string
	remove func() // the socket's folder

	mu        sync.Mutex
	state     int               // guarded by mu
	joined    map[net.Conn]bool // guarded by mu
	settled   chan struct{}     // closed when start returned
	listening chan struct{}     // closed when versitygw says that it listens
	ready     chan struct{}     // closed when it answers
	ended     chan struct{}     // closed when versitygw returned
	failed    error             // read after ended
	group     sync.WaitGroup    // of joined connections and listeners
	listens   map[net.Listener]bool
	pids      sync.Map // of named connections: the process whose door it came through
}

const (
	idle = iota
	running
	stopped
)

func newServer(d *Driver) (*server, error) {
	utils.SetBucketNameValidationStrict(true)
	debuglogger.SetLevel(debuglogger.LevelSilent)
	socket, remove, err := socketName()
	if err != nil {
		return nil, err
	}
	s := &server{
		d: d, socket: socket, remove: remove, joined: map[net.Conn]bool{}, listens: map[net.Listener]bool{},
		listening: make(chan struct{}), ready: make(chan struct{}), settled: make(chan struct{}), ended: make(chan struct{}),
	}
	root := middlewares.RootUserConfig{Access: d.keys.admin.Access, Secret: d.keys.admin.Secret}
	s.api, err = s3api.New(d.gate, root, Region, d.keys, nil, nil, nil, nil,
		s3api.WithConcurrencyLimiter(maxConnections, maxRequests), s3api.WithQuiet(), s3api.WithKeepAlive(),
		s3api.WithAdminServer(), s3api.WithMpMaxParts(10_000), s3api.WithSocketPerm(0o600), s3api.WithOnListen(func() { close(s.listening) }),
		s3api.WithMiddleware("/", d.renewed))
	if err != nil {
		remove()
		return nil, err
	}
	return s, nil
}

// socketName is where versitygw listens: on Linux a name without a file, of which a
// kill leaves nothing; elsewhere a file in a folder of its own, which remove
// removes.
func socketName() (name string, remove func(), err error) {
	if runtime.GOOS == "linux" {
		return "@mayfly-s3-" + mayfly.NewID(), func() {}, nil
	}
	dir, err := os.MkdirTemp("", "mayfly-s3-") // short: a socket's path has 108 bytes at most
	return filepath.Join(dir, "s3"), func() { _ = os.RemoveAll(dir) }, err
}

// start serves the socket; it returns when it answers.
func (s *server) start() error {
	s.mu.Lock()
	if s.state != idle {
		s.mu.Unlock()
		return nil
	}
	s.state = running
	s.mu.Unlock()
	defer close(s.settled)
	go func() {
		defer close(s.ended)
		s.failed = s.api.ServeMultiPort([]string{s.socket})
	}()
	select {
	case <-s.listening:
	case <-s.ended:
		return fmt.Errorf("serve S3: %w", s.failed)
	}
	if err := s.probe(); err != nil {
		return fmt.Errorf("serve S3: %w", err)
	}
	close(s.ready)
	return nil
}

// probe makes one request. versitygw says that it listens before it can be shut
// down; once it has answered it can.
func (s *server) probe() error {
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: s3\r\nConnection: close\r\n\r\n")); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// stop closes every connection and waits for versitygw.
func (s *server) stop() {
	s.mu.Lock()
	was := s.state
	s.state = stopped
	for l := range s.listens {
		_ = l.Close()
	}
	for c := range s.joined {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
	if was == running {
		<-s.settled
		_ = s.api.ShutDown()
		<-s.ended
	}
	if was != stopped {
		s.d.files.Shutdown()
		s.remove()
	}
}

// Serve joins the connections of a listener to the service until the listener
// closes. Every request is signed, and a function has its own key only; who
// tells which of its instances it is.
func (d *Driver) Serve(l net.Listener, who mayfly.Caller) { d.server.serve(l, who.PID) }

// ServePublic is Serve for the S3 port, whose address presigned URLs have.
func (d *Driver) ServePublic(l net.Listener) {
	url := "http://" + l.Addr().String()
	d.url.Store(&url)
	d.server.serve(l, 0)
}

func (s *server) serve(l net.Listener, pid int) {
	defer l.Close()
	s.mu.Lock()
	if s.state == stopped {
		s.mu.Unlock()
		return
	}
	s.listens[l] = true
	s.group.Add(1)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listens, l)
		s.mu.Unlock()
		s.group.Done()
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			return
		}
		if !s.hold(c) {
			_ = c.Close()
			return
		}
		go s.join(c, pid)
	}
}

func (s *server) hold(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stopped {
		return false
	}
	s.joined[c] = true
	s.group.Add(1)
	return true
}

func (s *server) drop(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	delete(s.joined, c)
	s.mu.Unlock()
	s.group.Done()
}

// join copies both ways until one side ends.
func (s *server) join(client net.Conn, pid int) {
	defer s.drop(client)
	select {
	case <-s.ready:
	case <-time.After(10 * time.Second): // Run was never called
		return
	}
	inner, forget, err := s.dial(pid)
	if err != nil {
		return
	}
	defer forget()
	if !s.hold(inner) {
		_ = inner.Close()
		return
	}
	var once sync.Once
	end := func() { _ = client.Close(); _ = inner.Close() }
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer once.Do(end)
		_, _ = io.Copy(inner, client)
	}()
	_, _ = io.Copy(client, inner)
	once.Do(end)
	<-done
	s.drop(inner)
}
