package sql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
)

// ensure makes the server's side what the triggers want: replica identities, the
// publication, the slot. It is idempotent, and looks at the slot each time: where
// changes were lost, or the server keeps too much for it, it is dropped and the
// error is a lostError.
func (c *capture) ensure(ctx context.Context) error {
	c.busy.Lock()
	defer c.busy.Unlock()
	c.mu.Lock()
	server, wanted, limit := c.server, c.wanted, c.limit
	c.mu.Unlock()
	m, err := c.mark(ctx)
	if err != nil {
		return err
	}
	if len(wanted) == 0 && m == (mark{}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = server.lend(ctx, func(conn *pgconn.PgConn) error {
		s := &site{c: c, conn: conn, wanted: wanted, limit: limit, mark: m}
		switch {
		case len(wanted) == 0:
			return s.takeDown(ctx)
		case m.lost != "":
			return errors.Join(&lostError{m.lost}, s.drop(ctx))
		}
		return s.make(ctx)
	})
	return err
}

// site is the server's side of a capture, over one connection.
type site struct {
	c      *capture
	conn   *pgconn.PgConn
	wanted map[string]tableSpec
	limit  mayfly.Bytes
	mark   mark
}

// rows runs one statement.
func (s *site) rows(ctx context.Context, text string, args ...string) ([][]*string, error) {
	q := &pgQuery{Query: text}
	for i := range args {
		q.Params = append(q.Params, &args[i])
	}
	r, err := pgRun(ctx, s.conn, q)
	if err != nil {
		return nil, s.explain(err)
	}
	return r.Rows, nil
}

// explain says what to change on the server.
func (s *site) explain(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	hint := ""
	switch {
	case e.Code == "42501" && strings.Contains(e.Message, "replication"):
		hint = "let a superuser run: ALTER ROLE … REPLICATION (on a managed server: grant its replication role)"
	case e.Code == "42501":
		hint = "table events need a role that owns the tables and may create in the database: let their owner run ALTER TABLE … OWNER TO …, and GRANT CREATE ON DATABASE … TO …"
	case e.Code == "53400":
		hint = "raise max_replication_slots on the server, or drop slots that nobody uses"
	case e.Code == "53300":
		hint = "raise max_wal_senders or max_connections on the server"
	case e.Code == "57014":
		hint = "the server waited for transactions that are open; end them and deploy again"
	case e.Code == "55P03":
		hint = "the table is in use by a long transaction; end it and deploy again"
	case e.Code == "55006":
		hint = "another connection uses the slot, perhaps of a node that was restored from the same backup"
	default:
		return err
	}
	return mayfly.Errorf(mayfly.Invalid, "follow database "+s.c.name, "%s: %w", hint, err)
}

// make brings all into place. The order matters: a table must not publish its
// updates before it has an identity for them, nor a change come that nobody
// knows the table of.
func (s *site) make(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	tables, missing, err := s.find(ctx)
	if err != nil {
		return err
	}
	s.c.mu.Lock()
	s.c.followed = tables
	s.c.mu.Unlock()
	if _, err := s.rows(ctx, "SET lock_timeout = '5s'"); err != nil {
		return err
	}
	for _, r := range slices.SortedFunc(maps.Keys(tables), compareRelations) {
		if err := s.identify(ctx, r); err != nil {
			return err
		}
	}
	if err := s.publish(ctx, tables); err != nil {
		return err
	}
	s.c.mu.Lock()
	s.c.state.Tables, s.c.state.Missing = names(tables), missing // not before their changes are published
	s.c.mu.Unlock()
	return s.slot(ctx)
}

// check asks whether the server can do it at all.
func (s *site) check(ctx context.Context) error {
	r, err := s.rows(ctx, "SELECT current_setting('wal_level'), current_setting('server_version_num'), current_setting('max_slot_wal_keep_size', true)")
	if err != nil {
		return err
	}
	level, version, keep := *r[0][0], *r[0][1], r[0][2]
	if n, _ := strconv.Atoi(version); n < 130000 {
		return mayfly.Errorf(mayfly.Invalid, "follow database "+s.c.name, "table events need PostgreSQL 13 or later")
	}
	if level != "logical" {
		return mayfly.Errorf(mayfly.Invalid, "follow database "+s.c.name, "the server's wal_level is %s, and table events need logical: run ALTER SYSTEM SET wal_level = logical and restart the server, or remove the table triggers", level)
	}
	var warnings []string
	if keep != nil && *keep == "-1" {
		warnings = append(warnings, "the server's max_slot_wal_keep_size is unlimited: while this node is down, it keeps write-ahead log for the slot without bound")
	}
	others, err := s.rows(ctx, "SELECT slot_name FROM pg_replication_slots WHERE starts_with(slot_name, $1) AND slot_name <> $2 AND NOT active AND database = current_database() ORDER BY 1", fmt.Sprintf("%.50s_", slotPrefix(s.c.app, s.c.name)), s.c.slot)
	if err != nil {
		return err
	}
	for _, row := range others {
		warnings = append(warnings, fmt.Sprintf("nobody uses the slot %s, for which the server keeps write-ahead log; where it is no other node's, run SELECT pg_drop_replication_slot('%s')", *row[0], *row[0]))
	}
	s.c.mu.Lock()
	s.c.state.Warnings = warnings
	s.c.mu.Unlock()
	return nil
}

// find are the wanted tables that are there.
func (s *site) find(ctx context.Context) (found map[relation][]watched, missing []string, err error) {
	found = map[relation][]watched{}
	for _, name := range slices.Sorted(maps.Keys(s.wanted)) {
		schema, table, ok := strings.Cut(name, ".")
		if !ok {
			schema, table = "", name
		}
		r, err := s.rows(ctx, `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN ('r', 'p') AND c.relname = $2 AND (n.nspname = $1 OR $1 = '' AND pg_table_is_visible(c.oid))`, schema, table)
		if err != nil {
			return nil, nil, err
		}
		if len(r) == 0 {
			missing = append(missing, name)
			continue
		}
		at := relation{*r[0][0], *r[0][1]}
		found[at] = append(found[at], watched{name, s.wanted[name]})
	}
	return found, missing, nil
}

func names(tables map[relation][]watched) []string {
	out := []string{}
	for _, all := range tables {
		for _, w := range all {
			out = append(out, w.name)
		}
	}
	slices.Sort(out)
	return out
}

func compareRelations(a, b relation) int {
	return strings.Compare(a.schema+"\x00"+a.name, b.schema+"\x00"+b.name)
}

func (r relation) quoted() string { return quote(r.schema) + "." + quote(r.name) }

// operations are the changes that the publication must have.
func (s *site) operations() string {
	var out []string
	for _, e := range pgEvents {
		for _, spec := range s.wanted {
			if spec[e] {
				out = append(out, e)
				break
			}
		}
	}
	return strings.Join(out, ", ")
}

// identify gives a table, or the parts of a partitioned one, full before-images,
// and notes how to undo that. Without updates and deletes nothing needs them.
func (s *site) identify(ctx context.Context, t relation) error {
	if ops := s.operations(); !strings.Contains(ops, "update") && !strings.Contains(ops, "delete") {
		return nil
	}
	r, err := s.rows(ctx, `SELECT format('%I.%I', n.nspname, c.relname), c.relreplident, (SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid AND x.indisreplident)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relreplident <> 'f' AND c.relkind = 'r' AND (c.oid = $1::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree($1::regclass)))`, t.quoted())
	if err != nil {
		return err
	}
	for _, row := range r {
		was := "DEFAULT"
		switch {
		case *row[1] == "n":
			was = "NOTHING"
		case row[2] != nil:
			was = "USING INDEX " + *row[2]
		}
		if err := s.remember(ctx, *row[0], was); err != nil {
			return err
		}
		if _, err := s.rows(ctx, "ALTER TABLE "+*row[0]+" REPLICA IDENTITY FULL"); err != nil {
			return fmt.Errorf("record the rows of %s as they were before changes: %w", *row[0], err)
		}
	}
	return nil
}

func (s *site) remember(ctx context.Context, table, was string) error {
	return s.c.log.owned(ctx, func(w *connection) error {
		_, err := w.own(ctx, "INSERT INTO _mayfly_identity VALUES (?, ?) ON CONFLICT DO NOTHING", table, was)
		return err
	})
}

// publish makes the publication hold tables, and no others.
func (s *site) publish(ctx context.Context, tables map[relation][]watched) error {
	name, with := quote(s.c.slot), "publish = "+text(s.operations())+", publish_via_partition_root = true"
	r, err := s.rows(ctx, "SELECT concat_ws(', ', CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END, CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END) FROM pg_publication WHERE pubname = $1", s.c.slot)
	if err != nil {
		return err
	}
	switch {
	case len(r) == 0:
		_, err = s.rows(ctx, "CREATE PUBLICATION "+name+" WITH ("+with+")")
	case *r[0][0] != s.operations():
		_, err = s.rows(ctx, "ALTER PUBLICATION "+name+" SET ("+with+")")
	}
	if err != nil {
		return err
	}
	have := map[relation]bool{}
	r, err = s.rows(ctx, "SELECT n.nspname, c.relname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1", s.c.slot)
	if err != nil {
		return err
	}
	for _, row := range r {
		have[relation{*row[0], *row[1]}] = true
	}
	for _, t := range slices.SortedFunc(maps.Keys(tables), compareRelations) {
		if !have[t] {
			if _, err := s.rows(ctx, "ALTER PUBLICATION "+name+" ADD TABLE "+t.quoted()); err != nil {
				return err
			}
		}
		delete(have, t)
	}
	for t := range have {
		if _, err := s.rows(ctx, "ALTER PUBLICATION "+name+" DROP TABLE "+t.quoted()); err != nil {
			return err
		}
	}
	if len(have) > 0 {
		return s.forget(ctx, tables)
	}
	return nil
}

// forget gives tables that are followed no more the identity they had.
func (s *site) forget(ctx context.Context, still map[relation][]watched) error {
	keep := map[string]bool{}
	for t := range still {
		r, err := s.rows(ctx, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.oid = $1::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree($1::regclass))`, t.quoted())
		if err != nil {
			return err
		}
		for _, row := range r {
			keep[*row[0]] = true
		}
	}
	return s.c.log.owned(ctx, func(w *connection) error {
		r, err := w.own(ctx, "SELECT tbl, undo FROM _mayfly_identity")
		if err != nil {
			return err
		}
		for _, row := range r.Rows {
			table, was := row[0].(string), row[1].(string)
			if keep[table] {
				continue
			}
			if _, err := s.rows(ctx, "ALTER TABLE IF EXISTS "+table+" REPLICA IDENTITY "+was); err != nil {
				s.c.logger.Warn("a table keeps REPLICA IDENTITY FULL", "table", table, "was", was, "error", err)
			}
			if _, err := w.own(ctx, "DELETE FROM _mayfly_identity WHERE tbl = ?", table); err != nil {
				return err
			}
		}
		return nil
	})
}

// slot makes the slot where there was none, and looks at the one there is.
func (s *site) slot(ctx context.Context) error {
	r, err := s.rows(ctx, `SELECT confirmed_flush_lsn::text, coalesce(wal_status, ''), coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint::text
		FROM pg_replication_slots WHERE slot_name = $1`, s.c.slot)
	if err != nil {
		return err
	}
	if len(r) == 0 {
		if s.mark.lsn != 0 {
			return s.c.lose(ctx, "the server has no slot "+s.c.slot+" any more: changes since "+s.mark.lsn.String()+" were not told")
		}
		if r, err = s.rows(ctx, "SELECT lsn::text, '', '0' FROM pg_create_logical_replication_slot($1, 'pgoutput')", s.c.slot); err != nil {
			return err
		}
	}
	at, err := pglogrepl.ParseLSN(str(r[0][0]))
	if err != nil && *r[0][1] != "lost" {
		return fmt.Errorf("read slot %s: %w", s.c.slot, err)
	}
	lag, err := strconv.ParseInt(*r[0][2], 10, 64)
	if err != nil {
		return fmt.Errorf("read slot %s: %w", s.c.slot, err)
	}
	s.c.mu.Lock()
	s.c.state.Lag = lag
	s.c.mu.Unlock()
	if s.mark, err = s.c.mark(ctx); err != nil { // the log is ahead of what is confirmed
		return err
	}
	why := ""
	switch {
	case s.mark.lsn == 0: // it was made now, or just before a crash
		return s.c.setMark(ctx, mark{lsn: at})
	case *r[0][1] == "lost":
		why = "the server dropped write-ahead log that slot " + s.c.slot + " needed (its max_slot_wal_keep_size)"
	case lag > int64(s.limit):
		why = fmt.Sprintf("the server kept %s for slot %s, more than max_lag (%s), and the slot was dropped", mayfly.Bytes(lag), s.c.slot, s.limit)
	case at > s.mark.lsn:
		why = "another node has read slot " + s.c.slot + " up to " + at.String()
	default:
		return nil
	}
	return errors.Join(s.c.lose(ctx, why+": changes since "+s.mark.lsn.String()+" were not told"), s.drop(ctx))
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// drop removes the slot, where there is one, and ends who uses it.
func (s *site) drop(ctx context.Context) error {
	s.c.mu.Lock()
	s.c.state.Lag = 0
	s.c.mu.Unlock()
	for {
		r, err := s.rows(ctx, "SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = $1", s.c.slot)
		if err != nil || len(r) == 0 {
			return err
		}
		if r[0][0] != nil {
			if _, err := s.rows(ctx, "SELECT pg_terminate_backend($1::int)", *r[0][0]); err != nil {
				return err
			}
			if !pause(ctx, 50*time.Millisecond) {
				return ctx.Err()
			}
			continue
		}
		_, err = s.rows(ctx, "SELECT pg_drop_replication_slot($1)", s.c.slot)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "55006" {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// takeDown removes all that was made on the server, and what is in the log.
func (s *site) takeDown(ctx context.Context) error {
	if err := s.drop(ctx); err != nil {
		return err
	}
	if _, err := s.rows(ctx, "DROP PUBLICATION IF EXISTS "+quote(s.c.slot)); err != nil {
		return err
	}
	if err := s.forget(ctx, nil); err != nil {
		return err
	}
	s.c.mu.Lock()
	s.c.followed, s.c.state = nil, Capture{State: "waiting", Slot: s.c.slot, Tables: []string{}, MaxLag: s.limit}
	s.c.mu.Unlock()
	return s.c.log.owned(ctx, func(w *connection) error {
		for _, text := range []string{"UPDATE _mayfly_slot SET lsn = 0, lost = ''", "DELETE FROM _mayfly_cursors", "DELETE FROM _mayfly_changes"} {
			if _, err := w.own(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
}
