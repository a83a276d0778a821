package sql

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// stream is one client's session. It holds a connection only while its
// transaction is open. One request at a time uses it.
type stream struct {
	db    *database
	who   mayfly.Caller
	write bool
	texts map[int32]string // stored SQL
	loose bool             // the next transactions do not check foreign keys

	mu      sync.Mutex  // held by the request that uses it
	conn    *connection // guarded by mu; nil outside a transaction
	begun   time.Time   // guarded by mu; of the transaction
	used    time.Time   // guarded by mu
	broken  string      // guarded by mu; why its transaction was rolled back
	baton   string      // guarded by mu
	dropped bool        // guarded by mu
}

// Most streams of a node and stored texts of one.
const (
	maxStreams = 4096
	maxTexts   = 128
)

// streams are those that have a baton.
type streams struct {
	idle, longest time.Duration

	mu  sync.Mutex
	all map[string]*stream // guarded by mu; by baton
}

func (s *streams) init(cfg Config) {
	s.idle, s.longest, s.all = cfg.Idle, cfg.Longest, map[string]*stream{}
}

// keep gives a stream a new baton; a baton works once.
func (s *streams) keep(st *stream) (string, error) {
	random := make([]byte, 24)
	rand.Read(random)
	baton := base64.RawURLEncoding.EncodeToString(random)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxStreams {
		return "", mayfly.Errorf(mayfly.Throttled, "keep stream", "too many streams are open; close them")
	}
	st.baton, st.used = baton, time.Now()
	s.all[baton] = st
	return baton, nil
}

// take finds the stream of a baton for who, locked.
func (s *streams) take(db *database, who mayfly.Caller, baton string) (*stream, error) {
	s.mu.Lock()
	st := s.all[baton]
	if st != nil && st.db == db && sameCaller(st.who, who) {
		delete(s.all, baton)
	} else {
		st = nil
	}
	s.mu.Unlock()
	if st == nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "continue stream", "the stream is not known; it was closed, or was idle for too long")
	}
	st.mu.Lock()
	return st, nil
}

func sameCaller(a, b mayfly.Caller) bool {
	return a.Kind == b.Kind && a.App == b.App && a.Function == b.Function && a.Name == b.Name
}

// sweep ends the streams that were idle and rolls back transactions that are too
// old.
func (s *streams) sweep(now time.Time) {
	s.mu.Lock()
	var late []*stream
	for baton, st := range s.all {
		if !st.mu.TryLock() {
			continue // in use
		}
		switch {
		case now.Sub(st.used) > s.idle && (st.conn != nil || now.Sub(st.used) > 10*s.idle):
			delete(s.all, baton)
			late = append(late, st)
		case st.conn != nil && now.Sub(st.begun) > s.longest:
			late = append(late, st)
		default:
			st.mu.Unlock()
		}
	}
	s.mu.Unlock()
	for _, st := range late {
		st.rollback("the transaction was idle or took too long, and was rolled back")
		st.mu.Unlock()
	}
}

// end rolls back what a database's streams have open.
func (s *streams) end(db *database) {
	s.mu.Lock()
	var mine []*stream
	for baton, st := range s.all {
		if st.db == db {
			mine = append(mine, st)
			delete(s.all, baton)
		}
	}
	s.mu.Unlock()
	for _, st := range mine {
		st.mu.Lock()
		st.rollback("the database was closed")
		st.mu.Unlock()
	}
}

// rollback ends the stream's transaction. mu is held.
func (st *stream) rollback(why string) {
	if st.conn == nil {
		return
	}
	st.broken = why
	st.db.stats.rolledBack()
	st.db.give(st.conn)
	st.conn = nil
}

// autocommit reports whether no transaction is open. mu is held.
func (st *stream) autocommit() bool { return st.conn == nil }

// execute runs one statement: in the stream's transaction, or by itself. mu is
// held.
func (st *stream) execute(ctx context.Context, s *Statement) (*Result, error) {
	if st.broken != "" {
		why := st.broken
		st.broken = ""
		return nil, mayfly.Errorf(mayfly.Conflict, "run statement", "%s", why)
	}
	switch statements := split(s.SQL); len(statements) {
	case 0:
		return nil, mayfly.Errorf(mayfly.Invalid, "run statement", "the text holds no statement")
	case 1:
	default:
		return nil, mayfly.Errorf(mayfly.Invalid, "run statement", "the text holds %d statements; send them one by one, or as a sequence", len(statements))
	}
	if off, ok := foreignKeys(s.SQL); ok && st.conn == nil {
		st.loose = off
		return &Result{}, nil
	}
	if st.conn == nil && (verb(s.SQL) == "BEGIN" || verb(s.SQL) == "SAVEPOINT") {
		return st.begin(ctx, s)
	}
	if st.conn == nil {
		return st.db.once(ctx, s, st.write)
	}
	r, err := st.db.inside(ctx, st.conn, s)
	if !st.conn.inTx {
		st.db.give(st.conn)
		st.conn = nil
	}
	return r, err
}

// foreignKeys reads "PRAGMA foreign_keys = off" and its like, which migration
// tools say before a transaction. It holds for the stream: connections are
// shared.
func foreignKeys(text string) (off, ok bool) {
	w := words(text, 5)
	if len(w) < 4 || w[0] != "PRAGMA" || w[1] != "FOREIGN_KEYS" || w[2] != "=" {
		return false, false
	}
	switch w[3] {
	case "OFF", "0", "NO", "FALSE":
		return true, true
	}
	return false, true
}

// begin takes a connection for a transaction: the writer where the caller may
// write and did not say that it only reads. (READONLY is libSQL's word.)
func (st *stream) begin(ctx context.Context, s *Statement) (*Result, error) {
	w := words(s.SQL, 3)
	if w[0] == "SAVEPOINT" {
		return nil, mayfly.Errorf(mayfly.Invalid, "run statement", "a savepoint needs a transaction here; say BEGIN first")
	}
	last := w[len(w)-1]
	write := st.write && last != "READONLY"
	c, err := st.db.take(ctx, write)
	if err != nil {
		return nil, err
	}
	text := "BEGIN"
	if write {
		text = "BEGIN IMMEDIATE"
	}
	if write && st.loose {
		c.unbound = true
		if _, err := c.own(ctx, "PRAGMA foreign_keys = 0"); err != nil {
			st.db.give(c)
			return nil, err
		}
	}
	r, err := c.run(ctx, &Statement{SQL: text}, 1, 1)
	if err != nil {
		st.db.give(c)
		return nil, err
	}
	st.conn, st.begun = c, time.Now()
	return r, nil
}

// sequence runs several statements until one fails. mu is held.
func (st *stream) sequence(ctx context.Context, text string) error {
	for _, s := range split(text) {
		if _, err := st.execute(ctx, &Statement{SQL: s}); err != nil {
			return err
		}
	}
	return nil
}

// describe compiles a statement without running it. mu is held.
func (st *stream) describe(ctx context.Context, text string) (*Result, error) {
	return st.execute(ctx, &Statement{SQL: "EXPLAIN " + strings.TrimSpace(text)})
}
