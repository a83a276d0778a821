package alert

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
)

// may asks the authorizer for a verb on alerts.
func (a *Alerts) may(ctx context.Context, verb string) error {
	return mayfly.Authorize(ctx, a.cfg.Authorizer, "", verb, "telemetry", "alerts")
}

// Register adds the operations on alerts.
func (a *Alerts) Register(api huma.API) {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"alerts"}}
	}
	huma.Register(api, op("list-alerts", http.MethodGet, "/v1/alerts", "What is wrong now, and lately"), a.getAlerts)
	huma.Register(api, op("list-alert-rules", http.MethodGet, "/v1/alerts/rules", "What is watched"), a.getRules)
	huma.Register(api, op("replay-alert", http.MethodPost, "/v1/alerts/replay", "When a rule would have fired, by the recorded metrics"), a.postReplay)
	huma.Register(api, op("list-silences", http.MethodGet, "/v1/alerts/silences", "What is not told"), a.getSilences)
	huma.Register(api, op("add-silence", http.MethodPost, "/v1/alerts/silences", "Keep alerts from being told"), a.postSilence)
	huma.Register(api, op("remove-silence", http.MethodDelete, "/v1/alerts/silences/{id}", "End a silence"), a.deleteSilence)
	huma.Register(api, op("list-receivers", http.MethodGet, "/v1/alerts/receivers", "Who is told"), a.getReceivers)
	huma.Register(api, op("set-receiver", http.MethodPut, "/v1/alerts/receivers/{name}", "Add or replace a receiver"), a.putReceiver)
	huma.Register(api, op("remove-receiver", http.MethodDelete, "/v1/alerts/receivers/{name}", "Remove a receiver"), a.deleteReceiver)
	huma.Register(api, op("test-receiver", http.MethodPost, "/v1/alerts/receivers/{name}/test", "Send a test"), a.postTest)
}

type alertsReply struct {
	Body struct {
		Alerts []ActiveAlert `json:"alerts"`
	}
}

func (a *Alerts) getAlerts(ctx context.Context, _ *struct{}) (*alertsReply, error) {
	if err := a.may(ctx, "read"); err != nil {
		return nil, err
	}
	out := new(alertsReply)
	out.Body.Alerts = a.List()
	return out, nil
}

type alertRulesReply struct {
	Body struct {
		Rules []AlertRuleState `json:"rules"`
	}
}

func (a *Alerts) getRules(ctx context.Context, _ *struct{}) (*alertRulesReply, error) {
	if err := a.may(ctx, "read"); err != nil {
		return nil, err
	}
	out := new(alertRulesReply)
	out.Body.Rules = a.Rules()
	return out, nil
}

type replayInput struct {
	Body struct {
		Rule  string          `json:"rule,omitempty" doc:"A rule that is watched, or a standard one"`
		App   mayfly.AppName  `json:"app,omitempty" doc:"Whose rule, or to whose metrics expr is restricted"`
		Expr  string          `json:"expr,omitempty" doc:"Or a PromQL expression"`
		For   mayfly.Duration `json:"for,omitempty" doc:"Instead of the rule's"`
		Since string          `json:"since,omitempty" doc:"RFC 3339, or how long ago; default 24h"`
		Until string          `json:"until,omitempty" doc:"RFC 3339, or how long ago; default now"`
		Step  mayfly.Duration `json:"step,omitempty" doc:"Default 1m"`
	}
}

type replayReply struct {
	Body struct {
		Rule     AlertRule `json:"rule"`
		Episodes []Episode `json:"episodes"`
	}
}

func (a *Alerts) postReplay(ctx context.Context, in *replayInput) (*replayReply, error) {
	if err := a.may(ctx, "read"); err != nil {
		return nil, err
	}
	b := &in.Body
	r, err := a.ruleToReplay(b.Rule, b.Expr, b.App)
	if err != nil {
		return nil, err
	}
	if b.For > 0 {
		r.For = b.For
	}
	now := time.Now()
	since, err := mayfly.ParseTime(cmp.Or(b.Since, "24h"), now)
	if err != nil {
		return nil, err
	}
	until, err := mayfly.ParseTime(cmp.Or(b.Until, "0s"), now)
	if err != nil {
		return nil, err
	}
	step := b.Step.D()
	if step <= 0 {
		step = time.Minute
	}
	out := new(replayReply)
	out.Body.Rule = *r
	out.Body.Episodes, err = a.Replay(ctx, r, since, until, step)
	return out, err
}

// ruleToReplay is a watched rule, a standard one, or an expression as a rule.
func (a *Alerts) ruleToReplay(name, expr string, app mayfly.AppName) (*AlertRule, error) {
	if expr != "" {
		if err := a.cfg.Metrics.CheckQuery(expr); err != nil {
			return nil, err
		}
		if app != "" {
			var err error
			if expr, err = a.cfg.Metrics.Scope(expr, app); err != nil {
				return nil, err
			}
		}
		return &AlertRule{Name: "test", App: app, Expr: expr, Severity: "warning", Summary: "{{value}}"}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.rules {
		if r.Name == name && r.App == app {
			copied := *r
			return &copied, nil
		}
	}
	if std := standardRule(name); std != nil {
		r := *std
		return &r, nil
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "find alert rule", "there is no rule %q; give one of those that GET /v1/alerts/rules lists, or an expr", name)
}

type silencesReply struct {
	Body struct {
		Silences []*Silence `json:"silences"`
	}
}

func (a *Alerts) getSilences(ctx context.Context, _ *struct{}) (*silencesReply, error) {
	if err := a.may(ctx, "read"); err != nil {
		return nil, err
	}
	a.loadSettings(ctx)
	a.mu.Lock()
	silences := a.settings.Silences // replaced as a whole, never changed
	a.mu.Unlock()
	out := new(silencesReply)
	out.Body.Silences = make([]*Silence, 0, len(silences))
	for _, id := range slices.Sorted(maps.Keys(silences)) {
		if silences[id].Until.After(time.Now()) {
			out.Body.Silences = append(out.Body.Silences, silences[id])
		}
	}
	return out, nil
}

type silenceInput struct {
	Body struct {
		Match   map[string]string `json:"match" doc:"Labels, with * for any text: alertname, app, function, queue, severity"`
		For     mayfly.Duration   `json:"for" doc:"From now on: 2h"`
		Comment string            `json:"comment,omitempty" maxLength:"1000"`
	}
}

type silenceReply struct {
	Body struct {
		ID string `json:"id"`
	}
}

func (a *Alerts) postSilence(ctx context.Context, in *silenceInput) (*silenceReply, error) {
	if err := a.may(ctx, "write"); err != nil {
		return nil, err
	}
	id, err := a.AddSilence(ctx, Silence{Match: in.Body.Match, Until: time.Now().Add(in.Body.For.D()), Comment: in.Body.Comment, By: mayfly.CallerFrom(ctx).String()})
	if err != nil {
		return nil, err
	}
	out := new(silenceReply)
	out.Body.ID = id
	return out, nil
}

func (a *Alerts) deleteSilence(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"100"`
}) (*struct{}, error) {
	if err := a.may(ctx, "write"); err != nil {
		return nil, err
	}
	return nil, a.RemoveSilence(ctx, in.ID)
}

type receiversReply struct {
	Body struct {
		Receivers []Receiver `json:"receivers"`
	}
}

func (a *Alerts) getReceivers(ctx context.Context, _ *struct{}) (*receiversReply, error) {
	if err := a.may(ctx, "read"); err != nil {
		return nil, err
	}
	a.loadSettings(ctx)
	all := a.receivers()
	out := new(receiversReply)
	out.Body.Receivers = make([]Receiver, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out.Body.Receivers = append(out.Body.Receivers, all[name].shown())
	}
	return out, nil
}

type receiverName struct {
	Name string `path:"name" maxLength:"63"`
}

func (a *Alerts) putReceiver(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"63"`
	Body Receiver
}) (*struct{}, error) {
	if err := a.may(ctx, "write"); err != nil {
		return nil, err
	}
	in.Body.Name = in.Name
	return nil, a.SetReceiver(ctx, in.Body)
}

func (a *Alerts) deleteReceiver(ctx context.Context, in *receiverName) (*struct{}, error) {
	if err := a.may(ctx, "write"); err != nil {
		return nil, err
	}
	return nil, a.RemoveReceiver(ctx, in.Name)
}

func (a *Alerts) postTest(ctx context.Context, in *receiverName) (*struct{}, error) {
	if err := a.may(ctx, "write"); err != nil {
		return nil, err
	}
	return nil, a.TestReceiver(ctx, in.Name)
}

// Prometheus is the rules and alerts in the form of Prometheus's API, for prom's
// Config.Rules.
func (a *Alerts) Prometheus() (groups, alerts any) {
	type promAlert struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		State       State             `json:"state"`
		ActiveAt    time.Time         `json:"activeAt"`
		Value       string            `json:"value"`
	}
	type promRule struct {
		Name        string            `json:"name"`
		Query       string            `json:"query"`
		Duration    float64           `json:"duration"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		State       string            `json:"state"`
		Health      string            `json:"health"`
		LastError   string            `json:"lastError,omitempty"`
		Evaluated   time.Time         `json:"lastEvaluation"`
		Time        float64           `json:"evaluationTime"`
		Type        string            `json:"type"`
		Alerts      []promAlert       `json:"alerts"`
	}
	byRule, all := map[string][]promAlert{}, []promAlert{}
	for _, al := range a.List() {
		if al.State == Resolved {
			continue
		}
		p := promAlert{al.Labels, map[string]string{"summary": al.Summary}, al.State, al.Since, formatValue(al.Value)}
		all = append(all, p)
		byRule[al.Labels["manifest"]+"/"+al.Rule] = append(byRule[al.Labels["manifest"]+"/"+al.Rule], p)
	}
	rules := []promRule{}
	for _, r := range a.Rules() {
		p := promRule{
			Name: r.Name, Query: r.Expr, Duration: r.For.D().Seconds(), Labels: map[string]string{"severity": r.Severity}, Annotations: map[string]string{"summary": r.Summary},
			State: string(r.State), Health: "ok", LastError: r.Failure, Evaluated: r.Evaluated, Type: "alerting", Alerts: byRule[r.key()],
		}
		switch {
		case r.Failure != "":
			p.Health = "err"
		case r.Evaluated.IsZero():
			p.Health = "unknown"
		}
		if p.State == "" {
			p.State = "inactive"
		}
		if p.Alerts == nil {
			p.Alerts = []promAlert{}
		}
		rules = append(rules, p)
	}
	return []any{map[string]any{"name": "mayfly", "file": "mayfly", "interval": a.cfg.Every.Seconds(), "limit": 0, "rules": rules, "evaluationTime": 0, "lastEvaluation": time.Now()}}, all
}
