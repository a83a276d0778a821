package runtimeapi

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Port is where programs find the Runtime API on their loopback.
const Port = 9001

// maxConns bounds the connections of one instance beyond one for each call it
// may run at once: what a program holds open costs the daemon memory.
const maxConns = 64

// remembered is how many answered ids a Server knows, to tell a second answer
// from a forged id.
const remembered = 8

// Config configures a Server.
type Config struct {
	PerInstance int // calls at once; default 1
	MaxReply    int // bytes of a reply that does not stream; default mayfly.MaxEvent
}

// Server is the Runtime API of one instance. It is safe for concurrent use.
//
// Invariant: a call is in exactly one of waiting and flying until it is
// answered, withdrawn by its caller, or failed by Fail.
type Server struct {
	config Config
	ready  chan struct{} // closed at the first poll, an init error, or Fail

	mu       sync.Mutex
	waiting  []*call            // guarded by mu; accepted, no poll has taken them
	polls    []*conn            // guarded by mu; parked, longest first
	flying   map[string]*call   // guarded by mu; by id
	answered [remembered]string // guarded by mu; a ring
	next     int                // guarded by mu; place in answered
	last     *sandbox.Call      // guarded by mu; handed out last
	started  bool               // guarded by mu; ready is closed
	initErr  error              // guarded by mu; what POST init/error said
	failed   error              // guarded by mu; set by Fail
	conns    map[*conn]struct{} // guarded by mu
	listener net.Listener       // guarded by mu
}

// call is one Call in progress.
type call struct {
	*sandbox.Call
	deadline time.Time
	done     chan outcome // buffered by one; whoever removes the call from waiting or flying may send
	claimed  bool         // guarded by Server.mu; an answer is being read
}

type outcome struct {
	reply *sandbox.Reply
	err   error
}

// New returns a Server that serves nothing yet.
func New(config Config) *Server {
	config.PerInstance = max(config.PerInstance, 1)
	if config.MaxReply == 0 {
		config.MaxReply = int(mayfly.MaxEvent)
	}
	return &Server{
		config: config,
		ready:  make(chan struct{}),
		flying: map[string]*call{},
		conns:  map[*conn]struct{}{},
	}
}

// Serve accepts the program's connections until Fail is called or l is closed
// by another, and returns when all its connections are gone. It closes l.
func (s *Server) Serve(l net.Listener) {
	if !s.adopt(l) {
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c := newConn(s, nc)
		if !s.admit(c) {
			nc.Close()
			continue
		}
		all.Go(c.serve)
	}
}

// adopt makes Fail close l. It reports false where Fail was first.
func (s *Server) adopt(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		l.Close()
		return false
	}
	s.listener = l
	return true
}

func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil || len(s.conns) >= maxConns+2*s.config.PerInstance {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// Ready is closed when the program has asked for its first event, reported a
// failed initialisation, or ended.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// InitError is what the program reported of its initialisation: a
// *mayfly.FunctionError, or nil.
func (s *Server) InitError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.initErr
}

// Polled reports whether the program has asked for an event.
func (s *Server) Polled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started && s.initErr == nil && s.failed == nil
}

// Current is the call that a line of output belongs to: the only one flying,
// or the last one where no other can have begun. It is nil where that is not
// known.
func (s *Server) Current() *sandbox.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.flying) == 1 {
		for _, c := range s.flying {
			return c.Call
		}
	}
	if len(s.flying) == 0 && s.config.PerInstance == 1 {
		return s.last
	}
	return nil
}

// Call hands one event to the program and waits for its answer, which is a
// *mayfly.FunctionError where the program reported one. It returns at once when
// ctx ends, and with the cause given to Fail when the program is gone.
func (s *Server) Call(ctx context.Context, in *sandbox.Call) (*sandbox.Reply, error) {
	c := &call{Call: in, deadline: deadlineOf(ctx, in), done: make(chan outcome, 1)}
	if err := s.submit(c); err != nil {
		return nil, err
	}
	select {
	case o := <-c.done:
		return o.reply, o.err
	case <-ctx.Done():
		s.withdraw(c)
		return nil, ctx.Err()
	}
}

// deadlineOf is when the event must be answered; without one it is far away.
func deadlineOf(ctx context.Context, in *sandbox.Call) time.Time {
	if !in.Deadline.IsZero() {
		return in.Deadline
	}
	if d, ok := ctx.Deadline(); ok {
		return d
	}
	return time.Now().Add(mayfly.MaxTimeout.D())
}

// submit gives the call to a parked poll, or lets it wait for one.
func (s *Server) submit(c *call) error {
	for {
		s.mu.Lock()
		if s.failed != nil {
			defer s.mu.Unlock()
			return s.failed
		}
		if _, twice := s.flying[c.ID]; twice || c.ID == "" {
			s.mu.Unlock()
			return mayfly.Errorf(mayfly.Conflict, "call", "an invocation with the id %q is running", c.ID)
		}
		if len(s.polls) == 0 {
			s.waiting = append(s.waiting, c)
			s.mu.Unlock()
			return nil
		}
		poll := s.polls[0]
		s.polls = slices.Delete(s.polls, 0, 1)
		s.launch(poll, c)
		s.mu.Unlock()
		if poll.sendEvent(c) == nil {
			return nil
		}
		// The program went away from this poll: another may take the call.
		poll.close()
		s.forget(c)
	}
}

// launch marks c as handed to poll. Callers hold mu.
func (s *Server) launch(poll *conn, c *call) {
	poll.parked = false
	s.flying[c.ID] = c
	s.last = c.Call
}

// poll parks a connection that asked for the next event, or gives it one that
// waits.
func (s *Server) poll(p *conn) error {
	s.mu.Lock()
	if s.failed != nil {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.start(nil)
	if len(s.waiting) == 0 {
		p.parked = true
		s.polls = append(s.polls, p)
		s.mu.Unlock()
		return nil
	}
	c := s.waiting[0]
	s.waiting = slices.Delete(s.waiting, 0, 1)
	s.launch(p, c)
	s.mu.Unlock()
	if err := p.sendEvent(c); err != nil {
		s.requeue(c)
		return err
	}
	return nil
}

// start closes ready once. Callers hold mu.
func (s *Server) start(initErr error) {
	if !s.started {
		s.started, s.initErr = true, initErr
		close(s.ready)
	}
}

// requeue gives a call whose poll broke before the event was written to
// another poll.
func (s *Server) requeue(c *call) {
	if !s.forget(c) {
		return
	}
	if err := s.submit(c); err != nil {
		c.done <- outcome{err: err}
	}
}

// forget takes c out of flying and reports whether it was there, unanswered.
func (s *Server) forget(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying[c.ID] != c || c.claimed {
		return false
	}
	delete(s.flying, c.ID)
	return true
}

// withdraw removes a call whose caller has gone.
func (s *Server) withdraw(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, c); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	if s.flying[c.ID] == c {
		s.remember(c.ID)
	}
	select {
	case o := <-c.done:
		if o.reply != nil && o.reply.Body != nil {
			o.reply.Body.Close()
		}
	default:
	}
}

// remember moves an id from flying to answered. Callers hold mu.
func (s *Server) remember(id string) {
	delete(s.flying, id)
	s.answered[s.next] = id
	s.next = (s.next + 1) % remembered
}

// claim finds the flying call with this id for an answer that begins, so that
// no second answer is taken. It returns a refusal otherwise.
func (s *Server) claim(id []byte) (*call, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.flying[string(id)]
	switch {
	case c == nil && slices.Contains(s.answered[:], string(id)) && len(id) > 0:
		return nil, answeredBefore
	case c == nil:
		return nil, unknownID
	case c.claimed:
		return nil, answeredBefore
	}
	c.claimed = true
	return c, nil
}

// unclaim lets the program answer again after a connection broke.
func (s *Server) unclaim(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.claimed = false
	if s.failed != nil && s.flying[c.ID] == c {
		delete(s.flying, c.ID)
		c.done <- outcome{err: s.failed}
	}
}

// finish answers a claimed call.
func (s *Server) finish(c *call, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying[c.ID] == c {
		s.remember(c.ID)
	}
	c.done <- o
}

// stream answers a claimed call with a body that p's goroutine goes on writing
// to the returned end. The call flies until streamed. It reports false where
// the server failed meanwhile.
func (s *Server) stream(p *conn, c *call, meta *sandbox.Meta) (*io.PipeWriter, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, false
	}
	r, w := io.Pipe()
	p.pipe = w
	c.done <- outcome{reply: &sandbox.Reply{Body: &streamBody{r, func() { s.streamed(p, c) }}, Meta: meta}}
	return w, true
}

// streamBody is what a caller reads. Its Close ends the call, however long the
// program goes on writing.
type streamBody struct {
	*io.PipeReader
	closed func()
}

func (b *streamBody) Close() error {
	err := b.PipeReader.Close()
	b.closed()
	return err
}

// streamed ends a streaming call. It may be called twice.
func (s *Server) streamed(p *conn, c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying[c.ID] == c {
		s.remember(c.ID)
	}
}

// initFailed takes what POST init/error said. It reports false after the first
// poll, when initialisation is over.
func (s *Server) initFailed(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return false
	}
	s.start(err)
	return true
}

// Fail ends every call with err and closes the listener and all connections.
// The first call counts.
func (s *Server) Fail(err error) {
	if err == nil {
		err = errors.New("the program is gone")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return
	}
	s.failed = err
	s.start(nil)
	for _, c := range s.waiting {
		c.done <- outcome{err: err}
	}
	for id, c := range s.flying {
		if !c.claimed {
			delete(s.flying, id)
			c.done <- outcome{err: err}
		}
	}
	s.waiting, s.polls = nil, nil
	for c := range s.conns {
		c.close()
		if c.pipe != nil {
			c.pipe.CloseWithError(err)
		}
	}
	if s.listener != nil {
		s.listener.Close()
	}
}

// cause is why the program's connections broke.
func (s *Server) cause(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	return err
}

// drop forgets a connection. A poll that was parked takes no more events.
func (s *Server) drop(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if i := slices.Index(s.polls, c); i >= 0 {
		s.polls = slices.Delete(s.polls, i, i+1)
	}
}
