package sql

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/mayfly-cloud/mayfly"
)

// reader is a lease of a caller who may only read. All that it runs is in a
// transaction of the platform's, which is read-only and has a snapshot, so that
// nothing makes it writable; statements go to the server one by one, by the
// extended protocol, which takes one only. Transactions that the client begins and
// ends are in that one, and are answered here. A statement that got out of it all
// the same ends the session before another is sent: the server says what it did.
type reader struct {
	inside  bool              // the client has begun a transaction
	undone  bool              // it rolled it back
	portals map[string]string // statements that portals are of; of those that are open
	tag     string            // what the server did last
	plain   bool              // the client speaks the simple protocol, and is not told of its parts
}

// beginReading opens the transaction. Its isolation is what the first message asks
// for.
func (l *lease) beginReading(ctx context.Context, msg pgproto3.FrontendMessage) error {
	l.reader.portals = map[string]string{}
	first := ""
	switch m := msg.(type) {
	case *pgproto3.Query:
		first = m.String
	case *pgproto3.Parse:
		first = m.Query
	}
	begin := "BEGIN READ ONLY"
	if level := isolation.FindString(first); level != "" && begins.MatchString(first) {
		begin += ", " + level
	}
	_, err := l.c.Exec(ctx, begin+"; SELECT 1").ReadAll()
	return pgProblem(ctx, err)
}

// endReading ends the transaction, as the client said. There is nothing to write;
// what it set goes on with a COMMIT.
func (l *lease) endReading(ctx context.Context) error {
	if l.reader.undone || l.reader.inside {
		return rollback(ctx, l.c)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, err := l.c.Exec(ctx, "COMMIT").ReadAll()
	return err
}

// hides reports whether the client is not told of a message.
func (r *reader) hides(msg pgproto3.BackendMessage) bool {
	if !r.plain {
		return false
	}
	switch msg.(type) {
	case *pgproto3.ParseComplete, *pgproto3.BindComplete, *pgproto3.NoData:
		return true
	}
	return false
}

// read takes a message of one who may only read, and reports whether it is done
// with.
func (l *lease) read(ctx context.Context, msg pgproto3.FrontendMessage) (done bool, err error) {
	switch m := msg.(type) {
	case *pgproto3.Query:
		return true, l.readQuery(ctx, m.String)
	case *pgproto3.FunctionCall:
		return true, mayfly.Errorf(mayfly.Denied, "use database", "function calls by the protocol are not for those who only read")
	case *pgproto3.Parse:
		return l.readParse(ctx, m)
	case *pgproto3.Bind:
		l.reader.portals[m.DestinationPortal] = m.PreparedStatement
		return l.virtual(ctx, m.PreparedStatement, &pgproto3.BindComplete{})
	case *pgproto3.Describe:
		if m.ObjectType == 'S' {
			return l.virtual(ctx, m.Name, &pgproto3.ParameterDescription{}, &pgproto3.NoData{})
		}
		return l.virtual(ctx, l.reader.portals[m.Name], &pgproto3.NoData{})
	case *pgproto3.Execute:
		return true, l.readExecute(ctx, m)
	}
	return false, nil
}

// virtual answers for a statement that is not the server's, after all that came
// before it was answered.
func (l *lease) virtual(ctx context.Context, statement string, answers ...pgproto3.BackendMessage) (bool, error) {
	if own := l.s.prepared[statement]; own == nil || own.control == "" {
		return false, nil
	}
	if err := l.flushServer(ctx); err != nil || l.failed {
		return true, err
	}
	for _, a := range answers {
		l.s.client.Send(a)
	}
	return true, l.s.flush()
}

// readParse keeps a statement about transactions here, and sends any other on.
func (l *lease) readParse(ctx context.Context, m *pgproto3.Parse) (bool, error) {
	if what := control(m.Query); what != "" {
		l.s.prepared[m.Name] = &preparedStatement{control: what}
		return l.virtual(ctx, m.Name, &pgproto3.ParseComplete{})
	}
	err := l.extended(ctx, &pgproto3.Parse{Name: m.Name, Query: readable(m.Query), ParameterOIDs: m.ParameterOIDs})
	if own := l.s.prepared[m.Name]; own != nil {
		own.back = goesBack.MatchString(m.Query)
	}
	return true, err
}

// readable is a statement's text, or one that says why it is not for readers.
func readable(text string) string {
	if err := serverSide(text, true); err != nil {
		return raise("42501", mayfly.MessageOf(err))
	}
	return text
}

func (l *lease) readExecute(ctx context.Context, m *pgproto3.Execute) error {
	own := l.s.prepared[l.reader.portals[m.Portal]]
	if own != nil && own.control != "" {
		if err := l.flushServer(ctx); err != nil || l.failed {
			return err
		}
		l.s.client.Send(&pgproto3.CommandComplete{CommandTag: []byte(l.controlled(own.control))})
		return l.s.flush()
	}
	if err := l.extended(ctx, m); err != nil {
		return err
	}
	if err := l.flushServer(ctx); err != nil || l.failed {
		return err
	}
	return l.escaped(own != nil && own.back)
}

// controlled begins or ends the client's transaction, and is what it is told that
// was done.
func (l *lease) controlled(what string) string {
	if what == "BEGIN" {
		l.reader.inside = true
		return what
	}
	l.reader.inside = false
	if l.c.TxStatus() == 'E' {
		what = "ROLLBACK"
	}
	l.reader.undone = what == "ROLLBACK"
	return what
}

var errEscaped = &stateError{"25001", "a statement left the read-only transaction, which is the platform's: say BEGIN, COMMIT and ROLLBACK without comments and further words"}

// escaped says whether the last statement left the platform's transaction.
func (l *lease) escaped(back bool) error {
	first, _, _ := strings.Cut(l.reader.tag, " ")
	if controls[first] && !(back && first == "ROLLBACK") || strings.HasPrefix(l.reader.tag, "PREPARE TRANSACTION") {
		return errEscaped
	}
	return nil
}

// readQuery runs one statement that came by the simple protocol.
func (l *lease) readQuery(ctx context.Context, text string) error {
	if what := control(text); what != "" {
		l.s.client.Send(&pgproto3.CommandComplete{CommandTag: []byte(l.controlled(what))})
		if !l.reader.inside {
			l.over = true
			return nil
		}
		return l.s.ready('T')
	}
	l.reader.plain = true
	defer func() { l.reader.plain = false }()
	if err := l.one(ctx, text); err != nil {
		return err
	}
	return l.escaped(goesBack.MatchString(text))
}

// one runs a text that holds one statement, by the extended protocol.
func (l *lease) one(ctx context.Context, text string) error {
	l.reader.tag = ""
	for _, msg := range []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: readable(text)}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{},
	} {
		if err := l.extended(ctx, msg); err != nil {
			return err
		}
	}
	l.send(&pgproto3.Sync{}, 5)
	return l.answers(ctx, true)
}
