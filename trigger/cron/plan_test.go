package cron

import (
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// upcoming is the next n firings in UTC, "02 15:04:05".
func upcoming(t *testing.T, trig mayfly.Trigger, after string, n int) string {
	t.Helper()
	times, err := New(Config{}).Next(&trig, at(after), n)
	if err != nil {
		t.Fatalf("%+v: %v", trig, err)
	}
	var out []string
	for _, x := range times {
		out = append(out, x.UTC().Format("02 15:04:05"))
	}
	return strings.Join(out, ", ")
}

func TestNext(t *testing.T) {
	const after = "2026-05-01T00:00:30Z" // a Friday
	for _, c := range []struct {
		trig mayfly.Trigger
		want string
	}{
		{mayfly.Trigger{Schedule: "0 3 * * *"}, "01 03:00:00, 02 03:00:00, 03 03:00:00"},
		{mayfly.Trigger{Schedule: "*/20 * * * *"}, "01 00:20:00, 01 00:40:00, 01 01:00:00"},
		{mayfly.Trigger{Schedule: "30 * * * * *"}, "01 00:01:30, 01 00:02:30, 01 00:03:30"},
		{mayfly.Trigger{Schedule: "@hourly"}, "01 01:00:00, 01 02:00:00, 01 03:00:00"},
		{mayfly.Trigger{Schedule: "0 0 * * MON-FRI"}, "04 00:00:00, 05 00:00:00, 06 00:00:00"},
		{mayfly.Trigger{Schedule: "0 0 3 * SUN"}, "03 00:00:00, 10 00:00:00, 17 00:00:00"},
		{mayfly.Trigger{Schedule: "0 0 13 * FRI"}, "08 00:00:00, 13 00:00:00, 15 00:00:00"}, // either day matches
		{mayfly.Trigger{Schedule: "0 0 L * *"}, "31 00:00:00, 30 00:00:00, 31 00:00:00"},
		{mayfly.Trigger{Schedule: "0 3 * * *", Timezone: "Europe/Zurich"}, "01 01:00:00, 02 01:00:00, 03 01:00:00"},
		{mayfly.Trigger{Schedule: "every 5m"}, "01 00:05:00, 01 00:10:00, 01 00:15:00"},
		{mayfly.Trigger{Schedule: "every 7h", Start: "2026-05-01T01:00:00Z"}, "01 01:00:00, 01 08:00:00, 01 15:00:00"},
		{mayfly.Trigger{Schedule: "at 2026-05-02T08:00:00Z"}, "02 08:00:00"},
		{mayfly.Trigger{Schedule: "at 2026-04-02T08:00:00Z"}, ""},
		{mayfly.Trigger{Schedule: "0 * * * *", Start: "2026-05-01T05:00:00Z", End: "2026-05-01T06:00:00Z"}, "01 05:00:00, 01 06:00:00"},
	} {
		if got := upcoming(t, c.trig, after, 3); got != c.want {
			t.Errorf("%q %q: %s; want %s", c.trig.Schedule, c.trig.Timezone, got, c.want)
		}
	}
}

// In Zurich clocks go from 2:00 to 3:00 on 29 March 2026 at 01:00 UTC, and from
// 3:00 back to 2:00 on 25 October at 01:00 UTC.
func TestDaylightSaving(t *testing.T) {
	for _, c := range []struct {
		schedule, zone, after, want string
	}{
		// Skipped: fires once, when the clock shows an hour more, and next day as usual.
		{"30 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "29 01:30:00, 30 00:30:00"},
		{"0 3 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "29 01:00:00, 30 01:00:00"},
		// Repeated: fires the first time only.
		{"30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", "25 00:30:00, 26 01:30:00"},
		{"0 2,3 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", "25 00:00:00, 25 02:00:00"},
		// Every hour follows the elapsed time.
		{"30 * * * *", "Europe/Zurich", "2026-10-25T00:00:00Z", "25 00:30:00, 25 01:30:00, 25 02:30:00"},
		{"30 * * * *", "Europe/Zurich", "2026-03-29T00:00:00Z", "29 00:30:00, 29 01:30:00, 29 02:30:00"},
		{"every 1h", "Europe/Zurich", "2026-03-29T00:00:00Z", "29 01:00:00, 29 02:00:00, 29 03:00:00"},
		// Half an hour, in autumn on 5 April 2026 at 15:00 UTC of the day before.
		{"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", "04 14:45:00, 05 15:15:00"},
		// New York goes back from 2:00 to 1:00 on 1 November 2026 at 06:00 UTC.
		{"30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "01 05:30:00, 02 06:30:00"},
	} {
		n := strings.Count(c.want, ",") + 1
		if got := upcoming(t, mayfly.Trigger{Schedule: c.schedule, Timezone: c.zone}, c.after, n); got != c.want {
			t.Errorf("%q in %s: %s; want %s", c.schedule, c.zone, got, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		trig mayfly.Trigger
		want string
	}{
		{mayfly.Trigger{Schedule: ""}, "schedule"},
		{mayfly.Trigger{Schedule: "often"}, "is not a schedule"},
		{mayfly.Trigger{Schedule: "61 * * * *"}, "is not a schedule"},
		{mayfly.Trigger{Schedule: "TZ=0"}, "timezone"},
		{mayfly.Trigger{Schedule: "CRON_TZ=UTC 0 3 * * *"}, "timezone"},
		{mayfly.Trigger{Schedule: "0 0 30 2 *"}, "never comes"},
		{mayfly.Trigger{Schedule: "@every 5m"}, "every 5m"},
		{mayfly.Trigger{Schedule: "every 10ms"}, "every 1s"},
		{mayfly.Trigger{Schedule: "every day"}, "interval"},
		{mayfly.Trigger{Schedule: "at noon"}, "time"},
		{mayfly.Trigger{Schedule: "at"}, "time"},
		{mayfly.Trigger{Schedule: "@daily", Timezone: "Mars/Base"}, "Mars/Base"},
		{mayfly.Trigger{Schedule: "@daily", Timezone: "Local"}, "Local"},
		{mayfly.Trigger{Schedule: "@daily", Start: "today"}, "today"},
		{mayfly.Trigger{Schedule: "@daily", Start: "2026-05-01T00:00:00Z", End: "2026-04-01T00:00:00Z"}, "end"},
		{mayfly.Trigger{Schedule: "@daily", Missed: "never"}, "missed"},
		{mayfly.Trigger{Schedule: "@daily", Jitter: mayfly.Duration(48 * time.Hour)}, "jitter"},
	} {
		_, err := Parse(&c.trig)
		if mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want %q", c.trig, err, c.want)
		}
		if New(Config{}).Check(nil, "fn", &c.trig) == nil {
			t.Errorf("%+v passes", c.trig)
		}
	}
}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		schedule, missed, last, now string
		want                        int
		first                       string // of the firings
	}{
		{"0 3 * * *", "", "2026-05-01T02:00:00Z", "2026-05-01T02:59:59Z", 0, ""},
		{"0 3 * * *", "", "2026-05-01T02:00:00Z", "2026-05-01T03:00:00Z", 1, "2026-05-01T03:00:00Z"},
		{"0 3 * * *", "", "2026-05-01T03:00:00Z", "2026-05-01T03:00:30Z", 0, ""},
		{"0 3 * * *", "skip", "2026-05-01T02:00:00Z", "2026-05-04T12:00:00Z", 0, ""},
		{"0 3 * * *", "once", "2026-05-01T02:00:00Z", "2026-05-04T12:00:00Z", 1, "2026-05-04T03:00:00Z"},
		{"0 3 * * *", "all", "2026-05-01T02:00:00Z", "2026-05-04T12:00:00Z", 4, "2026-05-01T03:00:00Z"},
		{"0 3 * * *", "skip", "2026-05-01T02:00:00Z", "2026-05-04T03:00:10Z", 1, "2026-05-04T03:00:00Z"},
		{"0 3 * * *", "once", "2026-05-01T02:00:00Z", "2026-05-04T03:00:10Z", 1, "2026-05-04T03:00:00Z"},
		{"every 1s", "once", "2024-05-01T02:00:00Z", "2026-05-04T03:00:10Z", 60, "2026-05-04T02:59:11Z"},
		{"every 1s", "all", "2024-05-01T02:00:00Z", "2026-05-04T03:00:10Z", 1060, "2026-05-04T02:42:31Z"},
		{"* * * * * *", "all", "2024-05-01T02:00:00Z", "2026-05-04T03:00:10Z", 1060, "2026-05-04T02:42:31Z"},
		{"0 0 1 1 *", "once", "2024-05-01T02:00:00Z", "2026-05-04T03:00:10Z", 1, "2026-01-01T00:00:00Z"},
		{"at 2026-05-02T08:00:00Z", "once", "2026-05-01T02:00:00Z", "2026-05-04T03:00:10Z", 1, "2026-05-02T08:00:00Z"},
		{"at 2026-05-02T08:00:00Z", "once", "2026-05-03T02:00:00Z", "2026-05-04T03:00:10Z", 0, ""},
	} {
		p, err := Parse(&mayfly.Trigger{Schedule: c.schedule, Missed: c.missed})
		if err != nil {
			t.Fatal(err)
		}
		fire, dealt := p.Due(at(c.last), at(c.now))
		if len(fire) != c.want || c.want > 0 && !fire[0].Equal(at(c.first)) {
			t.Errorf("%q %s: %d firings, %v; want %d from %s", c.schedule, c.missed, len(fire), fire[:min(3, len(fire))], c.want, c.first)
		}
		if again, _ := p.Due(dealt, at(c.now)); len(again) > 0 {
			t.Errorf("%q %s: %d fire twice", c.schedule, c.missed, len(again))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0 3 * * *", "Europe/Zurich")
	f.Add("TZ=0", "")
	f.Add("every 5m", "UTC")
	f.Add("@daily", "")
	f.Add("at 2026-05-02T08:00:00Z", "")
	f.Fuzz(func(t *testing.T, schedule, zone string) {
		p, err := Parse(&mayfly.Trigger{Schedule: schedule, Timezone: zone})
		if err != nil {
			return
		}
		now := at("2026-05-01T00:00:00Z")
		if next := p.Next(now); !next.IsZero() && !next.After(now) {
			t.Errorf("%q in %q: %s is not after %s", schedule, zone, next, now)
		}
	})
}
