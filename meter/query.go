package meter

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// UsageQuery says what is summed, and by what.
type UsageQuery struct {
	App      mayfly.AppName
	Function mayfly.FunctionName
	Since    time.Time // inclusive; default the begin of the month (UTC)
	Until    time.Time // exclusive; default now
	// By groups the sums: app, function, version, resource, second, minute, hour,
	// day, tag:NAME. Empty: by app and function.
	By []string
}

// UsageRow is one sum. Fields that were not grouped by are empty.
type UsageRow struct {
	App      mayfly.AppName      `json:"app,omitempty"`
	Function mayfly.FunctionName `json:"function,omitempty"`
	Version  int                 `json:"version,omitempty"`
	Tag      string              `json:"tag,omitempty"` // the tag's value; "" where a function has none
	Start    time.Time           `json:"start,omitzero"`
	Usage    UsageTotals         `json:"usage"`
}

// grouping is By, taken apart.
type grouping struct {
	app, function, version, resource bool

	tag  string
	step int64 // s
}

var steps = map[string]int64{"second": 1, "minute": 60, "hour": 3600, "day": 86400}

func groupingOf(by []string) (grouping, error) {
	var g grouping
	if len(by) == 0 {
		by = []string{"app", "function"}
	}
	for _, b := range by {
		tag, isTag := strings.CutPrefix(b, "tag:")
		switch {
		case b == "app":
			g.app = true
		case b == "function":
			g.app, g.function = true, true
		case b == "version":
			g.app, g.function, g.version = true, true, true
		case b == "resource":
			g.app, g.resource = true, true
		case isTag && tag != "":
			g.tag = tag
		case steps[b] > 0:
			g.step = steps[b]
		default:
			return g, mayfly.Errorf(mayfly.Invalid, "sum usage", "%q is not app, function, version, resource, second, minute, hour, day or tag:NAME", b)
		}
	}
	return g, nil
}

// Usage sums what calls used. Calls that ended before it was asked are in it.
// Usage older than Config.BySecond is known by the hour, so that the ends of a
// query there count for whole hours.
func (l *Ledger) Usage(ctx context.Context, q UsageQuery) ([]UsageRow, error) {
	if err := l.commit(); err != nil {
		return nil, err
	}
	return l.sum(ctx, q)
}

func (l *Ledger) sum(ctx context.Context, q UsageQuery) ([]UsageRow, error) {
	g, err := groupingOf(q.By)
	if err != nil {
		return nil, err
	}
	if q, err = q.within(l.cfg.Now()); err != nil {
		return nil, err
	}
	step := g.step
	if step == 0 {
		step = 1 << 40 // everything falls into one
	}
	rows, err := l.db.QueryContext(ctx, `
		select k.app, k.function, k.version, u.at / ?1 * ?1 as start,
			sum(requests), sum(errors), sum(cold), sum(millis), sum(kibms), sum(millis1c), sum(kibms1c), sum(cpu), sum(bytes_in), sum(bytes_out), sum(egress)
		from (select * from usage where at >= ?2 and at < ?3 union all select * from usage_hour where at >= ?4 and at < ?3) u join keys k on k.id = u.key
		where (?5 = '' or k.app = ?5) and (?6 = '' or k.function = ?6)
		group by k.id, start`, step, q.Since.Unix(), q.Until.Unix(), q.Since.Truncate(time.Hour).Unix(), string(q.App), string(q.Function))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	sums := map[UsageRow]UsageTotals{}
	for rows.Next() {
		var r UsageRow
		var start int64
		var u UsageTotals
		if err := rows.Scan(&r.App, &r.Function, &r.Version, &start, &u.Requests, &u.Errors, &u.Cold, &u.Millis, &u.KiBms, &u.Millis1c, &u.KiBms1c, &u.CPU, &u.BytesIn, &u.BytesOut, &u.Egress); err != nil {
			return nil, err
		}
		group := g.group(r, start, l.cfg.Tags)
		sums[group] = sums[group].Add(u)
	}
	return sorted(sums), rows.Err()
}

// group is r without what is not grouped by.
func (g *grouping) group(r UsageRow, start int64, tags func(mayfly.AppName, mayfly.FunctionName) map[string]string) UsageRow {
	if g.tag != "" && tags != nil {
		r.Tag = tags(r.App, r.Function)[g.tag]
	}
	if !g.app {
		r.App = ""
	}
	if !g.function {
		r.Function = ""
	}
	if !g.version {
		r.Version = 0
	}
	if g.step > 0 {
		r.Start = time.Unix(start, 0).UTC()
	}
	return r
}

func sorted(sums map[UsageRow]UsageTotals) []UsageRow {
	out := make([]UsageRow, 0, len(sums))
	for r, u := range sums {
		r.Usage = u
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b UsageRow) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.App, b.App), cmp.Compare(a.Function, b.Function), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Tag, b.Tag))
	})
	return out
}

// within fills the times of a query.
func (q UsageQuery) within(now time.Time) (UsageQuery, error) {
	if q.Since.IsZero() {
		q.Since = monthOf(now)
	}
	if q.Until.IsZero() {
		q.Until = now.Add(time.Second)
	}
	if q.Until.Before(q.Since) {
		return q, mayfly.Errorf(mayfly.Invalid, "sum usage", "until, %s, is before since, %s", q.Until.Format(time.RFC3339), q.Since.Format(time.RFC3339))
	}
	return q, nil
}

// Forecast is what a month may come to: what was used so far and, for the rest
// of the month, the mean of the last seven days (or of as many as there are) of
// usage, and of storage what is held now.
type Forecast struct {
	SoFar       UsageTotals
	Month       UsageTotals
	Days        float64 // that the mean is from
	StoredSoFar Stored
	StoredMonth Stored
}

// Forecast looks to the end of the current month, for an app or for all.
func (l *Ledger) Forecast(ctx context.Context, app mayfly.AppName, now time.Time) (Forecast, error) {
	var f Forecast
	month, err := l.Usage(ctx, UsageQuery{App: app, Since: monthOf(now), Until: now.Add(time.Second), By: []string{"app"}})
	if err != nil {
		return f, err
	}
	if f.StoredSoFar, f.StoredMonth, err = l.forecastStored(ctx, app, now); err != nil {
		return f, err
	}
	week, err := l.sum(ctx, UsageQuery{App: app, Since: now.Add(-7 * 24 * time.Hour), Until: now.Add(time.Second), By: []string{"hour"}})
	if err != nil {
		return f, err
	}
	for _, r := range month {
		f.SoFar = f.SoFar.Add(r.Usage)
	}
	f.Month = f.SoFar
	if len(week) == 0 {
		return f, nil
	}
	var recent UsageTotals
	for _, r := range week {
		recent = recent.Add(r.Usage)
	}
	span := max(now.Sub(week[0].Start), time.Hour)
	f.Days = span.Hours() / 24
	rest := monthOf(now).AddDate(0, 1, 0).Sub(now)
	f.Month = f.SoFar.Add(recent.scale(float64(rest) / float64(span)))
	return f, nil
}

func (u UsageTotals) scale(by float64) UsageTotals {
	for _, n := range []*int64{&u.Requests, &u.Errors, &u.Cold, &u.Millis, &u.KiBms, &u.Millis1c, &u.KiBms1c, &u.CPU, &u.BytesIn, &u.BytesOut, &u.Egress} {
		*n = int64(float64(*n) * by)
	}
	return u
}
