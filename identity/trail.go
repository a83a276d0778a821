package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Entry is one decision as the trail keeps it: made Count times between From
// and To.
type Entry struct {
	From     time.Time           `json:"from"`
	To       time.Time           `json:"to"`
	Count    int64               `json:"count"`
	Who      mayfly.CallerKind   `json:"who" doc:"admin, user, function, anonymous or platform"`
	User     string              `json:"user,omitempty"`
	Caller   mayfly.AppName      `json:"caller_app,omitempty" doc:"The app whose function asked"`
	Function mayfly.FunctionName `json:"function,omitempty"`
	App      mayfly.AppName      `json:"app,omitempty" doc:"The app that the resource belongs to"`
	Verb     string              `json:"verb"`
	Kind     string              `json:"kind"`
	Name     string              `json:"name"`
	Allowed  bool                `json:"allowed"`
	Grant    string              `json:"grant,omitempty" doc:"The allow line that permitted it"`
	Reason   string              `json:"reason,omitempty" doc:"Why it was refused"`
	Detail   string              `json:"detail,omitempty" doc:"More about what was done, such as a secret's version"`
}

// TrailConfig says what a Trail is made of.
type TrailConfig struct {
	Dir   string        // of its files; made where missing
	Every time.Duration // between entries of equal decisions; default 10 s
	Note  time.Duration // between notes of what is being counted; default 1 s. What was decided since is lost by a kill
	Keep  int           // days; default 30
	Size  int64         // of all files, in bytes; the oldest go beyond it; default 1 GiB
	Log   *slog.Logger  // told of each refusal, once in Every; default: discards
}

// Trail is the audit of decisions: equal ones are counted, and written to files,
// one or more for each day. It is safe for concurrent use.
type Trail struct {
	cfg TrailConfig

	mu     sync.Mutex
	counts map[decided]*tally // guarded by mu; not written yet

	writing sync.Mutex // of files
}

// decided is what makes decisions equal.
type decided struct {
	kind                  mayfly.CallerKind
	user                  string
	caller, app           mayfly.AppName
	function              mayfly.FunctionName
	verb, of, name        string
	allowed               bool
	grant, reason, detail string
}

type tally struct {
	from, to     time.Time
	count, noted int64
}

// maxCounts bounds what is counted between two writes: names come from outside.
// What is beyond is counted without its name.
const maxCounts = 10_000

// OpenTrail makes the folder, and takes in what a killed node left; Run writes to
// it.
func OpenTrail(cfg TrailConfig) (*Trail, error) {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Second
	}
	if cfg.Note == 0 {
		cfg.Note = time.Second
	}
	if cfg.Keep == 0 {
		cfg.Keep = 30
	}
	if cfg.Size == 0 {
		cfg.Size = 1 << 30
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open audit: %w", err)
	}
	t := &Trail{cfg: cfg, counts: map[decided]*tally{}}
	if err := t.recover(time.Now()); err != nil {
		return nil, fmt.Errorf("open audit: %w", err)
	}
	return t, nil
}

// Record takes a decision in. It neither blocks nor is slow. What the platform
// allows itself is not recorded.
func (t *Trail) Record(d Decision) {
	if d.Who.Kind == mayfly.CallerPlatform && d.Allowed && d.Detail == "" {
		return
	}
	key := decided{
		kind: d.Who.Kind, user: d.Who.Name, caller: d.Who.App, function: d.Who.Function,
		app: d.App, verb: d.Verb, of: d.Kind, name: d.Name, allowed: d.Allowed, grant: d.Grant, reason: d.Reason, detail: d.Detail,
	}
	t.mu.Lock()
	c := t.counts[key]
	if c == nil && len(t.counts) >= maxCounts {
		key.name, key.reason, key.detail = "(one of many)", "", ""
		c = t.counts[key]
	}
	first := c == nil
	if first {
		key = key.clone()
		c = &tally{from: d.Time}
		t.counts[key] = c
	}
	c.to = d.Time
	c.count++
	t.mu.Unlock()
	if first && !d.Allowed {
		t.cfg.Log.Info("refused", "who", d.Who.String(), "app", d.App, "what", d.Verb+" "+d.Kind+"/"+d.Name, "reason", d.Reason)
	}
}

// clone keeps the texts: some callers' are parts of buffers.
func (k decided) clone() decided {
	for _, s := range []*string{&k.user, (*string)(&k.caller), (*string)(&k.app), (*string)(&k.function), &k.verb, &k.of, &k.name, &k.grant, &k.reason, &k.detail} {
		*s = strings.Clone(*s)
	}
	return k
}

func (k decided) entry(c *tally) Entry {
	return Entry{
		From: c.from.UTC(), To: c.to.UTC(), Count: c.count, Who: k.kind, User: k.user, Caller: k.caller, Function: k.function,
		App: k.app, Verb: k.verb, Kind: k.of, Name: k.name, Allowed: k.allowed, Grant: k.grant, Reason: k.reason, Detail: k.detail,
	}
}

// Run writes what was counted until ctx ends, and then the rest.
func (t *Trail) Run(ctx context.Context) error {
	tick, note := time.NewTicker(t.cfg.Every), time.NewTicker(t.cfg.Note)
	defer tick.Stop()
	defer note.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return t.Flush(time.Now())
		case now := <-tick.C:
			err = t.Flush(now)
		case <-note.C:
			err = t.note()
		}
		if err != nil {
			t.cfg.Log.Error("decisions are not written to the audit; they are kept in memory until they are", "error", err)
		}
	}
}

// Flush writes what was counted so far. Run does so by itself.
func (t *Trail) Flush(now time.Time) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	counts := t.counts
	t.counts = map[decided]*tally{}
	t.mu.Unlock()
	if len(counts) == 0 {
		return nil
	}
	entries := entriesOf(counts)
	sortByEnd(entries)
	err := t.append(now, entries)
	if err == nil {
		return errors.Join(t.settled(), t.expire(now))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, c := range counts {
		if later := t.counts[key]; later != nil {
			later.from, later.count, later.noted = c.from, later.count+c.count, 0
		} else if len(t.counts) < maxCounts {
			t.counts[key] = c
		}
	}
	return err
}

// entriesOf is what was counted.
func entriesOf(counts map[decided]*tally) []Entry {
	out := make([]Entry, 0, len(counts))
	for key, c := range counts {
		out = append(out, key.entry(c))
	}
	return out
}

func sortByEnd(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.To.Compare(b.To), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Verb, b.Verb))
	})
}

const dayFormat = "2006-01-02"

// partsOf is how many full files there are in Size.
const partsOf = 32

func (t *Trail) file(part string) string { return filepath.Join(t.cfg.Dir, part+".jsonl") }

// next is the part to write to: the day's last one, or another where that is
// full.
func (t *Trail) next(now time.Time) (string, error) {
	day := now.UTC().Format(dayFormat)
	parts, err := t.parts()
	if err != nil || len(parts) == 0 || dayOf(parts[len(parts)-1]) != day {
		return day, err
	}
	last := parts[len(parts)-1]
	if info, err := os.Stat(t.file(last)); err != nil || info.Size() < t.cfg.Size/partsOf {
		return last, err
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(last, day+"."))
	return fmt.Sprintf("%s.%06d", day, n+1), nil
}

// expire removes files that are too old, and the oldest of those that are too
// much.
func (t *Trail) expire(now time.Time) error {
	oldest := now.UTC().AddDate(0, 0, -t.cfg.Keep).Format(dayFormat)
	parts, err := t.parts()
	var size int64
	for i, part := range slices.Backward(parts) {
		if info, e := os.Stat(t.file(part)); e == nil {
			size += info.Size()
		}
		if dayOf(part) < oldest || size > t.cfg.Size && i < len(parts)-1 {
			err = errors.Join(err, os.Remove(t.file(part)))
		}
	}
	return err
}

// dayOf is the day of a part: DAY, or DAY.NUMBER.
func dayOf(part string) string { return part[:min(len(part), len(dayFormat))] }

// parts are the files there are, oldest first.
func (t *Trail) parts() ([]string, error) {
	files, err := os.ReadDir(t.cfg.Dir)
	var out []string
	for _, f := range files {
		if part, ok := strings.CutSuffix(f.Name(), ".jsonl"); ok {
			out = append(out, part)
		}
	}
	slices.Sort(out) // by name DAY.jsonl is after DAY.000001.jsonl
	return out, err
}
