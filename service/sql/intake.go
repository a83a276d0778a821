package sql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Limits of what an intake holds in memory: of one transaction before it begins
// to write it, and of transactions that it writes together.
const (
	spillBytes = 8 << 20
	batchBytes = 1 << 20
)

// intake is one replication connection. The server sends whole transactions in
// the order of their commits, none that was rolled back and nothing of a
// savepoint that was; they are written to the log together while more of them
// come, and confirmed to the server once they are on the disk.
type intake struct {
	c         *capture
	conn      *pgconn.PgConn
	relations map[uint32]*pglogrepl.RelationMessage
	done      pglogrepl.LSN // all before it is in the log, and confirmed
	upTo      pglogrepl.LSN // all before it was received
	open      bool          // a transaction is being received
	skip      bool          // which is in the log already
	at        time.Time     // when it was committed
	rows      []change
	bytes     int         // of rows
	tx        *connection // of the log, where it writes already
}

// change is one row of the log.
type change struct {
	at            time.Time
	table, event  string
	before, after []byte
}

// begin connects and asks for what comes after from.
func (c *capture) begin(ctx context.Context, server *postgres, from pglogrepl.LSN) (*intake, error) {
	cfg := server.pool.Config().ConnConfig.Config.Copy()
	for name, value := range map[string]string{
		"replication": "database", "client_encoding": "UTF8", "bytea_output": "hex", "DateStyle": "ISO", "TimeZone": "UTC", "IntervalStyle": "iso_8601",
	} {
		cfg.RuntimeParams[name] = value
	}
	delete(cfg.RuntimeParams, "statement_timeout")
	delete(cfg.RuntimeParams, "idle_in_transaction_session_timeout")
	dial, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(dial, cfg)
	if err != nil {
		return nil, (&site{c: c}).explain(fmt.Errorf("connect for replication: %w", err))
	}
	in := &intake{c: c, conn: conn, relations: map[uint32]*pglogrepl.RelationMessage{}, done: from, upTo: from}
	err = pglogrepl.StartReplication(dial, conn, c.slot, from, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + c.slot + "'"},
	})
	if err != nil {
		in.close()
		return nil, (&site{c: c}).explain(fmt.Errorf("read slot %s: %w", c.slot, err))
	}
	return in, nil
}

// close gives up what is not in the log; the server sends it again.
func (in *intake) close() {
	if in.tx != nil {
		in.c.log.give(in.tx)
		in.tx = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = in.conn.Close(ctx)
}

// run takes messages until something is wrong.
func (in *intake) run(ctx context.Context) error {
	due := time.Now().Add(in.c.watch)
	for {
		until := due
		if in.ready() { // whatever else is under way is taken along
			until = time.Now().Add(time.Millisecond)
		}
		wait, cancel := context.WithDeadline(ctx, until)
		msg, err := in.conn.ReceiveMessage(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			err = in.take(ctx, msg)
		case pgconn.Timeout(err):
			err = in.settle(ctx)
		}
		if err != nil {
			return err
		}
		if in.ready() && in.bytes > batchBytes {
			if err := in.settle(ctx); err != nil {
				return err
			}
		}
		if time.Now().After(due) {
			if err := errors.Join(in.settle(ctx), in.c.ensure(ctx)); err != nil {
				return err
			}
			due = time.Now().Add(in.c.watch)
		}
	}
}

// ready reports whether there are whole transactions to write.
func (in *intake) ready() bool { return !in.open && (len(in.rows) > 0 || in.tx != nil) }

func (in *intake) take(ctx context.Context, msg pgproto3.BackendMessage) error {
	switch m := msg.(type) {
	case *pgproto3.ErrorResponse:
		return (&site{c: in.c}).explain(fmt.Errorf("read slot %s: %w", in.c.slot, pgconn.ErrorResponseToPgError(m)))
	case *pgproto3.CopyData:
		switch m.Data[0] {
		case pglogrepl.PrimaryKeepaliveMessageByteID:
			k, err := pglogrepl.ParsePrimaryKeepaliveMessage(m.Data[1:])
			if err != nil {
				return err
			}
			if !in.open {
				in.upTo = max(in.upTo, k.ServerWALEnd)
			}
			if k.ReplyRequested {
				return in.settle(ctx)
			}
		case pglogrepl.XLogDataByteID:
			x, err := pglogrepl.ParseXLogData(m.Data[1:])
			if err != nil {
				return err
			}
			return in.decode(ctx, x.WALData)
		}
	}
	return nil
}

func (in *intake) decode(ctx context.Context, data []byte) error {
	msg, err := pglogrepl.Parse(data)
	if err != nil {
		return fmt.Errorf("read slot %s: %w", in.c.slot, err)
	}
	switch m := msg.(type) {
	case *pglogrepl.RelationMessage:
		in.relations[m.RelationID] = m
	case *pglogrepl.BeginMessage:
		in.open, in.skip, in.at = true, m.FinalLSN < in.done, m.CommitTime
	case *pglogrepl.CommitMessage:
		in.open = false
		in.upTo = max(in.upTo, m.TransactionEndLSN)
	case *pglogrepl.InsertMessage:
		return in.add(ctx, m.RelationID, "insert", nil, m.Tuple)
	case *pglogrepl.UpdateMessage:
		return in.add(ctx, m.RelationID, "update", m.OldTuple, m.NewTuple)
	case *pglogrepl.DeleteMessage:
		return in.add(ctx, m.RelationID, "delete", m.OldTuple, nil)
	case *pglogrepl.TruncateMessage:
		for _, id := range m.RelationIDs {
			if err := in.add(ctx, id, "truncate", nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// add takes one change of the transaction that is open.
func (in *intake) add(ctx context.Context, id uint32, event string, before, after *pglogrepl.TupleData) error {
	rel := in.relations[id]
	if in.skip || rel == nil {
		return nil
	}
	in.c.mu.Lock()
	tables := in.c.followed[relation{rel.Namespace, rel.RelationName}]
	in.c.mu.Unlock()
	for _, t := range tables {
		if !t.events[event] {
			continue
		}
		row := change{at: in.at, table: t.name, event: event, before: rowOf(rel, before, nil), after: rowOf(rel, after, before)}
		in.rows = append(in.rows, row)
		in.bytes += len(row.before) + len(row.after) + 100
	}
	if in.bytes > spillBytes {
		return in.spill(ctx)
	}
	return nil
}

// spill writes what is held into a transaction of the log.
func (in *intake) spill(ctx context.Context) (err error) {
	if in.tx == nil {
		if in.tx, err = in.c.log.take(ctx, true); err != nil {
			return err
		}
		if _, err := in.tx.own(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
	}
	for i := range in.rows {
		r := &in.rows[i]
		if _, err := in.tx.own(ctx, "INSERT INTO _mayfly_changes(at, tbl, op, before, after) VALUES (?, ?, ?, ?, ?)", r.at.UnixMilli(), r.table, r.event, textOf(r.before), textOf(r.after)); err != nil {
			return fmt.Errorf("keep changes: %w", err)
		}
	}
	clear(in.rows)
	in.rows, in.bytes = in.rows[:0], 0
	return nil
}

func textOf(b []byte) Value {
	if b == nil {
		return nil
	}
	return string(b)
}

// settle puts what was received on the disk and confirms it. Of a transaction
// that is still being received, nothing is confirmed.
func (in *intake) settle(ctx context.Context) error {
	if !in.open && in.upTo > in.done {
		told := in.ready()
		if err := in.spill(ctx); err != nil {
			return err
		}
		if err := in.commit(ctx); err != nil {
			return fmt.Errorf("keep changes: %w", err)
		}
		in.c.log.give(in.tx)
		in.tx, in.done = nil, in.upTo
		if told {
			in.c.told()
		}
	}
	return pglogrepl.SendStandbyStatusUpdate(ctx, in.conn, pglogrepl.StandbyStatusUpdate{WALWritePosition: in.done})
}

// commit ends the transaction of the log, where nobody gave up what it follows.
func (in *intake) commit(ctx context.Context) error {
	r, err := in.tx.own(ctx, "SELECT 1 FROM _mayfly_slot WHERE lost = '' AND lsn <> 0")
	if err != nil {
		return err
	}
	if len(r.Rows) == 0 {
		return context.Canceled
	}
	if _, err := in.tx.own(ctx, "UPDATE _mayfly_slot SET lsn = ?", int64(in.upTo)); err != nil {
		return err
	}
	_, err = in.tx.own(ctx, "COMMIT")
	return err
}
