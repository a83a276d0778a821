package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/manifest"
)

// Action is what a deploy does to something.
type Action string

const (
	Add    Action = "add"
	Change Action = "change"
	Remove Action = "remove"
)

// Plan is what a deploy would change.
type Plan struct {
	App       mayfly.AppName   `json:"app"`
	New       bool             `json:"new,omitempty"` // the app is not deployed yet
	Functions []FunctionChange `json:"functions,omitempty"`
	Resources []ResourceChange `json:"resources,omitempty"`
	Settings  []FieldChange    `json:"settings,omitempty"` // of the app itself
	Warnings  []string         `json:"warnings,omitempty"`

	manifest *mayfly.Manifest
	bundles  map[mayfly.FunctionName]artifact.Bundle
	base     *App // what the plan was compared with; nil: nothing
}

// FunctionChange is what becomes of one function.
type FunctionChange struct {
	Function mayfly.FunctionName `json:"function"`
	Action   Action              `json:"action"`
	Runtime  mayfly.Runtime      `json:"runtime,omitempty"`
	From     int                 `json:"from,omitempty"`    // the live version
	To       int                 `json:"to,omitempty"`      // the version that becomes live, where there is one already
	Version  bool                `json:"version,omitempty"` // it gets a new version
	Bundle   *artifact.Bundle    `json:"bundle,omitempty"`
	Fields   []FieldChange       `json:"fields,omitempty"`
	Triggers []TriggerChange     `json:"triggers,omitempty"`
}

// TriggerChange is what becomes of one entry of a function's `on:`.
type TriggerChange struct {
	Action Action             `json:"action"`
	Kind   mayfly.TriggerKind `json:"kind"`
	On     string             `json:"on"`             // what it listens to
	Next   []time.Time        `json:"next,omitempty"` // when a new or changed schedule calls
	Fields []FieldChange      `json:"fields,omitempty"`

	want *mayfly.Trigger // nil: removed
}

// ResourceChange is what becomes of one resource. Removing one from a manifest
// leaves its data.
type ResourceChange struct {
	Kind   string        `json:"kind"`
	Name   string        `json:"name"`
	Action Action        `json:"action"`
	Fields []FieldChange `json:"fields,omitempty"`
	Steps  []string      `json:"steps,omitempty"` // what is done to it, such as migrations
}

// FieldChange is one value that changes; "" stands for none.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
}

// Empty reports whether a deploy would change nothing.
func (p *Plan) Empty() bool {
	return !p.New && len(p.Functions)+len(p.Resources)+len(p.Settings) == 0
}

// Plan checks a source and compares it with what is live. Builds run, since
// what they make is part of the comparison. Problems with the manifest are
// Invalid errors that hold manifest.Problems.
func (c *Control) Plan(ctx context.Context, src *Source, progress func(Progress)) (*Plan, error) {
	c.deploying.RLock()
	defer c.deploying.RUnlock()
	doc, err := src.open()
	if err != nil {
		return nil, err
	}
	return c.plan(ctx, src, doc, false, newReport(progress))
}

func (c *Control) plan(ctx context.Context, src *Source, doc *manifest.Document, lenient bool, r *report) (*Plan, error) {
	if err := c.check(doc); err != nil {
		return nil, err
	}
	warnings, err := c.checkRuntimes(ctx, doc.Manifest, lenient)
	if err != nil {
		return nil, err
	}
	found := &images{from: c.cfg.Images}
	if lenient {
		found = c.remembered // every save deploys: a registry is asked once
	}
	p := &packer{store: c.cfg.Artifacts, images: found, parallel: c.cfg.Parallel, report: r}
	bundles, failed := p.all(ctx, src, doc.Manifest)
	if lenient {
		warnings = append(warnings, leaveOut(doc.Manifest, failed)...)
	}
	if err := allOf(ctx, failed); err != nil {
		return nil, err
	}
	base := c.State().apps[doc.Manifest.App]
	plan := compare(doc.Manifest, bundles, base)
	c.foresee(plan, time.Now())
	plan.Warnings = warnings
	return plan, c.addSteps(plan)
}

// addSteps asks what a deploy does to resources beside making them.
func (c *Control) addSteps(p *Plan) error {
	for _, r := range c.cfg.Resources {
		s, ok := r.(Stepper)
		if !ok {
			continue
		}
		steps, err := s.Steps(p.manifest)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(steps)) {
			i := slices.IndexFunc(p.Resources, func(ch ResourceChange) bool { return ch.Kind == r.Kind() && ch.Name == name })
			if i < 0 {
				i = len(p.Resources)
				p.Resources = append(p.Resources, ResourceChange{Kind: r.Kind(), Name: name, Action: Change})
			}
			p.Resources[i].Steps = steps[name]
		}
	}
	return nil
}

// leaveOut takes functions out of a manifest whose build needs a program that
// this machine lacks, and says which.
func leaveOut(m *mayfly.Manifest, failed map[mayfly.FunctionName]error) (warnings []string) {
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		if mayfly.CodeOf(failed[name]) == mayfly.Unavailable {
			warnings = append(warnings, failed[name].Error())
			delete(failed, name)
			delete(m.Functions, name)
		}
	}
	return warnings
}

// check asks everybody who acts on a manifest, and joins what they say.
func (c *Control) check(doc *manifest.Document) error {
	problems := c.cfg.Supported.Check(doc)
	m := doc.Manifest
	var said manifest.Problems
	for _, name := range slices.Sorted(maps.Keys(m.Functions)) {
		fn := m.Functions[name]
		for i := range fn.On {
			t := &fn.On[i]
			kind, _ := t.Kind()
			for _, d := range c.cfg.Triggers {
				if d.Kind() != kind {
					continue
				}
				if err := d.Check(m, name, t); err != nil {
					said = append(said, problem(fmt.Sprintf("functions.%s.on[%d]", name, i), err))
				}
			}
		}
	}
	for _, r := range c.cfg.Resources {
		for _, err := range unjoin(r.Check(m)) {
			said = append(said, problem("", err))
		}
	}
	problems = append(problems, doc.Place(said)...)
	problems.Sort()
	return problems.Err()
}

// problem is an error about the value at path; where that is empty, the
// operation of the error is the path, as databases.main.quota.
func problem(path string, err error) manifest.Problem {
	var e *mayfly.Error
	if !errors.As(err, &e) {
		return manifest.Problem{Path: path, Message: mayfly.MessageOf(err)}
	}
	bare := *e
	bare.Op = ""
	if path == "" {
		path, _, _ = strings.Cut(e.Op, ": ")
	}
	return manifest.Problem{Path: path, Message: bare.Error()}
}

// unjoin takes apart what errors.Join made.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// checkRuntimes asks whether this machine can run the app's runtimes. Lenient
// makes warnings of what is missing.
func (c *Control) checkRuntimes(ctx context.Context, m *mayfly.Manifest, lenient bool) (warnings []string, err error) {
	users := map[mayfly.Runtime][]string{}
	for _, name := range slices.Sorted(maps.Keys(m.Functions)) {
		r := m.Functions[name].Runtime
		users[r] = append(users[r], string(name))
	}
	var failed []error
	for _, r := range slices.Sorted(maps.Keys(users)) {
		err := c.cfg.Warmer.Check(ctx, r)
		if err == nil {
			continue
		}
		err = mayfly.Errorf(mayfly.CodeOf(err), fmt.Sprintf("functions %v", users[r]), "%w", err)
		if lenient {
			warnings = append(warnings, err.Error())
			continue
		}
		failed = append(failed, err)
	}
	return warnings, together(failed)
}

func sortErrors(errs []error) []error {
	slices.SortFunc(errs, func(a, b error) int {
		if a.Error() < b.Error() {
			return -1
		}
		return 1
	})
	return errs
}

// Foreseer is a TriggerCheck that knows when a trigger will call.
type Foreseer interface {
	Next(t *mayfly.Trigger, after time.Time, n int) ([]time.Time, error)
}

// foreseen is how many of its next calls a plan shows of a schedule.
const foreseen = 5

// foresee fills when new and changed triggers will call, as far as that is known.
func (c *Control) foresee(p *Plan, now time.Time) {
	for _, d := range c.cfg.Triggers {
		f, ok := d.(Foreseer)
		if !ok {
			continue
		}
		for i := range p.Functions {
			for j := range p.Functions[i].Triggers {
				ch := &p.Functions[i].Triggers[j]
				if ch.want == nil || ch.Kind != d.Kind() {
					continue
				}
				if next, err := f.Next(ch.want, now, foreseen); err == nil { // check has refused what cannot be read
					ch.Next = append([]time.Time{}, next...)
				}
			}
		}
	}
}

// compare is the difference between a wanted app and the live one, which may be
// nil or removed.
func compare(m *mayfly.Manifest, bundles map[mayfly.FunctionName]artifact.Bundle, base *App) *Plan {
	p := &Plan{App: m.App, manifest: m, bundles: bundles, base: base}
	old := &mayfly.Manifest{}
	if base == nil || base.Removed {
		p.New = true
	} else {
		old = base.Manifest
	}
	names := map[mayfly.FunctionName]bool{}
	for name := range m.Functions {
		names[name] = true
	}
	for name := range old.Functions {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if ch, changed := p.function(name, old); changed {
			p.Functions = append(p.Functions, ch)
		}
	}
	p.Resources = compareResources(old, m)
	if !p.New {
		p.Settings = fieldChanges(fields(settings{old.Budget, old.Quota}), fields(settings{m.Budget, m.Quota}))
	}
	return p
}

// settings are the keys of a manifest that are neither functions nor resources
// by name. Defaults are not: functions show them.
type settings struct {
	Budget *mayfly.Budget `json:"budget,omitempty"`
	Quota  mayfly.Bytes   `json:"quota,omitempty"`
}

func (p *Plan) function(name mayfly.FunctionName, old *mayfly.Manifest) (FunctionChange, bool) {
	was, want := old.Functions[name], p.manifest.Functions[name]
	ch := FunctionChange{Function: name}
	live := p.liveVersion(name)
	if live != nil {
		ch.From = live.Number
	}
	if want == nil {
		ch.Action, ch.Runtime = Remove, was.Runtime
		return ch, true
	}
	b := p.bundles[name]
	ch.Runtime, ch.Bundle = want.Runtime, &b
	if was == nil || live == nil {
		ch.Action, ch.Version = Add, true
		ch.Triggers = compareTriggers(nil, want.On)
		return ch, true
	}
	ch.Action = Change
	known := p.reusable(name)
	ch.Version = known == 0
	alias := p.base.Live[name]
	if known != alias.Version && known != alias.Canary {
		ch.To = known
	}
	ch.Triggers = compareTriggers(was.On, want.On)
	if !ch.Version && ch.To == 0 {
		return ch, len(ch.Triggers) > 0
	}
	ch.Fields = fieldChanges(fields(identitySpec(&live.Spec)), fields(identitySpec(want)))
	if live.Digest != b.Digest {
		ch.Fields = append([]FieldChange{{Field: "code", Old: short(live.Digest), New: short(b.Digest)}}, ch.Fields...)
	}
	return ch, true
}

func (p *Plan) liveVersion(name mayfly.FunctionName) *mayfly.Version {
	if p.base == nil || p.base.Removed {
		return nil
	}
	return p.base.versions[name][p.base.Live[name].Version]
}

// reusable is the version whose identity is the wanted one among those that
// calls reach and the newest, which may have been held back; 0 where there is none.
func (p *Plan) reusable(name mayfly.FunctionName) int {
	if p.base == nil || p.base.Removed {
		return 0
	}
	alias := p.base.Live[name]
	want := identity(p.manifest.Functions[name], p.bundles[name].Digest)
	for _, n := range []int{alias.Version, alias.Canary, p.base.Latest[name]} {
		if v := p.base.versions[name][n]; v != nil && identity(&v.Spec, v.Digest) == want {
			return n
		}
	}
	return 0
}

// identitySpec is a spec without what may change while a version stays: what
// calls it, and where its files came from.
func identitySpec(fn *mayfly.Function) *mayfly.Function {
	spec := *fn
	spec.On, spec.Source, spec.Build = nil, "", ""
	return &spec
}

func identity(fn *mayfly.Function, digest string) string {
	data, err := json.Marshal(identitySpec(fn))
	if err != nil {
		panic("control: a function's spec has no JSON: " + err.Error())
	}
	return digest + "\n" + string(data)
}

func short(digest string) string {
	return digest[:min(len(digest), len("sha256:")+12)]
}
