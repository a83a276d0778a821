package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// State is where an alert is in its life.
type State string

const (
	Pending  State = "pending"
	Firing   State = "firing"
	Resolved State = "resolved"
)

// ActiveAlert is one result of a rule.
type ActiveAlert struct {
	Rule     string            `json:"rule"`
	App      mayfly.AppName    `json:"app,omitempty"`
	Severity string            `json:"severity"`
	State    State             `json:"state"`
	Labels   map[string]string `json:"labels"`
	Value    float64           `json:"value"`
	Summary  string            `json:"summary"`
	Since    time.Time         `json:"since"`             // of the first result
	Fired    time.Time         `json:"fired,omitzero"`    // when it began to fire
	Resolved time.Time         `json:"resolved,omitzero"` // when it ended
	Silenced bool              `json:"silenced,omitempty"`

	Key    string               `json:"key"`            // tells alerts apart, and stays the same
	Missed int                  `json:"missed"`         // rounds without a result
	Told   map[string]time.Time `json:"told,omitempty"` // receivers that know it fires, and since when
	Notify []string             `json:"notify,omitempty"`
}

// Alerts watches rules. Its methods may be called concurrently.
type Alerts struct {
	cfg Config

	mu       sync.Mutex
	rules    []*AlertRule            // guarded by mu
	looked   map[string]time.Time    // guarded by mu; when a rule was last evaluated
	failures map[string]string       // guarded by mu; of a rule's last evaluation
	active   map[string]*ActiveAlert // guarded by mu; by key
	dirty    bool                    // guarded by mu; the state on disk is older

	set      sync.Mutex // one change of the settings at a time
	settings settings   // guarded by mu
}

// Open returns the alerts with the state that is in cfg.Dir. It starts nothing.
func Open(cfg Config) (*Alerts, error) {
	cfg = cfg.WithDefaults()
	const op = "open alerts"
	if cfg.Dir == "" || cfg.Metrics == nil {
		return nil, mayfly.Errorf(mayfly.Invalid, op, "dir and metrics are needed")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, op, "%w", err)
	}
	a := &Alerts{cfg: cfg, looked: map[string]time.Time{}, failures: map[string]string{}, active: map[string]*ActiveAlert{}}
	b, err := os.ReadFile(a.stateFile())
	if err == nil {
		err = json.Unmarshal(b, &a.active)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, mayfly.Errorf(mayfly.Internal, op, "%w", err)
	}
	return a, a.Apply(context.Background(), nil)
}

func (a *Alerts) stateFile() string { return filepath.Join(a.cfg.Dir, "state.json") }

// Run evaluates and tells until ctx ends.
func (a *Alerts) Run(ctx context.Context) error {
	tick := time.NewTicker(a.cfg.Every)
	defer tick.Stop()
	defer a.cfg.Client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			a.Round(ctx, now)
		}
	}
}

// Round evaluates every rule that is due at now, and tells what there is to
// tell.
func (a *Alerts) Round(ctx context.Context, now time.Time) {
	a.loadSettings(ctx)
	a.notAhead(now)
	for _, r := range a.due(now) {
		samples, err := a.cfg.Metrics.Query(ctx, r.Expr, a.cfg.Metrics.At(now))
		if mayfly.CodeOf(err) == mayfly.Unavailable || ctx.Err() != nil {
			return // the metrics are not open yet
		}
		a.mu.Lock()
		a.looked[r.key()] = now
		if err != nil {
			a.failures[r.key()] = err.Error()
		} else {
			delete(a.failures, r.key())
			a.judge(r, samples, now)
		}
		a.mu.Unlock()
	}
	a.save()
	a.tell(ctx, now)
	a.save()
}

// notAhead makes times after now, which a clock that went back leaves behind,
// now: nothing is to wait for them.
func (a *Alerts) notAhead(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, at := range a.looked {
		a.looked[key] = earlier(at, now)
	}
	for _, al := range a.active {
		al.Since, al.Fired, al.Resolved = earlier(al.Since, now), earlier(al.Fired, now), earlier(al.Resolved, now)
		for name, at := range al.Told {
			al.Told[name] = earlier(at, now)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.After(b) {
		return b
	}
	return a
}

// due are the rules to look at now.
func (a *Alerts) due(now time.Time) []*AlertRule {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*AlertRule
	for _, r := range a.rules {
		// Half a round early is on time: ticks are not exact.
		if now.Sub(a.looked[r.key()]) >= r.Every.D()-a.cfg.Every/2 {
			out = append(out, r)
		}
	}
	return out
}

// judge moves the alerts of a rule on by its results. The lock is held.
func (a *Alerts) judge(r *AlertRule, samples []telemetry.Sample, now time.Time) {
	seen := map[string]bool{}
	for _, s := range samples {
		labels := r.alertLabels(s.Labels)
		key := alertKey(labels)
		if seen[key] || a.covered(r, labels) {
			continue
		}
		seen[key] = true
		al := a.active[key]
		if al == nil || al.State == Resolved && len(al.Told) == 0 {
			al = &ActiveAlert{Rule: r.Name, Severity: r.Severity, Labels: labels, App: mayfly.AppName(labels["app"]), Since: now, State: Pending, Key: key}
			a.active[key] = al
			a.dirty = true
		}
		al.Value, al.Summary, al.Missed, al.Notify, al.Severity = s.Value, expand(r.Summary, labels, s.Value), 0, r.Notify, r.Severity
		if al.State == Resolved { // back before everybody knew that it had gone
			al.State, al.Resolved = Firing, time.Time{}
			a.dirty = true
		}
		if al.State == Pending && now.Sub(al.Since) >= r.For.D() {
			al.State, al.Fired = Firing, now
			a.dirty = true
		}
	}
	for key, al := range a.active {
		if al.belongsTo(r) && !seen[key] {
			a.miss(key, al, now)
		}
	}
}

// covered reports whether an alert of the rule that r stands under says what an
// alert with these labels would. The lock is held.
func (a *Alerts) covered(r *AlertRule, labels map[string]string) bool {
	if r.Under == "" {
		return false
	}
	for _, al := range a.active {
		if al.Rule == r.Under && al.State != Pending && al.Labels["app"] == labels["app"] && al.Labels["function"] == labels["function"] {
			return true
		}
	}
	return false
}

// roundsToResolve keeps an alert that flickers from being told over and over.
const roundsToResolve = 2

func (a *Alerts) miss(key string, al *ActiveAlert, now time.Time) {
	al.Missed++
	switch {
	case al.State == Pending:
		delete(a.active, key)
		a.dirty = true
	case al.State == Firing && al.Missed >= roundsToResolve:
		al.State, al.Resolved = Resolved, now
		a.dirty = true
	}
}

// belongsTo: a rule of every app has the alerts that name it and are of no
// manifest's rule.
func (al *ActiveAlert) belongsTo(r *AlertRule) bool {
	return al.Labels["alertname"] == r.Name && al.Labels["manifest"] == r.scope()
}

func (r *AlertRule) scope() string { return string(r.App) }

func (r *AlertRule) alertLabels(sample map[string]string) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, sample)
	delete(labels, "__name__")
	maps.Copy(labels, r.labels)
	labels["alertname"], labels["severity"] = r.Name, r.Severity
	if r.App != "" {
		labels["manifest"] = r.scope()
	}
	return labels
}

func alertKey(labels map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k != "severity" {
			b.WriteString(strconv.Quote(k) + strconv.Quote(labels[k]))
		}
	}
	return b.String()
}

// expand fills a summary: {{label}}, {{value}}, {{value%}} as a share in per
// cent, {{values}} as a duration in seconds.
func expand(text string, labels map[string]string, v float64) string {
	pairs := []string{"{{value%}}", fmt.Sprintf("%.1f %%", 100*v), "{{values}}", time.Duration(v * float64(time.Second)).Round(time.Millisecond).String(), "{{value}}", formatValue(v)}
	for k, l := range labels {
		pairs = append(pairs, "{{"+k+"}}", l)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func formatValue(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// forgetRules ends the alerts whose rule is gone. The lock is held.
func (a *Alerts) forgetRules() {
	for key, al := range a.active {
		if !slices.ContainsFunc(a.rules, al.belongsTo) && al.State != Resolved {
			if al.State == Pending {
				delete(a.active, key)
			} else {
				al.State, al.Resolved = Resolved, time.Now()
			}
			a.dirty = true
		}
	}
}

// save writes the state where it changed.
func (a *Alerts) save() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.dirty {
		return
	}
	b, err := json.Marshal(a.active)
	if err == nil {
		err = replaceFile(a.stateFile(), b)
	}
	if err != nil {
		a.cfg.Log.Error("the state of alerts cannot be written", "error", err)
		return
	}
	a.dirty = false
}

// List returns the alerts as they are, the worst first.
func (a *Alerts) List() []ActiveAlert {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]ActiveAlert, 0, len(a.active))
	for _, al := range a.active {
		copied := *al
		copied.Silenced = a.settings.silenced(al.Labels, time.Now())
		copied.Labels, copied.Told = maps.Clone(al.Labels), maps.Clone(al.Told)
		out = append(out, copied)
	}
	sort.Slice(out, func(i, j int) bool {
		x, y := slices.Index(severities, out[i].Severity), slices.Index(severities, out[j].Severity)
		if out[i].State != out[j].State {
			return out[i].State == Firing || out[i].State == Pending && out[j].State == Resolved
		}
		if x != y {
			return x > y
		}
		return out[i].Key < out[j].Key
	})
	return out
}

// AlertRuleState is a rule and how its last evaluation went.
type AlertRuleState struct {
	AlertRule
	Evaluated time.Time `json:"evaluated,omitzero"`
	Failure   string    `json:"failure,omitempty"`
	State     State     `json:"state,omitempty"` // of its worst alert; empty: all is well
}

// Rules returns what is watched.
func (a *Alerts) Rules() []AlertRuleState {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]AlertRuleState, 0, len(a.rules))
	for _, r := range a.rules {
		s := AlertRuleState{AlertRule: *r, Evaluated: a.looked[r.key()], Failure: a.failures[r.key()]}
		for _, al := range a.active {
			if al.belongsTo(r) && al.State != Resolved && s.State != Firing {
				s.State = al.State
			}
		}
		out = append(out, s)
	}
	return out
}
