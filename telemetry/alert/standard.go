package alert

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/mayfly-cloud/mayfly"
)

const (
	calls = `faas_invocations_total`
	perFn = `sum by (app, function) `
)

// pace makes the stretches of time of a rule longer or shorter, all in
// proportion. 1 is the standard.
type pace float64

func (p pace) of(d time.Duration) mayfly.Duration {
	return mayfly.Duration((time.Duration(float64(p) * float64(d))).Round(time.Millisecond))
}

// text is a stretch as PromQL writes it.
func (p pace) text(d time.Duration) string { return model.Duration(p.of(d)).String() }

// ratio is the share of metric in calls over a window, by function.
func (p pace) ratio(metric string, window time.Duration) string {
	w := p.text(window)
	return fmt.Sprintf("%s(rate(%s[%s])) / %s(rate(%s[%s]))", perFn, metric, w, perFn, calls, w)
}

// atLeast asks for a number of events in a window, by function.
func (p pace) atLeast(metric string, window time.Duration, n int) string {
	return fmt.Sprintf("%s(increase(%s[%s])) >= %d", perFn, metric, p.text(window), n)
}

// duration is the mean of a window, by function; offset is such as " offset 1d".
func (p pace) duration(offset string) string {
	return "histogram_avg(" + perFn + "(rate(faas_invoke_duration_seconds[" + p.text(10*time.Minute) + "]" + offset + ")))"
}

// history is the means of the last day, without the last minutes.
func (p pace) history() string {
	return fmt.Sprintf("(%s)[%s:%s] offset %s", p.duration(""), p.text(24*time.Hour), p.text(10*time.Minute), p.text(20*time.Minute))
}

// slow finds functions that are slower than the last day's usual by five times
// its spread and by half, and were not as slow at this hour yesterday or a week
// ago: hours and weeks are what they are, whatever the pace.
func (p pace) slow() string {
	usual := func(quantile string) string { return "quantile_over_time(" + quantile + ", " + p.history() + ")" }
	return and(
		p.duration("")+" > 1.5 * "+usual("0.5")+" + 5 * ("+usual("0.75")+" - "+usual("0.25")+")",
		"count_over_time("+p.history()+") >= 12",
		p.atLeast(calls, 10*time.Minute, 20)) +
		" unless " + p.duration(" offset 1d") + " * 1.5 > " + p.duration("") + " unless " + p.duration(" offset 1w") + " * 1.5 > " + p.duration("")
}

func and(parts ...string) string { return "(" + strings.Join(parts, ") and (") + ")" }

// standard are the rules that every function has, and that a manifest names.
var standard = pace(1).rules()

// rules are the standard rules at a pace.
//
// The error rules burn the budget of 99 % success over 30 days 14.4 and 6 times
// too fast, each over a long window and a short one: the long one so that a blip
// does not fire, the short one so that the alert ends soon after the errors do
// ("The Site Reliability Workbook", chapter 5).
func (p pace) rules() []AlertRule {
	const minute = time.Minute
	return append([]AlertRule{
		{Name: "error-rate", Severity: "critical", Window: p.of(5 * minute),
			Expr:    and(p.ratio("faas_errors_total", 5*minute)+" > 0.144", p.ratio("faas_errors_total", 15*minute)+" > 0.144", p.atLeast(calls, 5*minute, 10)),
			Summary: "{{app}}/{{function}}: {{value%}} of its calls failed in the last " + p.text(5*minute)},
		{Name: "error-rate-slow", For: p.of(5 * minute), Severity: "warning", Window: p.of(30 * minute), Every: p.of(2 * minute), Under: "error-rate",
			Expr:    and(p.ratio("faas_errors_total", 30*minute)+" > 0.06", p.ratio("faas_errors_total", 6*time.Hour)+" > 0.06", p.atLeast(calls, 30*minute, 30)),
			Summary: "{{app}}/{{function}}: {{value%}} of its calls failed in the last " + p.text(30*minute)},
		{Name: "throttles", For: p.of(2 * minute), Severity: "warning", Window: p.of(5 * minute),
			Expr:    and(p.ratio("faas_throttles_total", 5*minute)+" > 0.01", p.atLeast("faas_throttles_total", 5*minute, 5)),
			Summary: "{{app}}/{{function}}: {{value%}} of its calls are throttled; raise concurrency.max, or find out who calls so often"},
		{Name: "timeouts", For: p.of(2 * minute), Severity: "warning", Window: p.of(10 * minute),
			Expr:    and(p.ratio("faas_timeouts_total", 10*minute)+" > 0.05", p.atLeast("faas_timeouts_total", 10*minute, 3)),
			Summary: "{{app}}/{{function}}: {{value%}} of its calls run into their timeout"},
		{Name: "cold-starts", For: p.of(10 * minute), Severity: "info", Window: p.of(30 * minute),
			Expr:    and(p.ratio("faas_coldstarts_total", 30*minute)+" > 0.5", p.atLeast(calls, 30*minute, 100)),
			Summary: "{{app}}/{{function}}: {{value%}} of its calls wait for a new instance; a longer keep_alive or concurrency.warm helps"},
		{Name: "memory", For: p.of(5 * minute), Severity: "warning",
			Expr:    `max by (app, function) (faas_mem_usage_bytes / faas_mem_limit_bytes) > 0.9`,
			Summary: "{{app}}/{{function}} uses {{value%}} of its memory"},
		{Name: "out-of-memory", Severity: "critical", Window: p.of(10 * minute),
			Expr:    fmt.Sprintf("sum by (app, function) (increase(faas_out_of_memory_total[%s])) >= 2", p.text(10*minute)),
			Summary: "{{app}}/{{function}} ran out of memory {{value}} times in " + p.text(10*minute)},
		{Name: "duration", For: p.of(10 * minute), Severity: "warning", Window: p.of(10 * minute), Every: p.of(5 * minute),
			Expr:    p.slow(),
			Summary: "{{app}}/{{function}} takes {{values}}, far more than in the last " + p.text(24*time.Hour)},
		{Name: "queue-age", For: p.of(5 * minute), Severity: "warning", Window: p.of(10 * minute),
			Expr:    fmt.Sprintf("max by (app, queue) (mayfly_queue_oldest_seconds) > %g", p.of(10*minute).D().Seconds()),
			Summary: "{{app}}: the oldest message of queue {{queue}} waits for {{values}}"},
		{Name: "dead-letters", Severity: "warning", Window: p.of(15 * minute),
			Expr:    fmt.Sprintf("sum by (app) (mayfly_dead_letters - min_over_time(mayfly_dead_letters[%s])) > 0", p.text(15*minute)),
			Summary: "{{app}}: {{value}} more dead letters in " + p.text(15*minute)},
		{Name: "source-lost", For: p.of(5 * minute), Severity: "critical",
			Expr:    `max by (app, function, kind, of) (mayfly_source_connected) == 0`,
			Summary: "{{app}}/{{function}} gets no messages of {{kind}} {{of}}; mayfly event sources says why"},
		{Name: "changes-lost", For: p.of(5 * minute), Severity: "critical",
			Expr:    `max by (app, database) (mayfly_database_changes_following) == 0`,
			Summary: "{{app}}: changes of database {{database}} call no functions; mayfly sql says why"},
	}, p.platform()...)
}

// platform are the rules over the node itself.
func (p pace) platform() []AlertRule {
	const minute = time.Minute
	return []AlertRule{
		{Name: "faults", Severity: "critical", Window: p.of(5 * minute),
			Expr:    fmt.Sprintf("sum by (app, function) (increase(mayfly_faults_total[%s])) > 0", p.text(5*minute)),
			Summary: "{{app}}/{{function}}: {{value}} calls failed because of the platform"},
		{Name: "telemetry-shed", node: true, For: p.of(minute), Severity: "warning", Window: p.of(5 * minute),
			Expr:    fmt.Sprintf("sum by (kind) (increase(mayfly_telemetry_shed_total[%s])) > 0", p.text(5*minute)),
			Summary: "{{value}} {{kind}} were given up: telemetry is behind"},
		{Name: "export", node: true, For: p.of(minute), Severity: "warning", Window: p.of(5 * minute),
			Expr:    fmt.Sprintf("sum by (to) (delta(mayfly_export_rows{state=\"dropped\"}[%s])) > 0", p.text(5*minute)),
			Summary: "{{value}} rows for {{to}} were given up: what they are sent to does not take them"},
		{Name: "disk", node: true, For: p.of(5 * minute), Severity: "critical",
			Expr:    `min(mayfly_data_free_ratio) < 0.05`,
			Summary: "The disk of the data folder has {{value%}} left"},
	}
}

func standardRule(name string) *AlertRule { return named(standard, name) }

func named(rules []AlertRule, name string) *AlertRule {
	for i := range rules {
		if rules[i].Name == name {
			return &rules[i]
		}
	}
	return nil
}

// over is a standard rule that looks at another window.
func (r *AlertRule) over(window mayfly.Duration) *AlertRule {
	return named(pace(float64(window)/float64(r.Window)).rules(), r.Name)
}

func standardNames() []string {
	names := make([]string, len(standard))
	for i := range standard {
		names[i] = standard[i].Name
	}
	return names
}
