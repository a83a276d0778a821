package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// Severities from the mildest to the worst.
var severities = []string{"info", "warning", "critical"}

// AlertRule is what is watched.
type AlertRule struct {
	Name     string          `json:"name"`
	App      mayfly.AppName  `json:"app,omitempty"` // whose manifest has it; empty: every app
	Expr     string          `json:"expr"`
	For      mayfly.Duration `json:"for"`
	Severity string          `json:"severity"`
	Summary  string          `json:"summary"`
	Notify   []string        `json:"notify,omitempty"` // receivers; empty: the default ones
	// Every is the time between two looks; 0: each round. For expressions that
	// look far back.
	Every mayfly.Duration `json:"every,omitempty"`
	// Window is the stretch of time that a standard rule looks at first; its
	// others are in proportion. 0: it looks at none, or has its own expression.
	Window mayfly.Duration `json:"window,omitempty"`

	// Under names a rule whose alert says more: while that fires for the same
	// function, and for an hour after, this one does not.
	Under string `json:"under,omitempty"`

	labels map[string]string // put on its alerts
	node   bool              // about the node, and so about no app
}

// key tells rules apart.
func (r *AlertRule) key() string { return string(r.App) + "/" + r.Name }

// Check reports all that is wrong with a manifest's alerts.
func (a *Alerts) Check(m *mayfly.Manifest) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(m.Alerts)) {
		_, err := a.fromManifest(m.App, name, m.Alerts[name])
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// fromManifest is an alert of a manifest as a rule.
func (a *Alerts) fromManifest(app mayfly.AppName, name string, spec *mayfly.Alert) (*AlertRule, error) {
	op := "alerts." + name
	bad := func(format string, args ...any) (*AlertRule, error) {
		return nil, mayfly.Errorf(mayfly.Invalid, op, format, args...)
	}
	if (spec.Expr == "") == (spec.Rule == "") {
		return bad("has one of expr (PromQL) and rule (one of %s)", strings.Join(standardNames(), ", "))
	}
	r := AlertRule{Name: name, App: app, Expr: spec.Expr, For: spec.For, Severity: spec.Severity, Summary: spec.Summary, Notify: spec.Notify}
	if spec.Rule == "" && spec.Window != 0 {
		return bad("window goes with rule; an expr has its own: rate(…[5m])")
	}
	if spec.Rule != "" {
		std := standardRule(spec.Rule)
		switch {
		case std == nil:
			return bad("there is no rule %q; there are %s", spec.Rule, strings.Join(standardNames(), ", "))
		case std.node:
			return bad("rule %s is about the node, not about an app: it cannot be in a manifest", spec.Rule)
		case spec.Window != 0 && std.Window == 0:
			return bad("rule %s looks at no window of time; leave window out", spec.Rule)
		case spec.Window != 0 && (spec.Window.D() < a.cfg.Every || spec.Window > 10*std.Window):
			return bad("window %s is not between %s, which three samples take, and %s", spec.Window, mayfly.Duration(a.cfg.Every), 10*std.Window)
		case spec.Window != 0:
			std = std.over(spec.Window)
		}
		r.Expr, r.Every, r.Under, r.Window = std.Expr, std.Every, std.Under, std.Window
		r.For, r.Severity, r.Summary = cmp.Or(r.For, std.For), cmp.Or(r.Severity, std.Severity), cmp.Or(r.Summary, std.Summary)
	}
	r.Severity = cmp.Or(r.Severity, "warning")
	r.Summary = cmp.Or(r.Summary, name+": {{value}}")
	if !slices.Contains(severities, r.Severity) {
		return bad("severity %q is none of %s", r.Severity, strings.Join(severities, ", "))
	}
	if err := a.cfg.Metrics.CheckQuery(r.Expr); err != nil {
		return bad("%s", mayfly.MessageOf(err))
	}
	scoped, err := a.cfg.Metrics.Scope(r.Expr, app)
	if err != nil {
		return bad("%s", mayfly.MessageOf(err))
	}
	r.Expr = scoped
	r.labels = map[string]string{"app": string(app)}
	return &r, nil
}

// budgetRules are one rule for each share of a budget that is to be told.
func budgetRules(m *mayfly.Manifest) []*AlertRule {
	if m.Budget == nil {
		return nil
	}
	shares := m.Budget.AlertAt
	if len(shares) == 0 {
		shares = []float64{0.5, 0.8, 1}
	}
	var rules []*AlertRule
	for _, share := range shares {
		severity := "warning"
		if share >= 1 {
			severity = "critical"
		}
		rules = append(rules, &AlertRule{
			Name: fmt.Sprintf("budget-%g", share*100), App: m.App, Severity: severity,
			Expr:    fmt.Sprintf("mayfly_budget_used_ratio{app=%q} >= %g", m.App, share),
			Summary: "{{app}} has spent {{value%}} of its budget of this month",
		})
	}
	return rules
}

// Apply takes the rules of all deployed apps: the standard ones, those of their
// budgets and those of their manifests. It is idempotent. A standard rule that
// an app's manifest has under its own name is that app's instead.
func (a *Alerts) Apply(_ context.Context, apps []*mayfly.Manifest) error {
	rules := make([]*AlertRule, 0, len(standard))
	for i := range standard {
		r := standard[i]
		rules = append(rules, &r)
	}
	own := map[string][]string{} // of a standard rule: the apps that replace it
	for _, m := range apps {
		for _, name := range slices.Sorted(maps.Keys(m.Alerts)) {
			r, err := a.fromManifest(m.App, name, m.Alerts[name])
			if err != nil {
				a.cfg.Log.Error("an alert of a deployed app is wrong and is not watched", "app", m.App, "alert", name, "error", err)
				continue
			}
			rules = append(rules, r)
			if standardRule(name) != nil {
				own[name] = append(own[name], string(m.App))
			}
		}
		rules = append(rules, budgetRules(m)...)
	}
	for _, r := range rules {
		if except := own[r.Name]; r.App == "" && len(except) > 0 {
			r.Expr = fmt.Sprintf("(%s) unless on (app) label_replace(vector(1), %q, %q, \"\", \"\")", r.Expr, "app", except[0])
			for _, app := range except[1:] {
				r.Expr = fmt.Sprintf("(%s) unless on (app) label_replace(vector(1), %q, %q, \"\", \"\")", r.Expr, "app", app)
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules = rules
	a.forgetRules()
	return nil
}
