package sql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Limits of one statement's result.
const (
	maxRows  = 100_000
	maxBytes = 8 << 20
)

const pageSize = 4096

// database is one open file: a writer and some readers.
type database struct {
	app     mayfly.AppName
	name    string
	file    string
	tmp     string                               // folder of copies while they are read
	timeout atomic.Int64                         // of a statement, nanoseconds
	wait    time.Duration                        // for a connection
	copies  atomic.Pointer[copies]               // nil: none are made
	tables  atomic.Pointer[map[string]tableSpec] // that functions listen to

	writer  chan *connection // holds the writer while it is free
	readers chan *connection // free readers; nil where one is yet to be opened
	changed func()           // the change log may have grown; may be nil
	causes  causes
	opened  []*connection // guarded by mu
	closed  bool          // guarded by mu
	mu      sync.Mutex
	stats   stats
	share   share
}

type stats struct {
	mu       sync.Mutex
	reads    int64         // guarded by mu
	writes   int64         // guarded by mu
	waits    int64         // guarded by mu; that took longer than 1 ms
	waited   time.Duration // guarded by mu
	refused  int64         // guarded by mu; waited too long
	longest  time.Duration // guarded by mu
	rollback int64         // guarded by mu; transactions that were idle or too old
}

func (s *stats) note(took time.Duration, write, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if write {
		s.writes++
	} else {
		s.reads++
	}
	if refused {
		s.refused++
	}
	if took > time.Millisecond {
		s.waits++
		s.waited += took
		s.longest = max(s.longest, took)
	}
}

// rolledBack counts a transaction that its client did not end.
func (s *stats) rolledBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rollback++
}

func (d *database) listened() map[string]tableSpec {
	if t := d.tables.Load(); t != nil {
		return *t
	}
	return nil
}

func (d *database) setTimeout(t time.Duration) { d.timeout.Store(int64(t)) }

// readers of a database. More than the machine's processors gain nothing.
const readers = 4

func openDatabase(ctx context.Context, file string, quota mayfly.Bytes) (*database, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	d := &database{file: file, writer: make(chan *connection, 1), readers: make(chan *connection, readers)}
	w, err := connect(ctx, file, false, pages(quota))
	if err != nil {
		return nil, err
	}
	d.share.own, d.share.most = pages(quota), pages(quota)
	d.opened = append(d.opened, w)
	d.writer <- w
	for range readers {
		d.readers <- nil
	}
	return d, nil
}

// pages is a quota in pages; 0 is SQLite's own limit.
func pages(quota mayfly.Bytes) int64 {
	if quota <= 0 {
		return 1<<32 - 2
	}
	return max(int64(quota)/pageSize, 16)
}

// take waits for the writer or a reader, in the order of the calls. The caller
// gives it back.
func (d *database) take(ctx context.Context, write bool) (*connection, error) {
	from := d.readers
	if write {
		from = d.writer
	}
	begun := time.Now()
	timer := time.NewTimer(d.wait)
	defer timer.Stop()
	var c *connection
	var err error
	select {
	case c = <-from:
	case <-timer.C:
		err = mayfly.Errorf(mayfly.Throttled, "wait for database "+d.name, "others kept it busy for %s; make transactions shorter", d.wait)
	case <-ctx.Done():
		err = mayfly.Errorf(mayfly.Timeout, "wait for database "+d.name, "%w", ctx.Err())
	}
	d.stats.note(time.Since(begun), write, err != nil)
	if err != nil {
		return nil, err
	}
	if c == nil {
		if c, err = d.reader(ctx); err != nil {
			d.readers <- nil
			return nil, err
		}
	}
	if write {
		if err := d.bound(ctx, c); err != nil {
			d.writer <- c
			return nil, err
		}
	}
	return c, nil
}

func (d *database) reader(ctx context.Context) (*connection, error) {
	c, err := connect(ctx, d.file, true, 0)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.Join(mayfly.Errorf(mayfly.Unavailable, "open database", "the node is closing"), c.Close())
	}
	d.opened = append(d.opened, c)
	return c, nil
}

// give puts a connection back; a transaction that is open is rolled back.
func (d *database) give(c *connection) {
	if c.inTx {
		_, _ = c.own(context.Background(), "ROLLBACK")
	}
	if c.unbound {
		_, _ = c.own(context.Background(), "PRAGMA foreign_keys = 1")
		c.unbound = false
	}
	if c.read {
		d.readers <- c
		return
	}
	d.count(c)
	d.writer <- c
}

// reads are the verbs that are tried on a reader first.
var reads = map[string]bool{"SELECT": true, "WITH": true, "VALUES": true, "EXPLAIN": true, "PRAGMA": true}

// once runs a statement by itself: a transaction of its own. write says whether
// the caller may write at all.
func (d *database) once(ctx context.Context, s *Statement, write bool) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(d.timeout.Load()))
	defer cancel()
	if reads[verb(s.SQL)] || !write {
		r, wrote, err := d.onReader(ctx, s)
		if !wrote || !write {
			return r, readOnly(err, wrote)
		}
	}
	c, err := d.take(ctx, true)
	if err != nil {
		return nil, err
	}
	defer d.give(c)
	return d.onWriter(ctx, c, s)
}

// readOnly says what a caller who may only read, or said so, did wrong.
func readOnly(err error, wrote bool) error {
	if err != nil && wrote {
		return mayfly.Errorf(mayfly.Denied, "run statement", "it writes, and only reading is granted or asked for: %w", err)
	}
	return err
}

func (d *database) onReader(ctx context.Context, s *Statement) (r *Result, wrote bool, err error) {
	c, err := d.take(ctx, false)
	if err != nil {
		return nil, false, err
	}
	defer d.give(c)
	r, err = c.run(ctx, s, maxRows, maxBytes)
	return r, c.wrote, err
}

// onWriter runs a statement outside a transaction. One that changes the schema
// gets a transaction, in which the change log's triggers follow.
func (d *database) onWriter(ctx context.Context, c *connection, s *Statement) (r *Result, err error) {
	if d.schema(s) {
		err = c.atomically(ctx, func() error {
			r, err = d.step(ctx, c, s)
			return err
		})
		return r, err
	}
	r, err = c.run(ctx, s, maxRows, maxBytes)
	if err == nil && r.wrote && !c.inTx {
		d.tell(ctx, c)
	}
	return r, err
}

// schema reports whether a statement changes a schema whose triggers must
// follow.
func (d *database) schema(s *Statement) bool {
	switch verb(s.SQL) {
	case "CREATE", "ALTER", "DROP":
		return len(d.listened()) > 0
	}
	return false
}

// step runs a statement in a transaction. The change log's triggers are out of
// the way of one that changes the schema, and follow it: a column that a trigger
// names could not be dropped.
func (d *database) step(ctx context.Context, c *connection, s *Statement) (*Result, error) {
	if !d.schema(s) {
		return c.run(ctx, s, maxRows, maxBytes)
	}
	if err := c.dropTriggers(ctx); err != nil {
		return nil, err
	}
	r, err := c.run(ctx, s, maxRows, maxBytes)
	if c.inTx {
		err = errors.Join(err, d.follow(ctx, c))
	}
	return r, err
}

func (d *database) tell(ctx context.Context, c *connection) {
	if d.changed != nil && len(d.listened()) > 0 {
		d.caused(ctx, c)
		d.changed()
	}
}

// inside runs a statement of an open transaction.
func (d *database) inside(ctx context.Context, c *connection, s *Statement) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(d.timeout.Load()))
	defer cancel()
	v := verb(s.SQL)
	told := (v == "COMMIT" || v == "END") && c.touched
	r, err := d.step(ctx, c, s)
	if err == nil && told {
		d.tell(ctx, c)
	}
	return r, err
}

// close waits for the connections that are in use.
func (d *database) close() {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	d.closed = true
	d.mu.Unlock()
	_ = d.copies.Load().stop() // what it could not copy now, it copies when it is opened again
	<-d.writer
	for range readers {
		<-d.readers
	}
	for _, c := range d.opened {
		_ = c.Close()
	}
}
