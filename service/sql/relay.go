package sql

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/mayfly-cloud/mayfly"
)

// relay passes the server's answers on.
type relay struct {
	l        *lease
	deadline time.Time
	stopped  bool // the statement took too long and was asked to stop
	bytes    int  // not flushed
}

// receive is the server's next message. The server stops a statement by itself,
// unless the client told it not to.
func (t *relay) receive(ctx context.Context) (pgproto3.BackendMessage, error) {
	l := t.l
	if t.deadline.IsZero() {
		t.deadline = time.Now().Add(l.p.limit + grace)
	}
	for {
		_ = l.c.Conn().SetReadDeadline(t.deadline)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		msg, err := l.c.ReceiveMessage(context.Background())
		var timeout net.Error
		switch {
		case err == nil:
			return msg, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &timeout) && timeout.Timeout() && !t.stopped:
			t.stopped, t.deadline = true, time.Now().Add(5*time.Second)
			stopStatement(ctx, l.c)
		default:
			return nil, mayfly.Errorf(mayfly.Unavailable, "use database "+l.s.name, "PostgreSQL does not answer as it should: %w", err)
		}
	}
}

// pass sends a message of the server to the client, and reports whether it was
// the last that is waited for.
func (t *relay) pass(msg pgproto3.BackendMessage) (done bool, err error) {
	l := t.l
	size := 64
	switch m := msg.(type) {
	case *pgproto3.ReadyForQuery:
		l.settle()
		if l.over = l.finished(m.TxStatus); !l.over {
			l.s.client.Send(m)
		}
		return true, nil
	case *pgproto3.ParseComplete:
		l.due--
		if len(l.parses) > 0 {
			ours := l.parses[0].ours
			l.parses = l.parses[1:]
			if ours {
				return false, nil
			}
		}
	case *pgproto3.BindComplete, *pgproto3.CloseComplete:
		l.due--
	case *pgproto3.RowDescription, *pgproto3.NoData:
		if !l.simple {
			l.due--
		}
	case *pgproto3.DataRow:
		for _, v := range m.Values {
			size += len(v)
		}
	case *pgproto3.CopyData:
		size += len(m.Data)
	case *pgproto3.CommandComplete:
		t.deadline = time.Time{}
		l.completed(string(m.CommandTag))
	case *pgproto3.EmptyQueryResponse, *pgproto3.PortalSuspended:
		l.completed("")
	case *pgproto3.ErrorResponse:
		l.failed = true
		if m.Severity == "FATAL" || m.SeverityUnlocalized == "FATAL" {
			l.s.client.Send(m)
			return true, errors.Join(l.s.flush(), errGoodbye)
		}
	case *pgproto3.CopyInResponse:
		l.copying = true
		done = true
	case *pgproto3.CopyBothResponse:
		return true, mayfly.Errorf(mayfly.Invalid, "use database", "replication is not served")
	}
	if l.reader.hides(msg) {
		return done, nil
	}
	l.s.client.Send(msg)
	if t.bytes += size; t.bytes > maxUnflushed {
		t.bytes = 0
		return done, l.s.flush()
	}
	return done, nil
}

// settle takes in that the server is ready: what it did not prepare, it skipped.
func (l *lease) settle() {
	for _, one := range l.parses {
		delete(l.here, one.name)
		if !one.ours {
			delete(l.s.prepared, one.name)
		}
	}
	l.parses, l.due, l.failed, l.simple = l.parses[:0], 0, false, false
}

// completed takes in what the server says that it did.
func (l *lease) completed(tag string) {
	if !l.simple {
		l.due--
	}
	l.reader.tag = tag
	first, rest, _ := strings.Cut(tag, " ")
	switch first {
	case "SET", "RESET":
		l.sets = true
	case "CREATE", "ALTER", "DROP":
		l.ddl = true
	case "DISCARD", "DEALLOCATE":
		if rest == "ALL" {
			clear(l.s.prepared)
			clear(l.here)
		}
		l.sets = l.sets || first == "DISCARD"
	}
}

// finished reports whether a lease ends where the server says that it is ready.
func (l *lease) finished(status byte) bool {
	if !l.writes {
		return !l.reader.inside
	}
	return status == 'I'
}
