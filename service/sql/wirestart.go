package sql

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/mayfly-cloud/mayfly"
)

// startTimeout is how long a client may take to say what it wants.
const startTimeout = 15 * time.Second

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
