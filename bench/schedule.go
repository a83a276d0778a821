package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// benchSchedule measures from the time at which a schedule is due to the
// beginning of its function: one alone, as many a second as in latency, and
// five thousand at one minute.
func benchSchedule(ctx context.Context, s *session, t *table) error {
	f := stamperFunction()
	if len(s.present([]function{f}, t)) == 0 {
		return nil
	}
	for _, c := range []struct {
		schedules int
		when      string
		firings   int // of each
	}{{1, "every 1s", 10}, {latencyRate, "every 1s", 5}, {5000, "* * * * *", 1}} {
		if err := s.schedules(ctx, t, f, c.schedules, c.when, c.firings); err != nil {
			return fmt.Errorf("%d schedules: %w", c.schedules, err)
		}
	}
	return ctx.Err()
}

func (s *session) schedules(ctx context.Context, t *table, f function, schedules int, when string, firings int) error {
	name := fmt.Sprintf("due%d", schedules)
	app, err := s.writeApp(ctx, name, []function{f}, "")
	if err != nil {
		return err
	}
	var triggers strings.Builder
	for i := range schedules {
		fmt.Fprintf(&triggers, ", {schedule: %q, name: s%d}", when, i)
	}
	if err := extend(app, f.name, triggers.String()[2:], ""); err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, app+"-data")
	if err != nil {
		return err
	}
	defer n.stop()
	if _, err := n.stamps(ctx); err != nil { // the instance is there
		return err
	}
	late, last := &histogram{}, map[time.Time]time.Duration{}
	seen := map[string]bool{}
	twice := 0
	err = n.untilStamped(ctx, schedules*firings, func(e stamp) bool {
		key := fmt.Sprint(e.n, e.due)
		if seen[key] {
			twice++
			return false
		}
		seen[key] = true
		late.add(e.at.Sub(e.due))
		last[e.due] = max(last[e.due], e.at.Sub(e.due))
		return true
	})
	if err != nil {
		return err
	}
	row := t.row(fmt.Sprintf("%d × %q", schedules, when))
	row.times(late)
	for _, d := range last {
		row.add("last of a time", "ms", millis(d))
	}
	row.add("fired twice", "", float64(twice))
	row.Note = fmt.Sprintf("%d firings; ready %.1f s after the start", late.total, n.took.Seconds())
	return nil
}
