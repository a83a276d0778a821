package meter

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// shelf is what apps hold, and the time at which that is measured.
type shelf struct {
	mu    sync.Mutex
	now   time.Time
	bytes map[holder]int64
}

func (s *shelf) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *shelf) held(context.Context) (out []Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, n := range s.bytes {
		out = append(out, Held{h.app, h.kind, h.name, n})
	}
	return out
}

// put changes what a resource holds.
func (s *shelf) put(app mayfly.AppName, kind, name string, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes == nil {
		s.bytes = map[holder]int64{}
	}
	s.bytes[holder{app, kind, name}] = bytes
}

func (s *shelf) config(c *Config) { c.Now, c.Storage = s.Now, s.held }

// measured goes on by d and measures.
func (s *shelf) measured(t testing.TB, l *Ledger, d time.Duration) {
	t.Helper()
	s.mu.Lock()
	s.now = s.now.Add(d)
	s.mu.Unlock()
	if err := l.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-9*math.Abs(want) }

// byteSeconds sums all that was ever held.
func byteSeconds(t testing.TB, l *Ledger, by ...string) (sum float64, rows []StorageRow) {
	t.Helper()
	rows, err := l.Stored(t.Context(), UsageQuery{Since: time.Unix(0, 0), Until: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), By: by})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		sum += r.ByteSeconds
	}
	return sum, rows
}

func TestStorageIsBytesTimesTime(t *testing.T) {
	s := &shelf{now: time.Date(2026, 2, 27, 12, 0, 0, 0, time.UTC)}
	l := open(t, t.TempDir(), func(c *Config) {
		s.config(c)
		c.Tags = func(app mayfly.AppName, fn mayfly.FunctionName) map[string]string {
			if fn != "" {
				t.Error("storage has the tags of", fn)
			}
			return map[string]string{"team": "red of " + string(app)}
		}
	})
	photos, want := int64(1000), 0.0
	for minute := range 90 {
		if minute%3 == 0 {
			photos += 10
		}
		s.put("shop", "bucket", "photos", photos)
		s.put("shop", "kv", "carts", 50)
		s.put("blog", "database", "main", 7)
		s.put("blog", "kv", "empty", 0)
		s.measured(t, l, time.Minute)
		want += 60 * float64(photos+50+7) // until the next measure
	}
	s.measured(t, l, time.Minute)
	sum, rows := byteSeconds(t, l, "resource")
	if !near(sum, want) || len(rows) != 3 || rows[0].App != "blog" || rows[1].Name != "photos" || rows[1].Bytes != photos || rows[2].ByteSeconds != 50*90*60 {
		t.Errorf("%.0f byte seconds, want %.0f: %+v", sum, want, rows)
	}
	var n int
	if err := l.db.QueryRow("select count(*) from held").Scan(&n); err != nil || n != 30+1+1 {
		t.Errorf("%d rows for 30 sizes of a bucket and two resources that did not change (%v)", n, err)
	}
	if sum, rows := byteSeconds(t, l, "hour"); !near(sum, want) || len(rows) != 2*3 || rows[0].Bytes != 0 || rows[0].App != "" {
		t.Errorf("by hour %.0f: %+v", sum, rows)
	}
	if sum, rows := byteSeconds(t, l, "tag:team", "day"); !near(sum, want) || len(rows) != 3 || rows[1].Tag != "red of blog" {
		t.Errorf("by tag and day %.0f: %+v", sum, rows)
	}
	for range 2 {
		if err := l.mergeStorage(s.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if sum, _ := byteSeconds(t, l); !near(sum, want) {
			t.Errorf("merged: %.0f byte seconds, want %.0f", sum, want)
		}
	}
	if err := l.db.QueryRow("select count(*) from held").Scan(&n); err != nil || n > 2*2+2 {
		t.Errorf("%d rows after the merge (%v)", n, err)
	}
	half, err := l.Stored(t.Context(), UsageQuery{App: "blog", Since: s.Now().Add(-90 * time.Second), Until: s.Now().Add(-30 * time.Second)})
	if err != nil || len(half) != 1 || half[0].ByteSeconds != 7*60 || half[0].Name != "" {
		t.Errorf("the minute from a measure and a half ago: %+v %v", half, err)
	}
	if rows, err := l.Stored(t.Context(), UsageQuery{Function: "pay"}); err != nil || len(rows) != 0 {
		t.Errorf("of a function: %+v %v", rows, err)
	}
}

// One GiB for the whole of a month is one GiB-month, however long that is.
func TestMonthsHaveTheirLength(t *testing.T) {
	s := &shelf{now: time.Date(2027, 1, 31, 23, 57, 30, 0, time.UTC)}
	l := open(t, t.TempDir(), s.config)
	s.put("a", "bucket", "b", 1<<30)
	s.measured(t, l, 0)
	for s.Now().Before(time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC)) {
		s.measured(t, l, 9*time.Minute+30*time.Second)
	}
	for _, month := range []time.Month{time.February, time.March} {
		begin := time.Date(2027, month, 1, 0, 0, 0, 0, time.UTC)
		rows, err := l.Stored(t.Context(), UsageQuery{Since: begin, Until: begin.AddDate(0, 1, 0)})
		if err != nil || len(rows) != 1 || !near(rows[0].GiBMonths, 1) {
			t.Errorf("%s: %+v %v", month, rows, err)
		}
	}
	_, rows := byteSeconds(t, l, "day")
	if len(rows) != 28+31+1 && len(rows) != 28+31+2 {
		t.Errorf("%d days", len(rows))
	}
	for _, r := range rows {
		if r.Start.Month() == time.February && !near(r.GiBMonths, 1./28) || r.Start.Month() == time.March && !near(r.GiBMonths, 1./31) {
			t.Errorf("%+v", r)
		}
	}
}

// What was not measured is not counted, and nothing twice.
func TestStorageAcrossRestartsAndGaps(t *testing.T) {
	s := &shelf{now: time.Date(2026, 5, 4, 3, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	s.put("a", "kv", "k", 100)
	want := 0.0
	for range 3 {
		l := open(t, dir, s.config)
		s.measured(t, l, 0)
		s.measured(t, l, time.Minute)
		s.measured(t, l, time.Minute)
		want += 100 * 120
		if err := l.Close(); err != nil { // without Run's last measure: a kill
			t.Fatal(err)
		}
		s.mu.Lock()
		s.now = s.now.Add(time.Hour)
		s.mu.Unlock()
	}
	l := open(t, dir, s.config)
	s.measured(t, l, 0)
	s.measured(t, l, 11*time.Minute) // it slept
	s.measured(t, l, time.Minute)
	want += 100 * 60
	s.measured(t, l, -30*time.Minute) // the clock was wrong
	s.measured(t, l, time.Minute)
	want += 100 * 60
	s.put("a", "kv", "k", 0)
	s.measured(t, l, time.Minute)
	want += 100 * 60
	s.measured(t, l, time.Minute)
	if sum, rows := byteSeconds(t, l); sum != want || rows[0].Bytes != 0 {
		t.Errorf("%.0f byte seconds, want %.0f: %+v", sum, want, rows)
	}
}

func TestRunMeasures(t *testing.T) {
	dir := t.TempDir()
	s := &shelf{}
	s.put("a", "kv", "k", 100)
	config := func(c *Config) { c.Storage, c.MeasureEvery = s.held, 10*time.Millisecond }
	l := open(t, dir, config)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	deadline := time.Now().Add(time.Minute)
	for sum := 0.0; sum == 0; sum, _ = byteSeconds(t, l) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was measured in a minute")
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	sum, _ := byteSeconds(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if again, _ := byteSeconds(t, open(t, dir, nil)); again != sum {
		t.Errorf("opened again it has %f byte seconds, before %f", again, sum)
	}
}

// Storage alone spends a budget, and the forecast takes what is held now.
func TestStorageSpendsBudgets(t *testing.T) {
	s := &shelf{now: time.Date(2027, 2, 14, 0, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	l := open(t, dir, s.config)
	apps := []*mayfly.Manifest{{App: "a", Budget: &mayfly.Budget{Amount: 1, Prices: "node", Action: "stop"}}}
	if err := l.Apply(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
	const gib = 280
	s.put("a", "bucket", "b", gib<<30)
	s.measured(t, l, 0)
	day := func() {
		for range 160 {
			s.measured(t, l, 9*time.Minute)
		}
	}
	day()
	spent := func(l *Ledger, want float64, stopped bool) {
		t.Helper()
		states, err := l.Budgets()
		if err != nil || len(states) != 1 || !near(states[0].Spent, want) || states[0].Stopped != stopped {
			t.Errorf("%+v %v, want %f spent", states, err, want)
		}
		if err := l.Allow("a"); (err != nil) != stopped {
			t.Error(err)
		}
	}
	spent(l, 0.1*gib/28, true)
	f, err := l.Forecast(t.Context(), "a", s.Now())
	if err != nil || !near(f.StoredSoFar["bucket"], gib/28.) || !near(f.StoredMonth["bucket"], gib/28.*15) {
		t.Errorf("%+v %v", f, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, s.config)
	if err := l.Apply(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
	spent(l, 0.1*gib/28, true)
	s.measured(t, l, 14*24*time.Hour-4*time.Minute) // the end of the month, without it
	s.measured(t, l, 9*time.Minute)                 // five of them are of the next one
	spent(l, 0.1*gib*5/(31*24*60), false)
}

func TestStoragePrices(t *testing.T) {
	l := open(t, t.TempDir(), nil)
	u := Stored{"bucket": 100, "kv": 30, "database": 10}
	for name, want := range map[string][2]float64{ // without and with what is free
		"lambda-x86":         {100*0.023 + 30*0.25 + 10*0.10, 100*0.023 + 5*0.25 + 10*0.10},
		"cloud-run":          {100*0.020 + 30*0.15 + 10*0.17, 95*0.020 + 29*0.15 + 10*0.17},
		"azure-functions":    {100*0.018 + 30*0.045 + 10*0.115, 100*0.018 + 30*0.045 + 10*0.115},
		"cloudflare-workers": {100*0.015 + 30*0.50 + 10*0.75, 90*0.015 + 29*0.50 + 5*0.75},
		"node":               {14, 14},
	} {
		s, err := l.sheet(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, free := range []bool{false, true} {
			if c := s.Cost(UsageTotals{}, u, free); !near(c.Total, want[i]) || c.Storage != c.Total {
				t.Errorf("%s: %+v, want %f", name, c, want[i])
			}
		}
	}
	for _, sheet := range []string{`[{"name":"x","per_gib_month":{"tape":1}}]`, `[{"name":"x","per_gib_month":{"kv":-1}}]`} {
		if _, err := Open(Config{Dir: t.TempDir(), Sheets: []byte(sheet)}); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%s: %v", sheet, err)
		}
	}
}

// BenchmarkMeasure books what 10,000 resources hold.
func BenchmarkMeasure(b *testing.B) {
	s := &shelf{now: time.Date(2026, 2, 27, 12, 0, 0, 0, time.UTC)}
	l := open(b, b.TempDir(), s.config)
	for i := range 10_000 {
		s.put(mayfly.AppName(fmt.Sprint("app-", i)), "kv", "k", 1)
	}
	s.measured(b, l, 0)
	for b.Loop() {
		s.measured(b, l, time.Minute)
	}
}
