package meter

import (
	"context"
	"database/sql"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Held is what a resource of an app holds.
type Held struct {
	App   mayfly.AppName
	Kind  string // one of Kinds
	Name  string
	Bytes int64
}

// Kinds are the kinds of resources that hold data, as price sheets name them.
var Kinds = []string{"bucket", "database", "kv"}

// holder is a resource.
type holder struct {
	app        mayfly.AppName
	kind, name string
}

// span is what a resource has held since the last measure, and the row that
// grows while that does not change.
type span struct {
	bytes int64
	row   int64 // 0: not on disk yet
}

// storage is what the ledger knows of resources. A measure counts until the
// next one; what was measured by another process, or longer than gap ago, ended
// with its last measure.
type storage struct {
	spans  map[holder]span // of the last measure
	last   int64           // its time, Unix milliseconds; 0: there was none
	merged int64           // up to where rows were merged
}

const (
	// measuresMissed is how many measures may be late or missing before the time
	// between two of them is not counted.
	measuresMissed = 10
	// fresh is how old a measure may be for an answer.
	fresh = 2 * time.Second
	hour  = int64(time.Hour / time.Millisecond)
)

const storageSchema = `
create table if not exists holders(id integer primary key, app text not null, kind text not null, name text not null, unique(app, kind, name)) strict;
create table if not exists held(id integer primary key, holder integer not null, since integer not null, until integer not null, bytes real not null) strict;
create index if not exists held_until on held(until);
`

// measuring measures what resources hold until ctx ends; then what was held
// last counts up to that moment.
func (l *Ledger) measuring(ctx context.Context) {
	tick := time.NewTicker(l.cfg.MeasureEvery)
	defer tick.Stop()
	failing := false
	for {
		err := l.measure(ctx)
		if err != nil && !failing {
			l.cfg.Log.Error("storage is not counted: the ledger cannot be written", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			if err := l.book(l.cfg.Now(), l.Storage()); err != nil {
				l.cfg.Log.Error("the last minute of storage is not counted", "error", err)
			}
			return
		case <-tick.C:
		}
	}
}

// measure asks what resources hold and books it.
func (l *Ledger) measure(ctx context.Context) error {
	l.measureMu.Lock()
	defer l.measureMu.Unlock()
	held := l.cfg.Storage(ctx)
	if ctx.Err() != nil {
		return nil // it may be a part
	}
	return l.book(l.cfg.Now(), held)
}

// refresh measures where the last measure is old.
func (l *Ledger) refresh(ctx context.Context) error {
	if l.cfg.Storage == nil {
		return nil
	}
	l.mu.Lock()
	last := time.UnixMilli(l.storage.last)
	l.mu.Unlock()
	if age := l.cfg.Now().Sub(last); age >= 0 && age < fresh {
		return nil
	}
	return l.measure(ctx)
}

// Storage is what resources held at the last measure.
func (l *Ledger) Storage() []Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Held, 0, len(l.storage.spans))
	for h, s := range l.storage.spans {
		out = append(out, Held{h.app, h.kind, h.name, s.bytes})
	}
	return out
}

// book counts what was held from the last measure to now, and takes held for
// what counts from now on.
func (l *Ledger) book(now time.Time, held []Held) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return mayfly.Errorf(mayfly.Unavailable, "", "the ledger is closed")
	}
	s, at := &l.storage, now.UnixMilli()
	counts := s.last > 0 && at > s.last && at-s.last <= measuresMissed*l.cfg.MeasureEvery.Milliseconds()
	l.budgets.look() // before the write: a month that is counted anew must not have it twice
	if counts {
		rows, err := l.extend(at)
		if err != nil {
			return err
		}
		for h, row := range rows {
			s.spans[h] = span{s.spans[h].bytes, row}
			l.budgets.store(h, s.last, at, s.spans[h].bytes)
		}
		l.budgets.rejudge()
	}
	next := make(map[holder]span, len(held))
	for _, r := range held {
		h := holder{r.App, r.Kind, r.Name}
		was := s.spans[h]
		if !counts || was.bytes != r.Bytes {
			was = span{bytes: r.Bytes}
		}
		next[h] = was
	}
	s.spans, s.last = next, at
	return nil
}

// extend writes that what was measured last was held up to at, in one
// transaction. It returns the rows.
func (l *Ledger) extend(at int64) (map[holder]int64, error) {
	tx, err := l.db.Begin()
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	grow, err := tx.Prepare("update held set until = ? where id = ?")
	if err != nil {
		return nil, err
	}
	begin, err := tx.Prepare("insert into held(holder, since, until, bytes) values(?, ?, ?, ?)")
	if err != nil {
		return nil, err
	}
	rows := map[holder]int64{}
	for h, s := range l.storage.spans {
		switch {
		case s.bytes == 0:
			continue
		case s.row > 0:
			_, err = grow.Exec(at, s.row)
		default:
			s.row, err = l.begin(tx, begin, h, at, s.bytes)
		}
		if err != nil {
			return nil, err
		}
		rows[h] = s.row
	}
	return rows, tx.Commit()
}

// begin writes a new row for a resource.
func (l *Ledger) begin(tx *sql.Tx, insert *sql.Stmt, h holder, at, bytes int64) (row int64, err error) {
	var id int64
	if err := tx.QueryRow("insert into holders(app, kind, name) values(?, ?, ?) on conflict do update set app = app returning id", string(h.app), h.kind, h.name).Scan(&id); err != nil {
		return 0, err
	}
	res, err := insert.Exec(id, l.storage.last, at, float64(bytes))
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// within are the rows that end in (?1, ?2] and lie within one hour.
const within = "until > ?1 and until <= ?2 and since / 3600000 = (until - 1) / 3600000"

// mergeStorage makes one row of what a resource held in each hour that ended by
// a time. Rows that are longer than an hour stay as they are: their resource did
// not change.
func (l *Ledger) mergeStorage(before time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, end := &l.storage, before.UnixMilli()/hour*hour
	if l.closed || end <= s.merged {
		return nil
	}
	tx, err := l.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	var last int64
	if err := tx.QueryRow("select coalesce(max(id), 0) from held").Scan(&last); err != nil {
		return err
	}
	_, err = tx.Exec(`insert into held(holder, since, until, bytes)
		select holder, min(since), max(until), sum(bytes * (until - since)) / (max(until) - min(since)) from held where `+within+` group by holder, since / 3600000 having count(*) > 1`, s.merged, end)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`delete from held where id <= ?3 and `+within+` and (holder, since / 3600000) in (
		select holder, since / 3600000 from held where id > ?3)`, s.merged, end, last)
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.merged = end
	return nil
}
