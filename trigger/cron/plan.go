package cron

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones are known on machines without a zone database

	"github.com/netresearch/go-cron"

	"github.com/mayfly-cloud/mayfly"
)

// Policies for firings that were missed.
const (
	MissedSkip = "skip"
	MissedOnce = "once"
	MissedAll  = "all"
)

const (
	grace     = time.Minute // a firing is missed when it is later than this
	mostLate  = 1000        // firings of one catch-up
	minEvery  = time.Second
	mostYears = 5 // a schedule without a firing in this time is refused
)

// Plan is when a schedule fires. It is immutable and pure.
type Plan struct {
	text   string // changes when the times do
	next   func(after time.Time) time.Time
	start  time.Time
	end    time.Time
	missed string
	jitter time.Duration
}

var parser = cron.MustNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.Extended | cron.DowOrDom)

// Parse reads a trigger's schedule and what qualifies it. It returns an Invalid
// error that says which key is wrong and how to write it.
func Parse(t *mayfly.Trigger) (*Plan, error) {
	p := &Plan{missed: t.Missed, jitter: t.Jitter.D(), text: strings.Join([]string{t.Schedule, t.Timezone, t.Start, t.End}, "|")}
	zone, err := time.LoadLocation(t.Timezone)
	if err != nil || t.Timezone == "Local" {
		return nil, invalid("timezone", "%q is not a time zone; write a name such as Europe/Zurich", t.Timezone)
	}
	if p.start, err = moment("start", t.Start); err != nil {
		return nil, err
	}
	if p.end, err = moment("end", t.End); err != nil {
		return nil, err
	}
	if !p.end.IsZero() && !p.end.After(p.start) {
		return nil, invalid("end", "the end %s is not after the start", t.End)
	}
	switch p.missed {
	case "":
		p.missed = MissedOnce
	case MissedSkip, MissedOnce, MissedAll:
	default:
		return nil, invalid("missed", "%q is not known; choose skip, once or all", p.missed)
	}
	if p.jitter > 24*time.Hour {
		return nil, invalid("jitter", "%s is too long; choose at most 24h", t.Jitter)
	}
	p.next, err = p.times(strings.TrimSpace(t.Schedule), zone)
	return p, err
}

func invalid(key, format string, args ...any) error {
	return mayfly.Errorf(mayfly.Invalid, key, "%s", fmt.Sprintf(format, args...))
}

func moment(key, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, invalid(key, "%q is not a time; write it as 2026-12-01T08:00:00Z", s)
	}
	return at, nil
}

// times returns the function from a time to the next firing after it.
func (p *Plan) times(s string, zone *time.Location) (func(time.Time) time.Time, error) {
	verb, rest, _ := strings.Cut(s, " ")
	switch verb {
	case "every":
		d, err := mayfly.ParseDuration(rest)
		if err != nil || d.D() < minEvery {
			return nil, invalid("schedule", "%q is not an interval; write it as every 5m, at least every 1s", s)
		}
		return every(d.D(), p.start), nil
	case "at":
		at, err := moment("schedule", strings.TrimSpace(rest))
		if err != nil || at.IsZero() {
			return nil, invalid("schedule", "%q is not a time; write it as at 2026-12-01T08:00:00Z", s)
		}
		return func(after time.Time) time.Time {
			if at.After(after) {
				return at
			}
			return time.Time{}
		}, nil
	}
	return expression(s, zone)
}

// every counts from the start, or from the epoch, so that restarts and other
// nodes agree on the times.
func every(d time.Duration, start time.Time) func(time.Time) time.Time {
	if start.IsZero() {
		start = time.Unix(0, 0).UTC()
	}
	return func(after time.Time) time.Time {
		if after.Before(start) {
			return start
		}
		return start.Add((after.Sub(start)/d + 1) * d)
	}
}

func expression(s string, zone *time.Location) (func(time.Time) time.Time, error) {
	if strings.Contains(s, "TZ=") {
		return nil, invalid("schedule", "%q names a time zone; use the key timezone", s)
	}
	if strings.HasPrefix(s, "@every") {
		return nil, invalid("schedule", "%q: write it as every 5m", s)
	}
	sched, err := parser.Parse(s)
	if err != nil {
		return nil, invalid("schedule", "%q is not a schedule (%v); write cron (\"0 3 * * *\"), every 5m, or at 2026-12-01T08:00:00Z", s, err)
	}
	spec, ok := sched.(*cron.SpecSchedule)
	if !ok {
		return nil, invalid("schedule", "%q is not a schedule", s)
	}
	spec.Location, spec.MaxSearchYears = zone, mostYears
	hourly := spec.Hour&(1<<24-1) == 1<<24-1
	next := func(after time.Time) time.Time {
		t := spec.Next(after.In(zone))
		for !hourly && !t.IsZero() && repeated(t) {
			t = spec.Next(t)
		}
		return t
	}
	if next(time.Now()).IsZero() {
		return nil, invalid("schedule", "%q never comes in the next %d years", s, mostYears)
	}
	return next, nil
}

// repeated reports whether a clock in t's zone showed the same time shortly
// before, because it was put back between.
func repeated(t time.Time) bool {
	for _, back := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} {
		before := t.Add(-back)
		if before.Format(time.DateTime) == t.Format(time.DateTime) {
			return true
		}
	}
	return false
}

// Next is the first firing after a time, the zero time where there is none.
func (p *Plan) Next(after time.Time) time.Time {
	if after.Before(p.start) {
		after = p.start.Add(-1)
	}
	t := p.next(after)
	if t.IsZero() || !p.end.IsZero() && t.After(p.end) {
		return time.Time{}
	}
	return t
}

// Upcoming are the first n firings after a time.
func (p *Plan) Upcoming(after time.Time, n int) []time.Time {
	var out []time.Time
	for range n {
		if after = p.Next(after); after.IsZero() {
			break
		}
		out = append(out, after)
	}
	return out
}

// Due returns the firings that should happen now, given that those up to last
// were dealt with, and up to when they are dealt with then.
func (p *Plan) Due(last, now time.Time) (fire []time.Time, dealt time.Time) {
	if first := p.Next(last); first.IsZero() || first.After(now) {
		return nil, last
	}
	fire = p.between(later(last, now.Add(-grace)), now, 0)
	switch {
	case p.missed == MissedAll:
		fire = append(p.late(last, now, mostLate), fire...)
	case p.missed == MissedOnce && len(fire) == 0:
		fire = p.late(last, now, 1)
	}
	return fire, now
}

// late returns up to n firings that were missed, the latest ones. It looks
// back no further than it must: a schedule may have a firing each second.
func (p *Plan) late(last, now time.Time, n int) []time.Time {
	until := now.Add(-grace)
	var out []time.Time
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 30 * 24 * time.Hour, mostYears * 366 * 24 * time.Hour} {
		from := later(last, until.Add(-back))
		if out = p.between(from, until, n); len(out) == n || from.Equal(last) {
			break
		}
	}
	return out
}

// between returns the firings after a time and up to another, the last n of
// them where n is not 0.
func (p *Plan) between(after, until time.Time, n int) []time.Time {
	var out []time.Time
	for t := p.Next(after); !t.IsZero() && !t.After(until); t = p.Next(t) {
		if out = append(out, t); n > 0 && len(out) > n {
			out = out[1:]
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
