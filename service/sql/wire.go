package sql

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/mayfly-cloud/mayfly"
)

// Limits of clients that speak PostgreSQL's protocol.
const (
	maxSessions = 10_000
	maxMessage  = 16 << 20
)

// Login tells who has a password.
type Login func(password string) (mayfly.Caller, error)

// session is one client that speaks PostgreSQL's protocol, as any driver does. It
// may be there for as long as its program; it has one of the pool's connections
// from the first statement of a transaction until that ends, and between
// transactions none. What it set and prepared goes with it from one connection to
// the next.
//
// One goroutine reads, so that a client that vanishes is noticed while its
// statement runs; all else is the other's that serves.
type session struct {
	d      *Driver
	conn   net.Conn
	client *pgproto3.Backend
	app    mayfly.AppName
	name   string // of the database
	key    cancelKey

	cancel   context.CancelFunc
	messages chan pgproto3.FrontendMessage // each is valid until next is told
	next     chan struct{}                 // holds a token when the next may be read
	holding  bool                          // a message came, and the next may not be read yet
	skipping bool                          // until Sync: what was refused is not run in part
	settings map[string]string             // that the client made
	custom   map[string]bool               // names of those that the server does not list
	prepared map[string]*preparedStatement // by their names; that without one too

	mu   sync.Mutex
	lent *pgconn.PgConn // guarded by mu; nil between transactions
}

// cancelKey is what a client says to have another of its connections' statement
// stopped.
type cancelKey struct{ id, secret uint32 }

// sessions are those of a node.
type sessions struct {
	mu    sync.Mutex
	open  map[cancelKey]*session // guarded by mu
	group sync.WaitGroup
	ended bool // guarded by mu
}

// errGoodbye ends a session whose client said so.
var errGoodbye = errors.New("the client ends the session")

// serveWire talks to one client until it or ctx ends, which cancel ends. login is
// nil where the caller is in ctx.
func (d *Driver) serveWire(ctx context.Context, cancel context.CancelFunc, conn net.Conn, app mayfly.AppName, name string, login Login) {
	defer cancel()
	var key [8]byte
	rand.Read(key[:])
	s := &session{
		d: d, cancel: cancel, conn: conn, client: pgproto3.NewBackend(conn, conn), app: app, name: name,
		key:      cancelKey{binary.BigEndian.Uint32(key[:]), binary.BigEndian.Uint32(key[4:])},
		messages: make(chan pgproto3.FrontendMessage), next: make(chan struct{}, 1), settings: map[string]string{}, custom: map[string]bool{}, prepared: map[string]*preparedStatement{},
	}
	defer conn.Close()
	if !d.sessions.add(s) {
		s.fatal(mayfly.Errorf(mayfly.Throttled, "open session", "there are %d already, or the node is closing", maxSessions))
		return
	}
	defer d.sessions.remove(s)
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	ctx, err := s.start(ctx, login)
	if err != nil {
		s.fatal(err)
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		s.read(ctx)
	}()
	if err := s.serve(ctx); err != nil && ctx.Err() == nil {
		s.fatal(err)
	}
	_ = conn.Close()
	<-ended
}

func (s *sessions) add(one *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.open) >= maxSessions {
		return false
	}
	if s.open == nil {
		s.open = map[cancelKey]*session{}
	}
	s.open[one.key] = one
	s.group.Add(1)
	return true
}

func (s *sessions) remove(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one.key)
	s.group.Done()
}

// end closes all sessions and waits for them; no others begin.
func (s *sessions) end() {
	s.mu.Lock()
	s.ended = true
	for _, one := range s.open {
		one.cancel()
	}
	s.mu.Unlock()
	s.group.Wait()
}

// count is how many sessions a database has.
func (s *sessions) count(app mayfly.AppName, name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.open {
		if one.app == app && one.name == name {
			n++
		}
	}
	return n
}

// cancel stops the statement of a session, where the key is one's.
func (s *sessions) cancel(ctx context.Context, key cancelKey) {
	s.mu.Lock()
	one := s.open[key]
	s.mu.Unlock()
	if one == nil {
		return
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.lent != nil {
		stopStatement(ctx, one.lent)
	}
}

// stopStatement asks the server to stop what a connection runs.
func stopStatement(ctx context.Context, c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = c.CancelRequest(ctx)
}

// read hands messages over, one at a time, until the client is gone.
func (s *session) read(ctx context.Context) {
	defer close(s.messages)
	for {
		msg, err := s.client.Receive()
		var tooLong *pgproto3.ExceededMaxBodyLenErr
		if errors.As(err, &tooLong) {
			s.d.cfg.Log.Info("a client of a database sent a message that is too long", "app", s.app, "database", s.name, "bytes", tooLong.ActualBodyLen)
		}
		if err != nil {
			return
		}
		select {
		case s.messages <- msg:
		case <-ctx.Done():
			return
		}
		select {
		case <-s.next:
		case <-ctx.Done():
			return
		}
	}
}

// serve answers until the client goes.
func (s *session) serve(ctx context.Context) error {
	for msg := range s.messages {
		s.holding = true
		if err := s.answer(ctx, msg); err != nil {
			if errors.Is(err, errGoodbye) {
				return nil
			}
			return err
		}
		s.proceed()
	}
	return nil
}

// proceed lets the next message be read: the one before is not used any more.
func (s *session) proceed() {
	if s.holding {
		s.holding = false
		s.next <- struct{}{}
	}
}

// answer takes a message between transactions. Any that is for the server begins
// one.
func (s *session) answer(ctx context.Context, msg pgproto3.FrontendMessage) error {
	switch msg.(type) {
	case *pgproto3.Terminate:
		return errGoodbye
	case *pgproto3.Sync:
		s.skipping = false
		return s.ready('I')
	case *pgproto3.Flush:
		return s.flush()
	case *pgproto3.PasswordMessage, *pgproto3.CopyData, *pgproto3.CopyDone, *pgproto3.CopyFail:
		return nil // sent ahead of an answer that made it needless
	}
	if s.skipping {
		return nil
	}
	p, write, err := s.d.openPostgres(ctx, s.app, s.name)
	if err != nil {
		return err
	}
	var l *lease
	err = p.use(ctx, write, func(c *pgconn.PgConn) error {
		l = &lease{s: s, p: p, c: c, writes: write, here: map[string]bool{}, begun: time.Now()}
		return l.run(ctx, msg)
	})
	switch {
	case l == nil || errors.Is(err, errNotBegun): // nothing of it reached the server
		return s.refuse(msg, err)
	case err != nil:
		return err
	}
	if l.ddl {
		p.changed(ctx)
	}
	return s.ready('I')
}

// refuse says why a message was not run; the session goes on.
func (s *session) refuse(msg pgproto3.FrontendMessage, err error) error {
	s.client.Send(wireError("ERROR", err))
	switch msg.(type) {
	case *pgproto3.Query, *pgproto3.FunctionCall:
		return s.ready('I')
	}
	s.skipping = true
	return s.flush()
}

func (s *session) ready(status byte) error {
	s.client.Send(&pgproto3.ReadyForQuery{TxStatus: status})
	return s.flush()
}

// flush writes to the client, which has a while to read.
func (s *session) flush() error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(DefaultTimeout))
	return s.client.Flush()
}

func (s *session) fatal(err error) {
	if !errors.Is(err, errGoodbye) {
		s.client.Send(wireError("FATAL", err))
		_ = s.flush()
	}
}

// lend notes the connection that the session has, for those who cancel.
func (s *session) lend(c *pgconn.PgConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = c
}

// stateError is an error with PostgreSQL's code for it.
type stateError struct{ state, message string }

func (e *stateError) Error() string { return e.message }

// states are PostgreSQL's codes for errors of the platform.
var states = map[mayfly.Code]string{
	mayfly.Unauthorized: "28P01", mayfly.Denied: "42501", mayfly.NotFound: "3D000", mayfly.Throttled: "53300", mayfly.Quota: "53400",
	mayfly.Unavailable: "57P03", mayfly.Timeout: "57014", mayfly.Invalid: "0A000",
}

// wireError is an error as PostgreSQL's clients take it; what the server said is
// as it said it.
func wireError(severity string, err error) *pgproto3.ErrorResponse {
	out := &pgproto3.ErrorResponse{Severity: severity, SeverityUnlocalized: severity, Code: "XX000", Message: mayfly.MessageOf(err)}
	if state := states[mayfly.CodeOf(err)]; state != "" {
		out.Code = state
	}
	var own *stateError
	var e *pgconn.PgError
	switch {
	case errors.As(err, &own):
		out.Code, out.Message = own.state, own.message
	case errors.As(err, &e):
		out.Code, out.Message, out.Detail, out.Hint = e.Code, e.Message, e.Detail, e.Hint
	}
	return out
}

// changed looks for tables that functions listen to, after a statement that may
// have made them.
func (p *postgres) changed(ctx context.Context) {
	c := p.schemaChanged.Load()
	if c == nil {
		return
	}
	if err := c.ensure(ctx); err != nil {
		c.logger.Warn("a table that was made is not followed yet", "app", c.app, "database", c.name, "error", err)
	}
}
