package meter

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// StorageRow is what was held, and for how long. Fields that were not grouped by
// are empty.
type StorageRow struct {
	App         mayfly.AppName `json:"app,omitempty"`
	Kind        string         `json:"kind"`           // bucket, kv or database
	Name        string         `json:"name,omitempty"` // of the resource
	Tag         string         `json:"tag,omitempty"`
	Start       time.Time      `json:"start,omitzero"`
	Bytes       int64          `json:"bytes,omitempty"` // now; not where it is by time
	ByteSeconds float64        `json:"byte_seconds"`
	GiBMonths   float64        `json:"gib_months"`
}

// held is a row of the ledger: a mean where several were merged.
type held struct {
	holder
	since, until int64 // Unix milliseconds
	bytes        float64
}

// Stored sums what resources held, exactly for the times of q, and what they
// hold now. It belongs to no function: a query for one has none. By seconds and
// minutes it is not told.
func (l *Ledger) Stored(ctx context.Context, q UsageQuery) ([]StorageRow, error) {
	g, err := groupingOf(q.By)
	if err != nil || q.Function != "" || g.step > 0 && g.step < steps["hour"] {
		return nil, err
	}
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	if q, err = q.within(l.cfg.Now()); err != nil {
		return nil, err
	}
	sums := map[StorageRow]*StorageRow{}
	of := func(h holder, start time.Time) *StorageRow {
		key := g.holder(h, start, l.cfg.Tags)
		if sums[key] == nil {
			row := key
			sums[key] = &row
		}
		return sums[key]
	}
	err = l.eachHeld(ctx, q.App, q.Since, q.Until, func(h *held) {
		h.pieces(g.step, func(from time.Time, ms, month float64) {
			r := of(h.holder, from)
			r.ByteSeconds += h.bytes * ms / 1000
			r.GiBMonths += h.bytes / (1 << 30) * ms / month
		})
	})
	if err != nil {
		return nil, err
	}
	if g.step == 0 {
		for _, s := range l.Storage() {
			if s.Bytes > 0 && (q.App == "" || q.App == s.App) {
				of(holder{s.App, s.Kind, s.Name}, time.Time{}).Bytes += s.Bytes
			}
		}
	}
	return sortedStorage(sums), nil
}

// eachHeld gives the rows that touch [since, until), cut to that.
func (l *Ledger) eachHeld(ctx context.Context, app mayfly.AppName, since, until time.Time, use func(*held)) error {
	from, to := since.UnixMilli(), until.UnixMilli()
	rows, err := l.db.QueryContext(ctx, `select r.app, r.kind, r.name, max(h.since, ?1), min(h.until, ?2), h.bytes
		from held h join holders r on r.id = h.holder where h.until > ?1 and h.since < ?2 and (?3 = '' or r.app = ?3)`, from, to, string(app))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var h held
		if err := rows.Scan(&h.app, &h.kind, &h.name, &h.since, &h.until, &h.bytes); err != nil {
			return err
		}
		use(&h)
	}
	return rows.Err()
}

// pieces cuts a row at the ends of months, and of steps of so many seconds where
// that is not 0. It gives each piece's step, its length and that of its month,
// in milliseconds.
func (h *held) pieces(step int64, use func(start time.Time, ms, month float64)) {
	for at := h.since; at < h.until; {
		month := monthOf(time.UnixMilli(at))
		next := month.AddDate(0, 1, 0)
		end, start := min(h.until, next.UnixMilli()), time.Time{}
		if step > 0 {
			begin := at / (step * 1000) * step * 1000
			end, start = min(end, begin+step*1000), time.UnixMilli(begin).UTC()
		}
		use(start, float64(end-at), float64(next.Sub(month).Milliseconds()))
		at = end
	}
}

// holder is the row of a resource without what is not grouped by.
func (g *grouping) holder(h holder, start time.Time, tags func(mayfly.AppName, mayfly.FunctionName) map[string]string) StorageRow {
	r := StorageRow{Kind: h.kind, Start: start}
	if g.tag != "" && tags != nil {
		r.Tag = tags(h.app, "")[g.tag]
	}
	if g.app {
		r.App = h.app
	}
	if g.resource {
		r.Name = h.name
	}
	return r
}

func sortedStorage(sums map[StorageRow]*StorageRow) []StorageRow {
	out := make([]StorageRow, 0, len(sums))
	for _, r := range sums {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b StorageRow) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.App, b.App), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Tag, b.Tag))
	})
	return out
}

// storedSince is what each app's resources held from a time on.
func (l *Ledger) storedSince(t time.Time) (map[mayfly.AppName]Stored, error) {
	out := map[mayfly.AppName]Stored{}
	err := l.eachHeld(context.Background(), "", t, l.cfg.Now().Add(24*time.Hour), func(h *held) {
		if out[h.app] == nil {
			out[h.app] = Stored{}
		}
		h.pieces(0, func(_ time.Time, ms, month float64) { out[h.app][h.kind] += h.bytes / (1 << 30) * ms / month })
	})
	return out, err
}

// forecastStored is what was held this month, and what it comes to with what is
// held now.
func (l *Ledger) forecastStored(ctx context.Context, app mayfly.AppName, now time.Time) (soFar, month Stored, err error) {
	rows, err := l.Stored(ctx, UsageQuery{App: app, Since: monthOf(now), Until: now.Add(time.Second), By: []string{"app"}})
	if err != nil {
		return nil, nil, err
	}
	soFar = storedOf(rows)
	month = maps.Clone(soFar)
	begin := monthOf(now)
	end := begin.AddDate(0, 1, 0)
	rest := float64(end.Sub(now)) / float64(end.Sub(begin))
	for _, r := range rows {
		month[r.Kind] += float64(r.Bytes) / (1 << 30) * rest
	}
	return soFar, month, nil
}

// storedOf sums rows by kind.
func storedOf(rows []StorageRow) Stored {
	out := Stored{}
	for _, r := range rows {
		out[r.Kind] += r.GiBMonths
	}
	return out
}
