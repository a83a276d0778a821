package cron

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Records keeps one value for an app, written by compare-and-set.
// *engine.Bucket is one.
type Records interface {
	Get(ctx context.Context, key string) (value []byte, rev uint64, err error)
	Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Config of the schedules. Records and Acceptor are needed.
type Config struct {
	Records   Records
	Acceptor  trigger.Acceptor
	Authorize mayfly.Authorizer // for the API; nil: administrators only
	Logger    *slog.Logger      // default: discards
	Region    string            // in ARN-like ids; default "local"
}

// Driver fires the schedules of all apps. It is safe for concurrent use.
type Driver struct {
	cfg  Config
	wake chan struct{} // holds a token when the schedules changed

	mu   sync.Mutex
	apps map[mayfly.AppName]map[string]*schedule // guarded by mu; replaced, not changed
}

// schedule is one trigger of one function.
type schedule struct {
	key     string // in the app's record
	binding trigger.Binding
	plan    *Plan
}

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without schedules.
func New(cfg Config) *Driver {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Region == "" {
		cfg.Region = "local"
	}
	return &Driver{cfg: cfg, wake: make(chan struct{}, 1), apps: map[mayfly.AppName]map[string]*schedule{}}
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerSchedule }

// Check wants a schedule that can be read and comes again.
func (d *Driver) Check(_ *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: schedule", fn)
	if _, err := Parse(t); err != nil {
		return mayfly.Errorf(mayfly.Invalid, op, "%s", mayfly.MessageOf(err))
	}
	if len(t.Input) > int(mayfly.MaxAsync) {
		return mayfly.Errorf(mayfly.Invalid, op, "input is over the limit of %s", mayfly.MaxAsync)
	}
	return nil
}

// Next are the first n firings of a trigger after a time, in its zone, for a plan.
func (d *Driver) Next(t *mayfly.Trigger, after time.Time, n int) ([]time.Time, error) {
	p, err := Parse(t)
	if err != nil {
		return nil, err
	}
	return p.Upcoming(after, n), nil
}

// Apply makes the schedules those of the bindings. A schedule that is new, or
// whose times changed, counts from now on.
func (d *Driver) Apply(ctx context.Context, all []trigger.Binding) error {
	apps := map[mayfly.AppName]map[string]*schedule{}
	var errs []error
	for _, b := range all {
		plan, err := Parse(&b.Trigger)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", &b, err))
			continue
		}
		if apps[b.App] == nil {
			apps[b.App] = map[string]*schedule{}
		}
		apps[b.App][b.Key()] = &schedule{key: b.Key(), binding: b, plan: plan}
	}
	d.mu.Lock()
	d.apps = apps
	d.mu.Unlock()
	errs = append(errs, d.forget(ctx, apps))
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return errors.Join(errs...)
}

// forget drops the records of apps that have no schedule any more, so that one
// which comes back counts from then on.
func (d *Driver) forget(ctx context.Context, apps map[mayfly.AppName]map[string]*schedule) error {
	keys, err := d.cfg.Records.Keys(ctx, recordKey(""))
	for _, key := range keys {
		if app := mayfly.AppName(strings.TrimPrefix(key, recordKey(""))); apps[app] == nil {
			err = errors.Join(err, d.cfg.Records.Delete(ctx, key, 0))
		}
	}
	return err
}

func (d *Driver) current() map[mayfly.AppName]map[string]*schedule {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.apps
}

// record is what an app's schedules did, by key.
type record map[string]*entry

type entry struct {
	Plan    string      `json:"plan"`
	Last    time.Time   `json:"last"`              // firings up to it were dealt with
	Pending []time.Time `json:"pending,omitempty"` // claimed, and perhaps not accepted yet
}

func recordKey(app mayfly.AppName) string { return "schedules." + string(app) }

// The wall clock may be set: the longest sleep bounds how late that is seen.
const longestSleep = 30 * time.Second

// Run fires until ctx ends.
func (d *Driver) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
		now := time.Now()
		next := d.tick(ctx, now)
		timer.Reset(max(0, min(longestSleep, time.Until(next))))
	}
}

// tick fires what is due in every app and returns when to look again.
func (d *Driver) tick(ctx context.Context, now time.Time) time.Time {
	next := now.Add(longestSleep)
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(16)
	for app, schedules := range d.current() {
		group.Go(func() error {
			at, err := d.fire(ctx, app, schedules, now)
			if err != nil && ctx.Err() == nil {
				d.cfg.Logger.Error("schedules cannot fire; they will soon", "app", app, "error", err)
				at = now.Add(time.Second)
			}
			mu.Lock()
			defer mu.Unlock()
			if !at.IsZero() && at.Before(next) {
				next = at
			}
			return nil
		})
	}
	_ = group.Wait()
	return next
}

// fire claims and accepts what is due in one app, and returns when its next
// firing is, the zero time for never.
func (d *Driver) fire(ctx context.Context, app mayfly.AppName, schedules map[string]*schedule, now time.Time) (time.Time, error) {
	rec, rev, err := d.read(ctx, app)
	if err != nil {
		return time.Time{}, err
	}
	if changed := rec.claim(schedules, now); changed {
		if rev, err = d.write(ctx, app, rec, rev); err != nil {
			return time.Time{}, err
		}
	}
	if accepted, err := d.accept(ctx, rec, schedules); err != nil {
		return time.Time{}, err
	} else if accepted {
		if _, err = d.write(ctx, app, rec, rev); err != nil {
			return time.Time{}, err
		}
	}
	var next time.Time
	for key, s := range schedules {
		if t := s.plan.Next(rec[key].Last); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next, nil
}

func (d *Driver) read(ctx context.Context, app mayfly.AppName) (record, uint64, error) {
	rec := record{}
	value, rev, err := d.cfg.Records.Get(ctx, recordKey(app))
	if mayfly.CodeOf(err) == mayfly.NotFound {
		return rec, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(value, &rec); err != nil {
		return nil, 0, fmt.Errorf("read the schedules of %s: %w", app, err)
	}
	return rec, rev, nil
}

func (d *Driver) write(ctx context.Context, app mayfly.AppName, rec record, rev uint64) (uint64, error) {
	value, err := json.Marshal(rec)
	if err != nil {
		return 0, err
	}
	return d.cfg.Records.Put(ctx, recordKey(app), value, rev)
}

// claim notes what is due as pending, and forgets schedules that are gone.
func (r record) claim(schedules map[string]*schedule, now time.Time) (changed bool) {
	for key, s := range schedules {
		e := r[key]
		if e == nil || e.Plan != s.plan.text {
			fresh := &entry{Plan: s.plan.text, Last: now}
			if e != nil {
				fresh.Pending = e.Pending
			}
			e = fresh
			r[key] = e
			changed = true
		}
		fire, dealt := s.plan.Due(e.Last, now)
		if dealt.After(e.Last) {
			e.Last = dealt
			e.Pending = append(e.Pending, fire...)
			changed = true
		}
	}
	for key := range r {
		if schedules[key] == nil {
			delete(r, key)
			changed = true
		}
	}
	return changed
}

// accept accepts a call for each pending firing. The ids make those that were
// accepted before a crash the same.
func (d *Driver) accept(ctx context.Context, rec record, schedules map[string]*schedule) (accepted bool, err error) {
	var group errgroup.Group
	group.SetLimit(1024) // they wait for the disk together
	for key, s := range schedules {
		for _, at := range rec[key].Pending {
			accepted = true
			group.Go(func() error {
				_, err := d.cfg.Acceptor.Accept(ctx, d.call(s, at))
				if err != nil && trigger.Judge(err) == trigger.Reject {
					d.cfg.Logger.Error("a schedule's call is refused", "schedule", s.binding.String(), "time", at, "error", err)
					return nil
				}
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return false, err
	}
	for key := range schedules {
		rec[key].Pending = nil
	}
	return accepted, nil
}

func (d *Driver) call(s *schedule, at time.Time) *trigger.Accept {
	id := s.id(at)
	return &trigger.Accept{
		Binding: &s.binding, ID: id, Window: time.Hour, At: at.Add(s.delay(id)), Trace: mayfly.NewTrace(), Event: d.event(s, id, at),
	}
}

// id names a firing: a UUID made of the schedule and the nominal time.
func (s *schedule) id(at time.Time) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", s.binding.App, s.key, at.Unix()))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	x := hex.EncodeToString(h[:16])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// delay is a firing's share of the jitter: the same on every node.
func (s *schedule) delay(id string) time.Duration {
	if s.plan.jitter <= 0 {
		return 0
	}
	h := sha256.Sum256([]byte(id))
	return time.Duration(binary.BigEndian.Uint64(h[:8]) % uint64(s.plan.jitter))
}

// event is EventBridge's scheduled event, or the input that the trigger gives.
func (d *Driver) event(s *schedule, id string, at time.Time) []byte {
	if len(s.binding.Trigger.Input) > 0 {
		return s.binding.Trigger.Input
	}
	name := string(s.binding.App) + "-" + string(s.binding.Function)
	if s.binding.Trigger.Name != "" {
		name += "-" + s.binding.Trigger.Name
	}
	event, _ := json.Marshal(map[string]any{
		"version": "0", "id": id, "detail-type": "Scheduled Event", "source": "aws.events", "account": "000000000000",
		"time": at.UTC().Format(time.RFC3339), "region": d.cfg.Region,
		"resources": []string{"arn:aws:events:" + d.cfg.Region + ":000000000000:rule/" + name},
		"detail":    map[string]any{},
	})
	return event
}

// Upcoming are the next firings of a function's schedules after a time, in
// order: what a pool may start instances ahead for.
func (d *Driver) Upcoming(app mayfly.AppName, fn mayfly.FunctionName, after time.Time, n int) []time.Time {
	var all []time.Time
	for _, s := range d.current()[app] {
		if s.binding.Function == fn {
			all = append(all, s.plan.Upcoming(after, n)...)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return all[:min(n, len(all))]
}

// Info describes a schedule.
type Info struct {
	Function mayfly.FunctionName `json:"function"`
	Name     string              `json:"name"`
	Schedule string              `json:"schedule"`
	Timezone string              `json:"timezone,omitempty"`
	Missed   string              `json:"missed"`
	Last     *time.Time          `json:"last,omitempty" doc:"Firings up to this time were dealt with"`
	Next     []time.Time         `json:"next"`
}

// List describes an app's schedules.
func (d *Driver) List(ctx context.Context, app mayfly.AppName) ([]Info, error) {
	rec, _, err := d.read(ctx, app)
	if err != nil {
		return nil, err
	}
	schedules := d.current()[app]
	out := []Info{}
	for _, key := range slices.Sorted(maps.Keys(schedules)) {
		s := schedules[key]
		t := &s.binding.Trigger
		info := Info{Function: s.binding.Function, Name: t.Name, Schedule: t.Schedule, Timezone: t.Timezone, Missed: s.plan.missed, Next: s.plan.Upcoming(time.Now(), 5)}
		if e := rec[key]; e != nil {
			info.Last = &e.Last
		}
		out = append(out, info)
	}
	return out, nil
}

// RunNow calls the function of a schedule as if it fired now, and returns the
// call's id. name is needed where the function has several.
func (d *Driver) RunNow(ctx context.Context, app mayfly.AppName, fn mayfly.FunctionName, name string) (string, error) {
	var found []*schedule
	for _, s := range d.current()[app] {
		if s.binding.Function == fn && (name == "" || name == s.binding.Trigger.Name || name == s.binding.Trigger.Schedule) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return "", mayfly.Errorf(mayfly.NotFound, "run schedule", "the function %s of the app %s has no such schedule", fn, app)
	case 1:
	default:
		return "", mayfly.Errorf(mayfly.Invalid, "run schedule", "the function %s has %d schedules; say which one by its name", fn, len(found))
	}
	now := time.Now()
	return d.cfg.Acceptor.Accept(ctx, &trigger.Accept{
		Binding: &found[0].binding, Trace: mayfly.NewTrace(), Event: d.event(found[0], mayfly.NewID(), now),
	})
}
