package sql

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/mayfly-cloud/mayfly"
)

// Limits of clients that speak PostgreSQL's protocol.
const (
	maxSessions  = 10_000
	maxMessage   = 16 << 20
	startTimeout = 15 * time.Second
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

// start does what comes before the first statement. The context that it returns
// has the caller.
func (s *session) start(ctx context.Context, login Login) (context.Context, error) {
	_ = s.conn.SetDeadline(time.Now().Add(startTimeout))
	s.client.SetMaxBodyLen(maxMessage)
	wanted, err := s.greet(ctx)
	if err != nil {
		return ctx, err
	}
	if login != nil {
		who, err := s.login(login)
		if err != nil {
			return ctx, err
		}
		ctx = mayfly.WithCaller(ctx, who)
	}
	if s.name == "" {
		s.setDatabase(wanted.Parameters)
	}
	p, _, err := s.d.openPostgres(ctx, s.app, s.name)
	if err != nil {
		return ctx, err
	}
	if s.settings, err = startSettings(wanted.Parameters); err != nil {
		return ctx, err
	}
	about, err := p.about(ctx)
	if err != nil {
		return ctx, err
	}
	if err := p.try(ctx, s.settings); err != nil {
		return ctx, err
	}
	s.client.Send(&pgproto3.AuthenticationOk{})
	for _, name := range slices.Sorted(maps.Keys(about)) {
		value := about[name]
		for set, v := range s.settings {
			if strings.EqualFold(set, name) {
				value = v
			}
		}
		s.client.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	secret := binary.BigEndian.AppendUint32(nil, s.key.secret)
	s.client.Send(&pgproto3.BackendKeyData{ProcessID: s.key.id, SecretKey: secret})
	if err := s.ready('I'); err != nil {
		return ctx, err
	}
	return ctx, s.conn.SetDeadline(time.Time{})
}

// greet is what the client wants, after it was told that there is no TLS here:
// the door is a loopback, or a WebSocket that has its own.
func (s *session) greet(ctx context.Context) (*pgproto3.StartupMessage, error) {
	for range 3 {
		msg, err := s.client.ReceiveStartupMessage()
		if err != nil {
			return nil, errGoodbye
		}
		switch m := msg.(type) {
		case *pgproto3.StartupMessage:
			return m, nil
		case *pgproto3.CancelRequest:
			if len(m.SecretKey) == 4 {
				s.d.sessions.cancel(ctx, cancelKey{m.ProcessID, binary.BigEndian.Uint32(m.SecretKey)})
			}
			return nil, errGoodbye
		}
		if _, err := s.conn.Write([]byte("N")); err != nil {
			return nil, errGoodbye
		}
	}
	return nil, mayfly.Errorf(mayfly.Invalid, "open session", "the client asks for encryption over and over")
}

func (s *session) login(login Login) (mayfly.Caller, error) {
	s.client.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := s.flush(); err != nil {
		return mayfly.Caller{}, err
	}
	msg, err := s.client.Receive()
	if err != nil {
		return mayfly.Caller{}, errGoodbye
	}
	password, ok := msg.(*pgproto3.PasswordMessage)
	if !ok {
		return mayfly.Caller{}, mayfly.Errorf(mayfly.Unauthorized, "open session", "the password is a token of this node")
	}
	return login(password.Password)
}

// setDatabase takes the database that a client names, or its user, as PostgreSQL
// does.
func (s *session) setDatabase(parameters map[string]string) {
	if s.name = parameters["database"]; s.name == "" {
		s.name = parameters["user"]
	}
}

// startSettings are the settings in a startup message, with those in options: -c
// name=value --name=value.
func startSettings(parameters map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for name, value := range parameters {
		switch {
		case name == "replication":
			return nil, mayfly.Errorf(mayfly.Invalid, "open session", "replication is not served; table triggers tell functions of changes")
		case name == "options":
			words := strings.Fields(strings.ReplaceAll(value, `\ `, "\x00"))
			for i, word := range words {
				if word == "-c" && i+1 < len(words) {
					continue
				}
				word = strings.TrimPrefix(strings.TrimPrefix(word, "-c"), "--")
				set, to, ok := strings.Cut(word, "=")
				if !ok {
					return nil, mayfly.Errorf(mayfly.Invalid, "open session", "options has %q, which is no setting; write -c name=value", word)
				}
				out[strings.ReplaceAll(set, "-", "_")] = strings.ReplaceAll(to, "\x00", " ")
			}
		case name != "user" && name != "database" && !strings.HasPrefix(name, "_pq_."):
			out[name] = value
		}
	}
	return out, nil
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

// reported are the settings that PostgreSQL tells its clients of.
var reported = []string{
	"server_version", "server_encoding", "client_encoding", "application_name", "default_transaction_read_only", "in_hot_standby", "is_superuser",
	"session_authorization", "DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings", "scram_iterations", "search_path",
}

// about is what the server tells its clients of itself when they connect.
func (p *postgres) about(ctx context.Context) (map[string]string, error) {
	if known := p.told.Load(); known != nil {
		return *known, nil
	}
	about := map[string]string{}
	err := p.lend(ctx, func(c *pgconn.PgConn) error {
		for _, name := range reported {
			if value := c.ParameterStatus(name); value != "" {
				about[name] = value
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask the server about itself: %w", err)
	}
	p.told.Store(&about)
	return about, nil
}

// configure gives a connection a session's settings.
func (p *postgres) configure(ctx context.Context, c *pgconn.PgConn, settings map[string]string) error {
	about, q := p.told.Load(), &pgQuery{}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := settings[name]
		if about != nil && (*about)[name] == value {
			continue
		}
		q.Params = append(q.Params, &name, &value)
		q.Query += fmt.Sprintf(", set_config($%d, $%d, false)", len(q.Params)-1, len(q.Params))
	}
	if len(q.Params) == 0 {
		return nil
	}
	q.Query = "SELECT " + q.Query[2:]
	_, err := pgRun(ctx, c, q)
	return err
}

// try says which of the settings that a client comes with is none.
func (p *postgres) try(ctx context.Context, settings map[string]string) error {
	if about := *p.told.Load(); !slices.ContainsFunc(slices.Collect(maps.Keys(settings)), func(name string) bool { return about[name] != settings[name] }) {
		return nil
	}
	return p.lend(ctx, func(c *pgconn.PgConn) error { return p.configure(ctx, c, settings) })
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
