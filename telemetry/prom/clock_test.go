package prom

import (
	"log/slog"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	c := clock{log: slog.New(slog.DiscardHandler)}
	begin := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	last, now := c.at(begin), begin
	step := func(d time.Duration) time.Time {
		t.Helper()
		now = now.Add(d)
		got := c.at(now)
		if got.Before(last) {
			t.Fatalf("at %s it went back from %s to %s", now, last, got)
		}
		last = got
		return got
	}
	if got := step(10 * time.Second); !got.Equal(now) {
		t.Errorf("at %s it says %s", now, got)
	}
	if got := step(time.Hour); !got.Equal(now) {
		t.Errorf("an hour later, at %s, it says %s", now, got)
	}
	step(-time.Hour)
	if got := step(10 * time.Second); got.Sub(now) != time.Hour-time.Second {
		t.Errorf("10 s after the clock went back it is %s ahead", got.Sub(now))
	}
	for range 4000 {
		step(10 * time.Second)
	}
	if !last.Equal(now) || c.ahead {
		t.Errorf("after eleven hours it says %s at %s", last, now)
	}
}
