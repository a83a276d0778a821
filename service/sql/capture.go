package sql

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
)

// DefaultMaxLag is how much write-ahead log a PostgreSQL server may keep for a
// database's table triggers where a manifest does not say.
const DefaultMaxLag = mayfly.Bytes(1 << 30)

// capture follows the changes of a PostgreSQL database by logical replication
// into a change log of the node's, a file like that of an SQLite database. What
// the server may forget is in that log first, in one transaction with the
// position (LSN) up to which it has everything: nothing is missed and nothing is
// there twice, whenever the node is killed.
//
// Its slot and its publication have one name, made with the log. States: it
// follows; it waits, with an error that it tries to get over; or it lost changes
// (its slot is gone, or was dropped because the server kept too much for it),
// which only Restart ends.
type capture struct {
	app    mayfly.AppName
	name   string
	log    *database
	slot   string
	watch  time.Duration // between looks at the slot
	told   func()        // the log may have grown
	logger *slog.Logger

	busy   sync.Mutex    // held while the server's side is made, looked at or taken down
	again  chan struct{} // holds a token when the loop must look again
	ended  chan struct{} // closed when the loop has ended; nil before it began
	cancel context.CancelFunc

	mu        sync.Mutex
	server    *postgres              // guarded by mu
	wanted    map[string]tableSpec   // guarded by mu; by the name that triggers use
	limit     mayfly.Bytes           // guarded by mu
	followed  map[relation][]watched // guarded by mu
	interrupt context.CancelFunc     // guarded by mu; ends the stream under way
	state     Capture                // guarded by mu
}

// relation is a table as the server names it.
type relation struct{ schema, name string }

// watched is a table as triggers name it, with the changes they want.
type watched struct {
	name   string
	events tableSpec
}

// Capture is how a PostgreSQL database's changes are followed.
type Capture struct {
	State    string       `json:"state" enum:"following,waiting,lost" doc:"lost: changes were missed, and the events stop until they are restarted"`
	Slot     string       `json:"slot" doc:"The replication slot's name, and the publication's"`
	Tables   []string     `json:"tables" doc:"That are followed"`
	Missing  []string     `json:"missing,omitempty" doc:"That functions listen to and the database does not have"`
	Lag      int64        `json:"lag_bytes" doc:"Write-ahead log that the server keeps for the slot"`
	MaxLag   mayfly.Bytes `json:"max_lag" doc:"The slot is dropped where it keeps more"`
	Error    string       `json:"error,omitempty" doc:"Why it waits, or what was lost"`
	Warnings []string     `json:"warnings,omitempty"`
}

const journalSchema = `
CREATE TABLE IF NOT EXISTS _mayfly_slot(id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL, lsn INTEGER NOT NULL, lost TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS _mayfly_identity(tbl TEXT PRIMARY KEY, undo TEXT NOT NULL);`

// openCapture opens the log of a database's changes, or makes it.
func (d *Driver) openCapture(ctx context.Context, app mayfly.AppName, name string) (*capture, error) {
	log, err := openDatabase(ctx, d.journal(app, name), 4*DefaultMaxLag)
	if err != nil {
		return nil, err
	}
	log.app, log.name, log.wait = app, name, d.cfg.Wait
	c := &capture{app: app, name: name, log: log, watch: d.cfg.Watch, logger: d.cfg.Log, again: make(chan struct{}, 1), told: func() {}}
	if d.cfg.Changed != nil {
		c.told = func() { d.cfg.Changed(app, name) }
	}
	err = log.owned(ctx, func(w *connection) error {
		for _, s := range split(changeSchema + journalSchema) {
			if _, err := w.own(ctx, s); err != nil {
				return err
			}
		}
		if _, err := w.own(ctx, "INSERT INTO _mayfly_slot VALUES (1, ?, 0, '') ON CONFLICT DO NOTHING", slotName(app, name)); err != nil {
			return err
		}
		r, err := w.own(ctx, "SELECT name FROM _mayfly_slot")
		if err == nil {
			c.slot = r.Rows[0][0].(string)
		}
		return err
	})
	if err != nil {
		log.close()
		return nil, err
	}
	c.state = Capture{State: "waiting", Slot: c.slot, Tables: []string{}}
	return c, nil
}

func (d *Driver) journal(app mayfly.AppName, name string) string {
	return filepath.Join(d.cfg.Dir, string(app), name+".changes.db")
}

// slotName is a name that no other node uses: the same app may be deployed on
// several, with one server.
func slotName(app mayfly.AppName, name string) string {
	random := make([]byte, 4)
	rand.Read(random)
	return fmt.Sprintf("%.50s_%s", slotPrefix(app, name), hex.EncodeToString(random))
}

func slotPrefix(app mayfly.AppName, name string) string {
	return strings.ReplaceAll("mayfly_"+string(app)+"_"+name, "-", "_")
}

// owned runs fn with the writer, in a transaction of the platform.
func (d *database) owned(ctx context.Context, fn func(w *connection) error) error {
	w, err := d.take(ctx, true)
	if err != nil {
		return err
	}
	defer d.give(w)
	return w.atomically(ctx, func() error { return fn(w) })
}

// mark is how far the log is.
type mark struct {
	lsn  pglogrepl.LSN // everything before it is in the log; 0: there is no slot yet
	lost string        // what was lost; "": nothing
}

func (c *capture) mark(ctx context.Context) (m mark, err error) {
	r, err := c.log.take(ctx, false)
	if err != nil {
		return m, err
	}
	defer c.log.give(r)
	out, err := r.own(ctx, "SELECT lsn, lost FROM _mayfly_slot")
	if err != nil {
		return m, err
	}
	return mark{pglogrepl.LSN(out.Rows[0][0].(int64)), out.Rows[0][1].(string)}, nil
}

func (c *capture) setMark(ctx context.Context, m mark) error {
	return c.log.owned(ctx, func(w *connection) error {
		_, err := w.own(ctx, "UPDATE _mayfly_slot SET lsn = ?, lost = ?", int64(m.lsn), m.lost)
		return err
	})
}

// aim says what to follow, and on which server. The caller calls ensure then.
func (c *capture) aim(server *postgres, wanted map[string]tableSpec, limit mayfly.Bytes) {
	if limit == 0 {
		limit = DefaultMaxLag
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if (c.server != server || len(wanted) == 0) && c.interrupt != nil {
		c.interrupt()
	}
	c.server, c.wanted, c.limit, c.state.MaxLag = server, wanted, limit, limit
}

func (c *capture) poke() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// run follows the server's changes until ctx ends.
func (c *capture) run(ctx context.Context) {
	defer close(c.ended)
	rest := time.Second
	for ctx.Err() == nil {
		begun := time.Now()
		err := c.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > time.Minute {
			rest = time.Second
		}
		c.note(err)
		select {
		case <-ctx.Done():
		case <-c.again:
			rest = time.Second
		case <-time.After(rest):
			rest = min(2*rest, 30*time.Second)
		}
	}
}

// note keeps why it waits, and logs it where that is new.
func (c *capture) note(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	var gone *lostError
	state := "waiting"
	if errors.As(err, &gone) {
		state = "lost"
	}
	c.mu.Lock()
	news := c.state.Error != err.Error()
	c.state.State, c.state.Error = state, err.Error()
	c.mu.Unlock()
	if news {
		c.logger.Error("changes of a PostgreSQL database are not followed", "app", c.app, "database", c.name, "slot", c.slot, "error", err)
	}
}

// lostError says that changes were missed.
type lostError struct{ why string }

func (e *lostError) Error() string {
	return e.why + "; begin anew from now with: mayfly sql restart DATABASE"
}

// follow takes changes until something is wrong. Without tables to follow it
// takes down what it made on the server.
func (c *capture) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.interrupt = cancel
	server := c.server
	c.mu.Unlock()
	if server == nil {
		return nil // it is being opened
	}
	if err := c.ensure(ctx); err != nil {
		return err
	}
	m, err := c.mark(ctx)
	if err != nil || m.lsn == 0 {
		return err // nothing to follow
	}
	in, err := c.begin(ctx, server, m.lsn)
	if err != nil {
		return err
	}
	defer in.close()
	c.mu.Lock()
	c.state.State, c.state.Error = "following", ""
	c.mu.Unlock()
	return in.run(ctx)
}

// lose notes that changes were missed. The slot, where there is one, is dropped
// by ensure from then on.
func (c *capture) lose(ctx context.Context, why string) error {
	err := c.log.owned(ctx, func(w *connection) error {
		_, err := w.own(ctx, "UPDATE _mayfly_slot SET lost = ?", why)
		return err
	})
	if err != nil {
		return err
	}
	return &lostError{why}
}

// restart begins anew after a loss: with what is committed from now on. What is
// in the log already is still told.
func (c *capture) restart(ctx context.Context) error {
	m, err := c.mark(ctx)
	if err != nil {
		return err
	}
	if m.lost == "" {
		return mayfly.Errorf(mayfly.Conflict, "restart table events", "no changes of database %s were lost", c.name)
	}
	if err := c.discard(ctx); err != nil {
		return err
	}
	err = c.ensure(ctx)
	c.poke()
	return err
}

// discard drops the slot that is of no use any more.
func (c *capture) discard(ctx context.Context) error {
	c.busy.Lock()
	defer c.busy.Unlock()
	c.mu.Lock()
	server := c.server
	c.mu.Unlock()
	err := server.lend(ctx, func(conn *pgconn.PgConn) error { return (&site{c: c, conn: conn}).drop(ctx) })
	if err != nil {
		return err
	}
	return c.setMark(ctx, mark{})
}

// stop ends the loop, where it runs, and closes the log.
func (c *capture) stop() {
	if c.ended != nil {
		c.cancel()
		<-c.ended
	}
	c.log.close()
}

// Status is how the changes are followed.
func (c *capture) status() Capture {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Tables, s.Missing, s.Warnings = slices.Clone(s.Tables), slices.Clone(s.Missing), slices.Clone(s.Warnings)
	return s
}

func (c *capture) follows() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.wanted) > 0
}

func (d *Driver) capture(app mayfly.AppName, name string) *capture {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.captures[string(app)+"/"+name]
}
