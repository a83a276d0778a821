package alert

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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

	// Under names a rule whose alert says more: while that fires for the same
	// function, and for an hour after, this one does not.
	Under string `json:"under,omitempty"`

	labels map[string]string // put on its alerts
}

// key tells rules apart.
func (r *AlertRule) key() string { return string(r.App) + "/" + r.Name }

const (
	calls = `faas_invocations_total`
	perFn = `sum by (app, function) `
)

// ratio is the share of metric in calls over a window, by function.
func ratio(metric, window string) string {
	return fmt.Sprintf("%s(rate(%s[%s])) / %s(rate(%s[%s]))", perFn, metric, window, perFn, calls, window)
}

// atLeast asks for a number of events in a window, by function.
func atLeast(metric, window string, n int) string {
	return fmt.Sprintf("%s(increase(%s[%s])) >= %d", perFn, metric, window, n)
}

// duration is the mean of ten minutes, by function; offset is such as
// " offset 1d".
func duration(offset string) string {
	return "histogram_avg(" + perFn + "(rate(faas_invoke_duration_seconds[10m]" + offset + ")))"
}

// usual is a quantile of the last day's means, without the last minutes.
func usual(quantile string) string {
	return fmt.Sprintf("quantile_over_time(%s, (%s)[1d:10m] offset 20m)", quantile, duration(""))
}

func and(parts ...string) string { return "(" + strings.Join(parts, ") and (") + ")" }

// standard are the rules that every function has, and that a manifest names.
//
// The error rules burn the budget of 99 % success over 30 days 14.4 and 6 times
// too fast, each over a long window and a short one: the long one so that a blip
// does not fire, the short one so that the alert ends soon after the errors do
// ("The Site Reliability Workbook", chapter 5).
var standard = []AlertRule{
	{Name: "error-rate", For: 0, Severity: "critical",
		Expr:    and(ratio("faas_errors_total", "5m")+" > 0.144", ratio("faas_errors_total", "15m")+" > 0.144", atLeast(calls, "5m", 10)),
		Summary: "{{app}}/{{function}}: {{value%}} of its calls failed in the last 5 minutes"},
	{Name: "error-rate-slow", For: mayfly.Duration(5 * time.Minute), Severity: "warning", Every: mayfly.Duration(2 * time.Minute), Under: "error-rate",
		Expr:    and(ratio("faas_errors_total", "30m")+" > 0.06", ratio("faas_errors_total", "6h")+" > 0.06", atLeast(calls, "30m", 30)),
		Summary: "{{app}}/{{function}}: {{value%}} of its calls failed in the last half hour"},
	{Name: "throttles", For: mayfly.Duration(2 * time.Minute), Severity: "warning",
		Expr:    and(ratio("faas_throttles_total", "5m")+" > 0.01", atLeast("faas_throttles_total", "5m", 5)),
		Summary: "{{app}}/{{function}}: {{value%}} of its calls are throttled; raise concurrency.max, or find out who calls so often"},
	{Name: "timeouts", For: mayfly.Duration(2 * time.Minute), Severity: "warning",
		Expr:    and(ratio("faas_timeouts_total", "10m")+" > 0.05", atLeast("faas_timeouts_total", "10m", 3)),
		Summary: "{{app}}/{{function}}: {{value%}} of its calls run into their timeout"},
	{Name: "cold-starts", For: mayfly.Duration(10 * time.Minute), Severity: "info",
		Expr:    and(ratio("faas_coldstarts_total", "30m")+" > 0.5", atLeast(calls, "30m", 100)),
		Summary: "{{app}}/{{function}}: {{value%}} of its calls wait for a new instance; a longer keep_alive or concurrency.warm helps"},
	{Name: "memory", For: mayfly.Duration(5 * time.Minute), Severity: "warning",
		Expr:    `max by (app, function) (faas_mem_usage_bytes / faas_mem_limit_bytes) > 0.9`,
		Summary: "{{app}}/{{function}} uses {{value%}} of its memory"},
	{Name: "out-of-memory", For: 0, Severity: "critical",
		Expr:    `sum by (app, function) (increase(faas_out_of_memory_total[10m])) >= 2`,
		Summary: "{{app}}/{{function}} ran out of memory {{value}} times in ten minutes"},
	// Slower than the last day's usual by five times its spread and by half, and
	// not as slow at this hour yesterday or a week ago.
	{Name: "duration", For: mayfly.Duration(10 * time.Minute), Severity: "warning", Every: mayfly.Duration(5 * time.Minute),
		Expr: and(
			duration("")+" > 1.5 * "+usual("0.5")+" + 5 * ("+usual("0.75")+" - "+usual("0.25")+")",
			fmt.Sprintf("count_over_time((%s)[1d:10m] offset 20m) >= 12", duration("")),
			atLeast(calls, "10m", 20)) +
			" unless " + duration(" offset 1d") + " * 1.5 > " + duration("") + " unless " + duration(" offset 1w") + " * 1.5 > " + duration(""),
		Summary: "{{app}}/{{function}} takes {{values}}, far more than in the last day"},
	{Name: "queue-age", For: mayfly.Duration(5 * time.Minute), Severity: "warning",
		Expr:    `max by (app, queue) (mayfly_queue_oldest_seconds) > 600`,
		Summary: "{{app}}: the oldest message of queue {{queue}} waits for {{values}}"},
	{Name: "dead-letters", For: 0, Severity: "warning",
		Expr:    `sum by (app) (mayfly_dead_letters - min_over_time(mayfly_dead_letters[15m])) > 0`,
		Summary: "{{app}}: {{value}} more dead letters in a quarter of an hour"},
	{Name: "faults", For: 0, Severity: "critical",
		Expr:    `sum by (app, function) (increase(mayfly_faults_total[5m])) > 0`,
		Summary: "{{app}}/{{function}}: {{value}} calls failed because of the platform"},
	{Name: "telemetry-shed", For: mayfly.Duration(time.Minute), Severity: "warning",
		Expr:    `sum by (kind) (increase(mayfly_telemetry_shed_total[5m])) > 0`,
		Summary: "{{value}} {{kind}} were given up: telemetry is behind"},
	{Name: "disk", For: mayfly.Duration(5 * time.Minute), Severity: "critical",
		Expr:    `min(mayfly_data_free_ratio) < 0.05`,
		Summary: "The disk of the data folder has {{value%}} left"},
}

func standardRule(name string) *AlertRule {
	for i := range standard {
		if standard[i].Name == name {
			return &standard[i]
		}
	}
	return nil
}

func standardNames() []string {
	names := make([]string, len(standard))
	for i := range standard {
		names[i] = standard[i].Name
	}
	return names
}

// Check reports what is wrong with a manifest's alerts.
func (a *Alerts) Check(m *mayfly.Manifest) error {
	for _, name := range slices.Sorted(maps.Keys(m.Alerts)) {
		if _, err := a.fromManifest(m.App, name, m.Alerts[name]); err != nil {
			return err
		}
	}
	return nil
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
	if spec.Rule != "" {
		std := standardRule(spec.Rule)
		if std == nil {
			return bad("there is no rule %q; there are %s", spec.Rule, strings.Join(standardNames(), ", "))
		}
		r.Expr, r.Every, r.Under = std.Expr, std.Every, std.Under
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
