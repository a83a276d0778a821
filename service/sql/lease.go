package sql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/mayfly-cloud/mayfly"
)

// Sizes in bytes: of what is sent to the server before its answers are read,
// which must fit into the system's buffers, and of rows that are sent to the
// client together.
const (
	maxUnanswered = 32 << 10
	maxUnflushed  = 32 << 10
)

// grace is how much longer than the server a lease waits for a statement's end.
const grace = 2 * time.Second

// lease is one of the pool's connections while a session has it: for one
// transaction, or for statements up to where none is open.
//
// Messages go to the server as they are, and are answered before the next ones
// are sent: at Sync, at Flush, or where many have gathered. So that one goroutine
// does all, and nothing is under way where a lease ends.
type lease struct {
	s      *session
	p      *postgres
	c      *pgconn.PgConn
	writes bool
	begun  time.Time

	here    map[string]bool // statements that are prepared on this connection
	parses  []parsed        // that the server was not heard of yet
	due     int             // answers that the server owes for what it was sent
	unsent  int             // bytes
	simple  bool            // the last statement came by the simple protocol
	failed  bool            // the server skips all until Sync
	copying bool            // the client sends a COPY's rows
	busy    bool            // the server was sent what it has not answered to the end
	over    bool            // no transaction is open and nothing is due
	sets    bool            // settings may have changed
	ddl     bool            // tables may have been made
	reader  reader          // of a caller who may not write
}

// parsed is a statement whose preparation was sent.
type parsed struct {
	name string
	ours bool // it was prepared anew: the client knows it already
}

// errNotBegun says that a lease ended before the client's message was sent.
var errNotBegun = errors.New("not begun")

// run relays from a first message to the end of a transaction. An error ends the
// session, but for errNotBegun.
func (l *lease) run(ctx context.Context, msg pgproto3.FrontendMessage) (err error) {
	if err := l.begin(ctx, msg); err != nil {
		return fmt.Errorf("%w: %w", errNotBegun, err)
	}
	l.s.lend(l.c)
	conn, interrupted := l.c.Conn(), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // the client is gone: whoever reads or writes here returns
		close(interrupted)
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
		_ = conn.SetDeadline(time.Time{})
		l.s.lend(nil)
		if e := l.end(ctx); err == nil {
			err = e
		}
	}()
	for {
		if err := l.take(ctx, msg); err != nil || l.over {
			return err
		}
		if msg, err = l.receiveNext(ctx); err != nil {
			return err
		}
	}
}

// begin gives the connection what the session set, and opens the transaction of
// one who may only read.
func (l *lease) begin(ctx context.Context, msg pgproto3.FrontendMessage) error {
	ctx, cancel := context.WithTimeout(ctx, l.p.limit)
	defer cancel()
	if err := l.p.configure(ctx, l.c, l.s.settings); err != nil {
		return err
	}
	if l.writes {
		return nil
	}
	return l.beginReading(ctx, msg)
}

// end leaves the connection as it was found, or closes it where that cannot be.
func (l *lease) end(ctx context.Context) error {
	if l.busy || l.due > 0 || l.unsent > 0 || l.copying {
		stopStatement(ctx, l.c)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = l.c.Close(ctx)
		return nil
	}
	switch {
	case l.c.TxStatus() == 'I':
	case l.writes:
		l.p.stats.rolledBack()
		if err := rollback(ctx, l.c); err != nil {
			return err
		}
	default:
		if err := l.endReading(ctx); err != nil {
			return err
		}
	}
	if !l.sets || l.c.IsClosed() {
		return nil
	}
	return l.keepSettings(ctx)
}

// keepSettings notes what the session set, as the server has it now that the
// transaction is over. Those with a dot the server does not list: they are asked
// for by the names that were seen.
func (l *lease) keepSettings(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	q := &pgQuery{Query: "SELECT name, setting FROM pg_settings WHERE source = 'session'"}
	for _, name := range slices.Sorted(maps.Keys(l.s.custom)) {
		q.Params = append(q.Params, &name)
		q.Query += fmt.Sprintf(" UNION ALL SELECT $%d::text, current_setting($%[1]d::text, true)", len(q.Params))
	}
	r, err := pgRun(ctx, l.c, q)
	if err != nil {
		return fmt.Errorf("keep the session's settings: %w", err)
	}
	clear(l.s.settings)
	for _, row := range r.Rows {
		if row[1] != nil {
			l.s.settings[*row[0]] = *row[1]
		}
	}
	return nil
}

// receiveNext waits for the client, which has a transaction open, or has sent a
// part of a statement.
func (l *lease) receiveNext(ctx context.Context) (pgproto3.FrontendMessage, error) {
	if time.Since(l.begun) > l.s.d.cfg.Longest {
		return nil, &stateError{"25P04", "the transaction was open for " + l.s.d.cfg.Longest.String() + " and was rolled back; make it shorter"}
	}
	l.s.proceed()
	timer := time.NewTimer(l.s.d.cfg.Idle)
	defer timer.Stop()
	select {
	case msg, ok := <-l.s.messages:
		if !ok {
			return nil, errGoodbye
		}
		l.s.holding = true
		return msg, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, &stateError{"25P03", "the transaction was idle for " + l.s.d.cfg.Idle.String() + " and was rolled back"}
	}
}

// take sends one message of the client on, and the answers back where it wants
// them.
func (l *lease) take(ctx context.Context, msg pgproto3.FrontendMessage) error {
	if _, ok := msg.(*pgproto3.Terminate); ok {
		return errGoodbye
	}
	if l.copying {
		return l.takeCopy(ctx, msg)
	}
	if _, sync := msg.(*pgproto3.Sync); l.failed && !sync {
		return nil
	}
	if !l.writes {
		if done, err := l.read(ctx, msg); done || err != nil {
			return err
		}
	}
	switch m := msg.(type) {
	case *pgproto3.Query:
		return l.query(ctx, m.String)
	case *pgproto3.Sync:
		l.send(m, 5)
		return l.answers(ctx, true)
	case *pgproto3.Flush:
		l.send(m, 5)
		return l.answers(ctx, false)
	case *pgproto3.FunctionCall:
		l.send(m, 5)
		return l.answers(ctx, true)
	}
	return l.extended(ctx, msg)
}

// query runs statements by the simple protocol.
func (l *lease) query(ctx context.Context, text string) error {
	if name := deallocated(text); name != "" {
		l.prepare(name)
		delete(l.s.prepared, name)
	}
	l.sets = l.s.mayset(text) || l.sets
	l.simple = true
	l.send(&pgproto3.Query{String: served(text)}, len(text)+6)
	return l.answers(ctx, true)
}

// extended takes a message of the extended protocol, which is answered later.
func (l *lease) extended(ctx context.Context, msg pgproto3.FrontendMessage) error {
	size := 64
	switch m := msg.(type) {
	case *pgproto3.Parse:
		size += len(m.Query)
	case *pgproto3.Bind:
		for _, p := range m.Parameters {
			size += len(p) + 4
		}
	}
	if l.unsent > 0 && l.unsent+size > maxUnanswered {
		held := l.s.holding
		l.s.holding = false // the message is not sent yet
		err := l.flushServer(ctx)
		if l.s.holding = held; err != nil || l.failed || l.copying {
			return err
		}
	}
	l.simple = false
	switch m := msg.(type) {
	case *pgproto3.Parse:
		own := l.s.keep(m)
		l.here[m.Name] = true
		l.parses = append(l.parses, parsed{name: m.Name})
		if name := deallocated(m.Query); name != "" {
			l.prepare(name)
			delete(l.s.prepared, name)
		}
		msg = &pgproto3.Parse{Name: m.Name, Query: own.text, ParameterOIDs: m.ParameterOIDs}
	case *pgproto3.Bind:
		l.prepare(m.PreparedStatement)
	case *pgproto3.Describe:
		if m.ObjectType == 'S' {
			l.prepare(m.Name)
		}
	case *pgproto3.Close:
		if m.ObjectType == 'S' {
			delete(l.s.prepared, m.Name)
			delete(l.here, m.Name)
		}
	case *pgproto3.Execute:
	default:
		return mayfly.Errorf(mayfly.Invalid, "use database", "a message came that is not for a server")
	}
	l.send(msg, size)
	l.due++
	return nil
}

// prepare makes a statement that the client prepared on another connection known
// on this one.
func (l *lease) prepare(name string) {
	own := l.s.prepared[name]
	if own == nil {
		return // the server says so
	}
	l.sets = l.sets || own.sets
	if l.here[name] {
		return
	}
	l.here[name] = true
	l.parses = append(l.parses, parsed{name, true})
	l.send(&pgproto3.Parse{Name: name, Query: own.text, ParameterOIDs: own.types}, len(own.text)+64)
	l.due++
}

func (l *lease) send(msg pgproto3.FrontendMessage, size int) {
	l.c.Frontend().Send(msg)
	l.unsent += size
}

// flushServer has the server answer what it was sent so far.
func (l *lease) flushServer(ctx context.Context) error {
	l.send(&pgproto3.Flush{}, 5)
	return l.answers(ctx, false)
}

// takeCopy takes a message while the client sends a COPY's rows.
func (l *lease) takeCopy(ctx context.Context, msg pgproto3.FrontendMessage) error {
	switch m := msg.(type) {
	case *pgproto3.CopyData:
		l.send(m, len(m.Data))
		return l.write(ctx)
	case *pgproto3.CopyDone, *pgproto3.CopyFail:
		l.copying = false
		l.send(m, 5)
		if l.simple {
			return l.answers(ctx, true)
		}
		return nil // Sync comes
	case *pgproto3.Sync, *pgproto3.Flush:
		return nil // as the server does
	}
	return mayfly.Errorf(mayfly.Invalid, "use database", "a message came that is not a part of the COPY under way")
}

// write sends what has gathered.
func (l *lease) write(ctx context.Context) error {
	l.busy = true
	_ = l.c.Conn().SetWriteDeadline(time.Now().Add(l.p.limit + grace))
	if ctx.Err() != nil {
		return ctx.Err() // after the deadline, which its end may have set before
	}
	if err := l.c.Frontend().Flush(); err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "use database "+l.s.name, "PostgreSQL does not answer as it should: %w", err)
	}
	l.unsent = 0
	return nil
}

// answers sends what has gathered and relays the answers: up to ReadyForQuery, or
// to all that is due.
func (l *lease) answers(ctx context.Context, ready bool) error {
	if err := l.write(ctx); err != nil {
		return err
	}
	l.s.proceed() // all that the message held was sent
	t := &relay{l: l}
	for ready || l.due > 0 && !l.failed {
		msg, err := t.receive(ctx)
		if err != nil {
			return err
		}
		done, err := t.pass(msg)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	l.busy = false
	if l.over {
		return nil // what is not flushed goes with ReadyForQuery
	}
	return l.s.flush()
}
