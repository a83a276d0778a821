package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-cloud/mayfly"
)

// Options say how to deploy.
type Options struct {
	Message  string
	Progress func(Progress) // called one at a time; may be nil

	// Canary, 1 to 99, is the percentage of calls that changed functions' new
	// versions get; the rest stays with the version that is live. Hold makes the
	// new versions and leaves all calls where they are.
	Canary int
	Hold   bool

	// Lenient is for development: functions whose runtime this machine lacks are
	// deployed with a warning, those whose build needs a program that it lacks are
	// left out with one, and an image's name is looked up once.
	Lenient bool
}

// Result is what a deploy did.
type Result struct {
	Plan       *Plan      `json:"plan"`
	Changed    bool       `json:"changed"`
	Deployment Deployment `json:"deployment,omitzero"`
	Warnings   []string   `json:"warnings,omitempty"`

	// Aliases are where the calls of the functions in Deployment.Versions go now:
	// with a canary or what is held back, not all to the version that was made.
	Aliases map[mayfly.FunctionName]mayfly.Alias `json:"aliases,omitempty"`
}

// Deploy makes a source live: all of it, or nothing where it returns an error.
// Failures of the user's code are errors whose chain holds the FunctionError.
func (c *Control) Deploy(ctx context.Context, src *Source, o Options) (*Result, error) {
	if o.Canary < 0 || o.Canary > 99 || (o.Canary > 0 && o.Hold) {
		return nil, mayfly.Errorf(mayfly.Invalid, "deploy", "a canary gets 1 to 99 percent of the calls, and is not held back")
	}
	doc, err := src.open()
	if err != nil {
		return nil, err
	}
	app := doc.Manifest.App
	defer c.lock(app)()
	began := time.Now()
	d := &deploy{c: c, o: o, report: newReport(o.Progress), id: mayfly.NewID()[:8], by: mayfly.CallerFrom(ctx).String()}
	d.plan, err = c.plan(ctx, src, doc, o.Lenient, d.report)
	if err != nil {
		return nil, deployError(app, err)
	}
	d.took("plan", began)
	if d.plan.Empty() {
		return &Result{Plan: d.plan, Warnings: d.plan.Warnings}, nil
	}
	c.pend(d.plan.manifest)
	if err := d.run(ctx); err != nil {
		return nil, deployError(app, err)
	}
	d.report.say(Progress{Stage: StageSwitched})
	switched := time.Now()
	warnings := append(d.plan.Warnings, c.publishNow(ctx)...)
	d.took("publish", switched)
	c.cfg.Log.Debug("deployed", append([]any{"app", app, "new_versions", len(d.made)}, d.phases...)...)
	return &Result{Plan: d.plan, Changed: true, Deployment: d.record, Aliases: d.aliases, Warnings: warnings}, nil
}

// took notes how long a part of the deploy was, for the log.
func (d *deploy) took(phase string, began time.Time) {
	d.phases = append(d.phases, phase, time.Since(began).Round(100*time.Microsecond))
}

func deployError(app mayfly.AppName, err error) error {
	return mayfly.Errorf(mayfly.CodeOf(err), "deploy "+string(app), "%w", err)
}

// publishNow tells subscribers of a change that is made, whether or not its
// caller still waits. Their failures are warnings: the change stands.
func (c *Control) publishNow(ctx context.Context) (warnings []string) {
	err := c.Publish(context.WithoutCancel(ctx))
	if err == nil {
		return nil
	}
	c.cfg.Log.Error("a new state is not in force everywhere", "error", err)
	for _, e := range unjoin(err) {
		warnings = append(warnings, "it is live, but "+mayfly.MessageOf(e))
	}
	return warnings
}

// deploy is one deploy under way.
type deploy struct {
	c       *Control
	o       Options
	report  *report
	id, by  string
	plan    *Plan
	made    []*mayfly.Version // new versions, whose records are written
	applied bool              // resources may be those of the transition
	phases  []any             // names and durations, for the log
	record  Deployment
	aliases map[mayfly.FunctionName]mayfly.Alias // of what record names
}

// run does everything that a failure must leave without effect, then switches.
func (d *deploy) run(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"versions", d.makeVersions}, {"resources", d.applyResources}, {"start", d.start}} {
		began := time.Now()
		if err := step.do(ctx); err != nil {
			d.abandon(ctx)
			return err
		}
		d.took(step.name, began)
	}
	defer d.took("switch", time.Now())
	return d.commit(ctx)
}

// makeVersions writes the records of new versions. Nothing refers to them yet.
func (d *deploy) makeVersions(ctx context.Context) error {
	for _, ch := range d.plan.Functions {
		if !ch.Version {
			continue
		}
		v := &mayfly.Version{
			App: d.plan.App, Function: ch.Function, Number: d.c.nextNumber(d.plan.base, d.plan.App, ch.Function),
			Digest: ch.Bundle.Digest, Size: ch.Bundle.Size, Spec: *d.plan.manifest.Functions[ch.Function],
			Created: time.Now().UTC().Truncate(time.Millisecond), Deploy: d.id, Message: d.o.Message,
		}
		v.Spec.On = nil // what calls a function may change while its version stays
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("write version %s: %w", v.Ref(), err)
		}
		_, err = d.c.cfg.Index.Put(ctx, versionKey(v.App, v.Function, v.Number), data, 0)
		if mayfly.CodeOf(err) == mayfly.Conflict {
			return changedMeanwhile(v.App) // the record is that of another node's deploy, and not ours to take back
		}
		d.made = append(d.made, v) // after an error too: the write may have happened
		if err != nil {
			return fmt.Errorf("write version %s: %w", v.Ref(), err)
		}
	}
	return nil
}

// nextNumber is a version number that was never used, not even by a deploy that
// failed: caches and instances are known by it.
func (c *Control) nextNumber(base *App, app mayfly.AppName, fn mayfly.FunctionName) int {
	n := 1
	if base != nil {
		n = base.Latest[fn] + 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := string(app) + "." + string(fn)
	n = max(n, c.used[key]+1)
	for {
		if _, _, taken := c.cfg.Index.Get(versionKey(app, fn, n)); !taken {
			c.used[key] = n
			return n
		}
		n++
	}
}

// applyResources makes what the new versions need while the old ones go on: for
// a moment the app has what either declares.
func (d *deploy) applyResources(ctx context.Context) error {
	d.applied = true
	return d.c.applyResources(ctx, d.plan.App)
}

// transition is what an app has between two manifests: the resources of both,
// the new one's settings first, and for each function the grants of both.
func transition(base *App, want *mayfly.Manifest) *mayfly.Manifest {
	if base == nil || base.Removed {
		return want
	}
	old, m := base.Manifest, *want
	m.Functions = maps.Clone(want.Functions)
	for name, was := range old.Functions {
		now, stays := want.Functions[name]
		if !stays {
			m.Functions = with(m.Functions, name, was)
			continue
		}
		both := *now
		both.Allow = slices.Clone(now.Allow)
		for _, line := range was.Allow {
			if !slices.Contains(now.Allow, line) {
				both.Allow = append(both.Allow, line)
			}
		}
		m.Functions[name] = &both
	}
	m.Buckets, m.Queues, m.Topics = union(want.Buckets, old.Buckets), union(want.Queues, old.Queues), union(want.Topics, old.Topics)
	m.KV, m.Databases = union(want.KV, old.KV), union(want.Databases, old.Databases)
	return &m
}

func union[V any](want, old map[string]V) map[string]V {
	out := maps.Clone(old)
	for name, v := range want {
		out = with(out, name, v)
	}
	return out
}

func with[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	if m == nil {
		m = map[K]V{}
	}
	m[k] = v
	return m
}

// start prepares and starts every new version once, several at a time. All that
// fail are said.
func (d *deploy) start(ctx context.Context) error {
	var mu sync.Mutex
	var failed []error
	var g errgroup.Group
	g.SetLimit(d.c.cfg.Parallel)
	for _, v := range d.made {
		g.Go(func() error {
			if err := d.startOne(ctx, v); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, startError(v, err))
			}
			return nil
		})
	}
	_ = g.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return together(failed)
}

func (d *deploy) startOne(ctx context.Context, v *mayfly.Version) error {
	w := d.c.cfg.Warmer
	if d.o.Lenient && w.Check(ctx, v.Spec.Runtime) != nil {
		return nil // said as a warning of the plan
	}
	d.report.say(Progress{Stage: StageStarting, Function: v.Function, Version: v.Number})
	if err := w.Prepare(ctx, v); err != nil {
		return err
	}
	if err := w.Warm(ctx, v); err != nil {
		return err
	}
	d.report.say(Progress{Stage: StageStarted, Function: v.Function, Version: v.Number})
	return nil
}

// startError says what the user's code did, with the lines of their files.
func startError(v *mayfly.Version, err error) error {
	op := "function " + string(v.Function)
	var f *mayfly.FunctionError
	if !errors.As(err, &f) {
		return mayfly.Errorf(mayfly.CodeOf(err), op, "%w", err)
	}
	msg := "does not start: " + f.Error()
	for _, line := range f.Trace {
		msg += "\n    " + strings.TrimRight(line, "\n")
	}
	if f.Type == mayfly.ErrorTypeImport {
		msg += packages(&v.Spec)
	}
	return &mayfly.Error{Code: mayfly.FunctionFailed, Op: op, Message: msg, Err: err}
}

// packages says how a package that is not found gets into the bundle.
func packages(spec *mayfly.Function) string {
	build := map[mayfly.Runtime]string{mayfly.Python: "pip install -r requirements.txt -t .", mayfly.Node: "npm ci"}[spec.Runtime]
	switch {
	case build == "":
		return ""
	case spec.Build != "":
		return "\n  packages come into the bundle by its build: " + spec.Build
	}
	return "\n  packages come into the bundle by a build: such as\n    build: " + build
}

// abandon takes back what a failed deploy did. Records that it cannot take back
// are left to the collector.
func (d *deploy) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, v := range d.made {
		if err := d.c.cfg.Index.Delete(ctx, versionKey(v.App, v.Function, v.Number), 0); err != nil && mayfly.CodeOf(err) != mayfly.NotFound {
			d.c.cfg.Log.Debug("the record of a version that never was live stays for now", "version", v.Ref(), "error", err)
		}
	}
	if d.c.cfg.Abandon != nil && len(d.made) > 0 {
		d.c.cfg.Abandon(d.made)
	}
	if !d.applied {
		return
	}
	d.c.unpend(d.plan.App)
	if err := d.c.applyResources(ctx, ""); err != nil {
		d.c.cfg.Log.Error("resources of an app whose deploy failed could not be set back", "app", d.plan.App, "error", err)
	}
}

// commit is the switch.
func (d *deploy) commit(ctx context.Context) error {
	a := d.next()
	if err := d.c.remember(ctx, a.snapshot(d.record, d.made)); err != nil {
		d.abandon(ctx)
		return err
	}
	err := d.c.put(ctx, a)
	if err == nil {
		return nil
	}
	// The write may have happened although its answer was lost.
	if now := d.c.State().apps[a.Name]; now != nil && len(now.Deploys) > 0 && now.Deploys[0].ID == d.id {
		return nil
	}
	if mayfly.CodeOf(err) == mayfly.Conflict {
		d.abandon(ctx)
	}
	return err
}

// next is the app as it is going to be.
func (d *deploy) next() *App {
	a := d.plan.base.clone(d.plan.App)
	a.Manifest, a.Removed = d.plan.manifest, false
	d.record = d.c.deployment(d.id, "deploy", d.o.Message)
	d.record.By = d.by
	for _, v := range d.made {
		a.Kept[v.Function] = append(a.Kept[v.Function], v.Number)
		a.Latest[v.Function] = v.Number
		a.Live[v.Function] = d.alias(a.Live[v.Function], v.Number)
		d.record.Versions[v.Function] = v.Number
	}
	for _, ch := range d.plan.Functions {
		if ch.To > 0 {
			a.Live[ch.Function] = d.alias(a.Live[ch.Function], ch.To)
			d.record.Versions[ch.Function] = ch.To
		}
	}
	for fn := range a.Live {
		if a.Manifest.Functions[fn] == nil {
			delete(a.Live, fn)
			delete(a.Kept, fn)
		}
	}
	d.aliases = map[mayfly.FunctionName]mayfly.Alias{}
	for fn := range d.record.Versions {
		d.aliases[fn] = a.Live[fn]
	}
	a.trim(d.c.cfg.VersionsKept)
	a.note(d.record)
	return a
}

// alias is where a function's calls go once it has version n.
func (d *deploy) alias(was mayfly.Alias, n int) mayfly.Alias {
	switch {
	case was.Version == 0:
		return mayfly.Alias{Name: mayfly.AliasLive, Version: n}
	case d.o.Hold:
		return was
	case d.o.Canary > 0:
		return mayfly.Alias{Name: mayfly.AliasLive, Version: was.Version, Canary: n, Weight: d.o.Canary, Previous: was.Previous}
	}
	return mayfly.Alias{Name: mayfly.AliasLive, Version: n, Previous: was.Version}
}

// clone is a copy that may be changed; of nil, an app without anything.
func (a *App) clone(name mayfly.AppName) *App {
	if a == nil {
		return &App{
			Name: name, Live: map[mayfly.FunctionName]mayfly.Alias{},
			Latest: map[mayfly.FunctionName]int{}, Kept: map[mayfly.FunctionName][]int{},
		}
	}
	b := *a
	b.Live, b.Latest, b.Kept = maps.Clone(a.Live), maps.Clone(a.Latest), map[mayfly.FunctionName][]int{}
	if b.Live == nil {
		b.Live = map[mayfly.FunctionName]mayfly.Alias{}
	}
	for fn, numbers := range a.Kept {
		b.Kept[fn] = slices.Clone(numbers)
	}
	b.Deploys = slices.Clone(a.Deploys)
	return &b
}

// trim forgets the oldest versions beyond kept, but none that an alias names.
func (a *App) trim(kept int) {
	for fn, numbers := range a.Kept {
		alias := a.Live[fn]
		extra := len(numbers) - kept
		a.Kept[fn] = slices.DeleteFunc(numbers, func(n int) bool {
			if extra <= 0 || n == alias.Version || n == alias.Canary || n == alias.Previous || n == a.Latest[fn] {
				return false
			}
			extra--
			return true
		})
	}
}

func (a *App) note(d Deployment) {
	a.Deploys = append([]Deployment{d}, a.Deploys...)
	a.Deploys = a.Deploys[:min(len(a.Deploys), deploysKept)]
}

// put writes an app's value where it is still the one that a was made from.
func (c *Control) put(ctx context.Context, a *App) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("write app %s: %w", a.Name, err)
	}
	_, err = c.cfg.Index.Put(ctx, appKey(a.Name), data, a.revision)
	if mayfly.CodeOf(err) == mayfly.Conflict {
		return changedMeanwhile(a.Name)
	}
	return err
}

func changedMeanwhile(app mayfly.AppName) error {
	return mayfly.Errorf(mayfly.Conflict, "", "app %s was changed by somebody else meanwhile; try again", app)
}
