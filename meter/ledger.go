package meter

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver of the ledger's file

	"github.com/mayfly-cloud/mayfly"
)

// Config says where the ledger lives and what it charges.
type Config struct {
	Dir string       // made where it is missing; required
	Log *slog.Logger // default: discards

	// Sheets are further price sheets, as JSON in the form of prices.json. One
	// with a known name replaces that. Default: none.
	Sheets []byte
	// Prices is the sheet that is used where none is named. Default "lambda-x86".
	Prices string
	// BySecond is how long usage is kept by the second before it is kept by the
	// hour. Default 48 h.
	BySecond time.Duration

	// Tags are the tags of a function, for costs by tag; those of an app's storage
	// where the function is "". Default: none.
	Tags func(mayfly.AppName, mayfly.FunctionName) map[string]string
	// Calls finds the records behind the id of a call or of a trace, for what
	// they cost; telemetry's Store.Calls is it. Default: costs of single calls
	// are not offered.
	Calls func(ctx context.Context, id string) ([]*mayfly.Invocation, error)
	// Storage says what the resources of all apps hold. It is asked each
	// MeasureEvery, and once more where somebody asks and that was long ago, and
	// must be quick. Default: storage is not counted.
	Storage func(ctx context.Context) []Held
	// MeasureEvery is the time between two measures of storage. Default 1 min.
	MeasureEvery time.Duration
	// Authorizer decides who may read over the API. Default: administrators and
	// the platform.
	Authorizer mayfly.Authorizer
	// Now is the clock that budgets and sums go by. Default time.Now; simulations
	// have their own.
	Now func() time.Time
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Prices == "" {
		c.Prices = "lambda-x86"
	}
	if c.BySecond == 0 {
		c.BySecond = 48 * time.Hour
	}
	if c.MeasureEvery == 0 {
		c.MeasureEvery = time.Minute
	}
	return c
}

// key is whose usage it is.
type key struct {
	app      mayfly.AppName
	function mayfly.FunctionName
	version  int
}

// Ledger is the usage of one node. Its methods may be called concurrently.
type Ledger struct {
	cfg     Config
	sheets  map[string]*PriceSheet
	db      *sql.DB
	journal *journal
	keys    atomic.Pointer[map[key]uint32] // replaced, never changed

	measureMu sync.Mutex // one measure at a time

	mu      sync.Mutex     // one commit at a time
	names   map[uint32]key // guarded by mu
	storage storage        // guarded by mu
	closed  bool           // guarded by mu
	budgets budgets
}

const (
	commitEvery = 250 * time.Millisecond
	rollEvery   = 10 * time.Minute
)

const schema = `
create table if not exists keys(id integer primary key, app text not null, function text not null, version integer not null, unique(app, function, version)) strict;
create table if not exists usage(at integer not null, key integer not null,
	requests integer not null, errors integer not null, cold integer not null, millis integer not null, kibms integer not null,
	millis1c integer not null, kibms1c integer not null, cpu integer not null, bytes_in integer not null, bytes_out integer not null, egress integer not null,
	primary key(at, key)) strict, without rowid;
create table if not exists usage_hour(at integer not null, key integer not null,
	requests integer not null, errors integer not null, cold integer not null, millis integer not null, kibms integer not null,
	millis1c integer not null, kibms1c integer not null, cpu integer not null, bytes_in integer not null, bytes_out integer not null, egress integer not null,
	primary key(at, key)) strict, without rowid;
create table if not exists position(id integer primary key check(id = 1), journal integer not null) strict;
insert or ignore into position values(1, 0);
`

// Open returns the ledger in cfg.Dir, with what a killed process left in its
// journal. It starts nothing; until Run is called, usage goes to the ledger when
// something is asked.
func Open(cfg Config) (*Ledger, error) {
	cfg = cfg.WithDefaults()
	const op = "open the usage ledger"
	if cfg.Dir == "" {
		return nil, mayfly.Errorf(mayfly.Invalid, op, "dir is missing")
	}
	sheets, err := loadSheets(cfg.Sheets)
	if err != nil {
		return nil, err
	}
	if sheets[cfg.Prices] == nil {
		return nil, mayfly.Errorf(mayfly.Invalid, op, "there is no price sheet %q", cfg.Prices)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, op, "%w", err)
	}
	l := &Ledger{cfg: cfg, sheets: sheets, names: map[uint32]key{}}
	if err := l.open(); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, op, "%w", err)
	}
	return l, nil
}

func (l *Ledger) open() error {
	query := url.Values{"_pragma": {"journal_mode(wal)", "synchronous(normal)", "busy_timeout(10000)", "cache_size(-1024)", "auto_vacuum(incremental)"}, "_txlock": {"immediate"}}
	dsn := (&url.URL{Scheme: "file", Opaque: filepath.Join(l.cfg.Dir, "usage.db"), RawQuery: query.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(2) // one commits, one answers
	db.SetMaxIdleConns(2)
	l.db = db
	if err := l.load(); err != nil {
		return errors.Join(err, l.db.Close())
	}
	return nil
}

// load reads the names and commits what the journal holds.
func (l *Ledger) load() error {
	if _, err := l.db.Exec(schema + storageSchema); err != nil {
		return err
	}
	if err := l.loadKeys(); err != nil {
		return err
	}
	var after int64
	if err := l.db.QueryRow("select journal from position").Scan(&after); err != nil {
		return err
	}
	j, left, err := openJournal(filepath.Join(l.cfg.Dir, "journal"), uint64(after))
	if err != nil {
		return err
	}
	l.journal = j
	batch := newBatch()
	for i := range left {
		batch.add(&left[i])
	}
	if err := l.write(batch, j.head.Load()); err != nil {
		return err
	}
	return l.budgets.load(l)
}

func (l *Ledger) loadKeys() error {
	rows, err := l.db.Query("select id, app, function, version from keys")
	if err != nil {
		return err
	}
	defer rows.Close()
	keys := map[key]uint32{}
	for rows.Next() {
		var id uint32
		var k key
		if err := rows.Scan(&id, &k.app, &k.function, &k.version); err != nil {
			return err
		}
		keys[k], l.names[id] = id, k
	}
	l.keys.Store(&keys)
	return rows.Err()
}

// Invocation puts a finished call into the ledger. When it returns, the call
// survives the death of the process. It costs about a quarter of a microsecond,
// but for the first call of a version, which is given its number on disk.
func (l *Ledger) Invocation(inv *mayfly.Invocation) {
	if inv == nil || inv.Outcome == mayfly.OutcomeThrottled {
		return
	}
	e := entry{
		second: uint32(inv.Start.Unix()), flags: entryCall, millis: uint32(roundUp(inv.Billed, time.Millisecond)),
		kib: uint32(inv.Memory / mayfly.KiB), cpu: int64(inv.CPU), bytesIn: inv.BytesIn, bytesOut: inv.BytesOut,
	}
	if inv.Outcome != mayfly.OutcomeOK {
		e.flags |= entryFailed
	}
	if inv.Cold {
		e.flags |= entryCold
	}
	l.put(key{inv.App, inv.Function, inv.Version}, &e)
}

// Egress counts bytes that a function's code sent through its egress rules.
func (l *Ledger) Egress(app mayfly.AppName, fn mayfly.FunctionName, version int, bytes int64) {
	if bytes > 0 {
		l.put(key{app, fn, version}, &entry{second: uint32(l.cfg.Now().Unix()), bytesOut: bytes})
	}
}

// put is the way into the journal. A full one is emptied by whoever finds it
// so: usage is never shed.
func (l *Ledger) put(k key, e *entry) {
	id, ok := (*l.keys.Load())[k]
	if !ok {
		var err error
		if id, err = l.number(k); err != nil {
			l.cfg.Log.Error("usage cannot be written and is lost", "app", k.app, "function", k.function, "error", err)
			return
		}
	}
	e.key = id
	for !l.journal.put(e) {
		if err := l.commit(); err != nil {
			l.cfg.Log.Error("usage cannot be written and is lost", "app", k.app, "function", k.function, "error", err)
			return
		}
	}
}

// number gives a version its number, on disk before it is used.
func (l *Ledger) number(k key) (uint32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := *l.keys.Load()
	if id, ok := old[k]; ok {
		return id, nil
	}
	if l.closed {
		return 0, mayfly.Errorf(mayfly.Unavailable, "", "the ledger is closed")
	}
	res, err := l.db.Exec("insert into keys(app, function, version) values(?, ?, ?)", string(k.app), string(k.function), k.version)
	if err != nil {
		return 0, err
	}
	n, err := res.LastInsertId()
	if err != nil {
		return 0, err
	}
	keys := make(map[key]uint32, len(old)+1)
	for k, id := range old {
		keys[k] = id
	}
	keys[k], l.names[uint32(n)] = uint32(n), k
	l.keys.Store(&keys)
	return uint32(n), nil
}

// batch sums entries by second and version.
type batch struct {
	sums  map[slot]UsageTotals
	order []slot // for writes in the order of the table
}

type slot struct{ second, key uint32 }

func newBatch() *batch { return &batch{sums: map[slot]UsageTotals{}} }

func (b *batch) add(e *entry) {
	s := slot{e.second, e.key}
	u, ok := b.sums[s]
	if !ok {
		b.order = append(b.order, s)
	}
	b.sums[s] = u.Add(e.usage())
}

func (e *entry) usage() UsageTotals {
	if e.flags&entryCall == 0 {
		return UsageTotals{Egress: e.bytesOut}
	}
	ms, kib := int64(e.millis), int64(e.kib)
	ms1c := (ms + 99) / 100 * 100
	u := UsageTotals{Requests: 1, Millis: ms, KiBms: kib * ms, Millis1c: ms1c, KiBms1c: kib * ms1c, CPU: e.cpu, BytesIn: e.bytesIn, BytesOut: e.bytesOut}
	if e.flags&entryFailed != 0 {
		u.Errors = 1
	}
	if e.flags&entryCold != 0 {
		u.Cold = 1
	}
	return u
}

// commit moves the journal's entries into the ledger.
func (l *Ledger) commit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return mayfly.Errorf(mayfly.Unavailable, "", "the ledger is closed")
	}
	b := newBatch()
	last := l.journal.pending(b.add)
	if last == l.journal.tail.Load() {
		return nil
	}
	l.budgets.look() // before the write: a month that is counted anew must not have it twice
	if err := l.write(b, last); err != nil {
		return err
	}
	for s, u := range b.sums {
		l.budgets.spend(l.names[s.key].app, s.second, u)
	}
	return nil
}

// write adds a batch and the journal's position in one transaction.
func (l *Ledger) write(b *batch, position uint64) (err error) {
	if position != l.journal.tail.Load() || len(b.sums) > 0 {
		if err := l.transaction(b, position); err != nil {
			return err
		}
	}
	l.journal.tail.Store(position)
	return nil
}

const addUsage = `insert into usage values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set
	requests = requests + excluded.requests, errors = errors + excluded.errors, cold = cold + excluded.cold, millis = millis + excluded.millis, kibms = kibms + excluded.kibms,
	millis1c = millis1c + excluded.millis1c, kibms1c = kibms1c + excluded.kibms1c, cpu = cpu + excluded.cpu,
	bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out, egress = egress + excluded.egress`

func (l *Ledger) transaction(b *batch, position uint64) error {
	tx, err := l.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	add, err := tx.Prepare(addUsage)
	if err != nil {
		return err
	}
	for _, s := range b.order {
		u := b.sums[s]
		if _, err := add.Exec(s.second, s.key, u.Requests, u.Errors, u.Cold, u.Millis, u.KiBms, u.Millis1c, u.KiBms1c, u.CPU, u.BytesIn, u.BytesOut, u.Egress); err != nil {
			return err
		}
	}
	if _, err := tx.Exec("update position set journal = ?", int64(position)); err != nil {
		return err
	}
	return tx.Commit()
}

// Run moves usage into the ledger as it comes, measures storage, and moves what
// is old into hours, until ctx ends; then it moves the rest.
func (l *Ledger) Run(ctx context.Context) error {
	var measuring sync.WaitGroup
	defer measuring.Wait()
	if l.cfg.Storage != nil {
		measuring.Go(func() { l.measuring(ctx) })
	}
	tick, roll := time.NewTicker(commitEvery), time.NewTicker(rollEvery)
	defer tick.Stop()
	defer roll.Stop()
	failing := false
	for {
		err := l.commit()
		if err != nil && !failing {
			l.cfg.Log.Error("usage waits: the ledger cannot be written", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return l.commit()
		case <-tick.C:
		case now := <-roll.C:
			if err := errors.Join(l.rollUp(now), l.mergeStorage(now.Add(-l.cfg.BySecond))); err != nil {
				l.cfg.Log.Error("usage cannot be rolled up", "error", err)
			}
		}
	}
}

// rollUp sums seconds that are old into hours.
func (l *Ledger) rollUp(now time.Time) error {
	before := now.Add(-l.cfg.BySecond).Truncate(time.Hour).Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	tx, err := l.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	_, err = tx.Exec(`insert into usage_hour
		select at / 3600 * 3600 as hour, key, sum(requests), sum(errors), sum(cold), sum(millis), sum(kibms), sum(millis1c), sum(kibms1c), sum(cpu), sum(bytes_in), sum(bytes_out), sum(egress)
		from usage where at < ? group by hour, key
		on conflict do update set requests = requests + excluded.requests, errors = errors + excluded.errors, cold = cold + excluded.cold, millis = millis + excluded.millis,
			kibms = kibms + excluded.kibms, millis1c = millis1c + excluded.millis1c, kibms1c = kibms1c + excluded.kibms1c, cpu = cpu + excluded.cpu,
			bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out, egress = egress + excluded.egress`, before)
	if err != nil {
		return err
	}
	if _, err := tx.Exec("delete from usage where at < ?", before); err != nil {
		return err
	}
	return tx.Commit()
}

// Close moves the rest into the ledger and closes its files. It may be called
// twice. No call may be put in after it.
func (l *Ledger) Close() error {
	err := l.commit()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return errors.Join(err, l.db.Close())
}
