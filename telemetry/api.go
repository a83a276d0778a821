package telemetry

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
)

// mayRead asks the authorizer for the verb "read" on "telemetry".
func (s *Store) mayRead(ctx context.Context, app mayfly.AppName, what string) error {
	return mayfly.Authorize(ctx, s.cfg.Authorizer, app, "read", "telemetry", what)
}

// Register adds the operations that read the store.
func (s *Store) Register(api huma.API) {
	get := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"telemetry"}}
	}
	huma.Register(api, get("list-logs", "/v1/logs", "Search the lines that functions printed"), s.getLogs)
	huma.Register(api, get("count-logs", "/v1/logs/histogram", "Count lines over time by level"), s.getHistogram)
	huma.Register(api, get("tail-logs", "/v1/logs/tail", "Follow lines as server-sent events"), s.getTail)
	huma.Register(api, get("list-invocations", "/v1/invocations", "List records of calls"), s.getInvocations)
	huma.Register(api, get("get-invocation", "/v1/invocations/{id}", "Read the record of a call"), s.getInvocation)
	huma.Register(api, get("follow-invocations", "/v1/live", "Follow records of calls as server-sent events"), s.getLive)
	huma.Register(api, get("search-traces", "/v1/traces", "Search traces"), s.getTraces)
	huma.Register(api, get("get-trace", "/v1/traces/{id}", "Read a trace: spans, lines and records"), s.getTrace)
	huma.Register(api, get("summarise-functions", "/v1/stats/functions", "How functions fared lately"), s.getSummaries)
	huma.Register(api, get("map-services", "/v1/stats/map", "Who called what lately"), s.getMap)
	huma.Register(api, get("get-telemetry-health", "/v1/telemetry", "How the telemetry store fares"), s.getHealth)
}

// TimeRange is the stretch of time that a request asks for.
type TimeRange struct {
	Since string `query:"since" maxLength:"40" doc:"From when on: RFC 3339, or how long ago (15m, 24h, 7d)"`
	Until string `query:"until" maxLength:"40" doc:"Up to when: RFC 3339, or how long ago"`
}

func (p TimeRange) times() (since, until time.Time, err error) {
	now := time.Now()
	if since, err = mayfly.ParseTime(p.Since, now); err == nil {
		until, err = mayfly.ParseTime(p.Until, now)
	}
	if err == nil && !until.IsZero() && until.Before(since) {
		err = mayfly.Errorf(mayfly.Invalid, "", "until, %s, is before since, %s", until.Format(time.RFC3339), since.Format(time.RFC3339))
	}
	return since, until, err
}

// parseSlower reads the least duration of what is wanted.
func parseSlower(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := mayfly.ParseDuration(s)
	return d.D(), err
}

// LogsInput is the query of the operations on lines. It is exported because huma
// reads embedded structs only then; so is TimeRange.
type LogsInput struct {
	App        mayfly.AppName      `query:"app" maxLength:"63"`
	Function   mayfly.FunctionName `query:"function" maxLength:"63"`
	Version    int                 `query:"version" minimum:"0"`
	Level      string              `query:"level" enum:"debug,info,warn,error" doc:"This level or worse"`
	Stream     mayfly.LogStream    `query:"stream" enum:"stdout,stderr,platform"`
	Invocation string              `query:"invocation" maxLength:"200"`
	Trace      string              `query:"trace" maxLength:"200"`
	Text       string              `query:"text" maxLength:"1000" doc:"In the line, whatever the case"`
	Field      []string            `query:"field,explode" maxItems:"20" doc:"NAME=VALUE of a JSON line; dots lead into objects"`
	TimeRange
	Limit int    `query:"limit" minimum:"0" maximum:"10000" doc:"Default 200"`
	Order string `query:"order" enum:"newest,oldest" default:"newest" doc:"Which end the limit keeps; lines are always in the order of time"`
}

func (in *LogsInput) query() (LogQuery, error) {
	q := LogQuery{
		App: in.App, Function: in.Function, Version: in.Version, Level: in.Level, Stream: in.Stream,
		Invocation: in.Invocation, TraceID: in.Trace, Text: in.Text, Limit: in.Limit, Oldest: in.Order == "oldest",
	}
	for _, f := range in.Field {
		name, value, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return q, mayfly.Errorf(mayfly.Invalid, "", "field %q is not NAME=VALUE", f)
		}
		if q.Fields == nil {
			q.Fields = map[string]string{}
		}
		q.Fields[name] = value
	}
	var err error
	q.Since, q.Until, err = in.times()
	return q, err
}

type logsReply struct {
	Body struct {
		Lines []LiftedLine `json:"lines"`
	}
}

func (s *Store) getLogs(ctx context.Context, in *LogsInput) (*logsReply, error) {
	if err := s.mayRead(ctx, in.App, "logs"); err != nil {
		return nil, err
	}
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	out := new(logsReply)
	out.Body.Lines, err = s.Logs(ctx, q)
	return out, err
}

type histogramInput struct {
	LogsInput
	Buckets int `query:"buckets" minimum:"0" maximum:"500" doc:"Default 60"`
}

type histogramReply struct {
	Body struct {
		Buckets []LogBucket `json:"buckets"`
	}
}

func (s *Store) getHistogram(ctx context.Context, in *histogramInput) (*histogramReply, error) {
	if err := s.mayRead(ctx, in.App, "logs"); err != nil {
		return nil, err
	}
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	if in.Buckets == 0 {
		in.Buckets = 60
	}
	out := new(histogramReply)
	out.Body.Buckets, err = s.LogHistogram(ctx, q, in.Buckets)
	return out, err
}

type tailInput struct {
	LogsInput
	Lines int `query:"lines" minimum:"0" maximum:"1000" doc:"How many of the last lines to begin with"`
}

// getTail gives the last lines and then those that come. One that comes in
// between is given once.
func (s *Store) getTail(ctx context.Context, in *tailInput) (*huma.StreamResponse, error) {
	if err := s.mayRead(ctx, in.App, "logs"); err != nil {
		return nil, err
	}
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	q.Limit = in.Lines
	return events(func(ctx context.Context, send func(string, any) error) error {
		lines := s.Tail(ctx, q)
		shown := map[mayfly.LogLine]bool{}
		if in.Lines > 0 {
			last, err := s.Logs(ctx, q)
			if err != nil {
				return err
			}
			for _, l := range last {
				shown[l.LogLine] = true
				if err := send("line", l); err != nil {
					return err
				}
			}
			if err := flushEvents(ctx); err != nil {
				return err
			}
		}
		return forward(ctx, lines, func(l mayfly.LogLine) error {
			if shown[l] {
				delete(shown, l)
				return nil
			}
			return send("line", lift(l))
		})
	}), nil
}

type invocationsInput struct {
	App      mayfly.AppName      `query:"app" maxLength:"63"`
	Function mayfly.FunctionName `query:"function" maxLength:"63"`
	Version  int                 `query:"version" minimum:"0"`
	Trigger  mayfly.TriggerKind  `query:"trigger" maxLength:"20"`
	Outcome  mayfly.Outcome      `query:"outcome" enum:"ok,error,timeout,oom,exit,throttled,cancelled,internal"`
	Failed   bool                `query:"failed" doc:"Any outcome but ok"`
	Cold     bool                `query:"cold"`
	Trace    string              `query:"trace" maxLength:"200"`
	Slower   string              `query:"slower" maxLength:"20" doc:"The least duration: 100ms"`
	TimeRange
	Limit int    `query:"limit" minimum:"0" maximum:"10000" doc:"Default 200"`
	Order string `query:"order" enum:"newest,oldest" default:"newest" doc:"Which end the limit keeps; records are always in the order of time"`
}

func (in *invocationsInput) query() (q InvocationQuery, err error) {
	q = InvocationQuery{
		App: in.App, Function: in.Function, Version: in.Version, Trigger: in.Trigger, Outcome: in.Outcome,
		Failed: in.Failed, Cold: in.Cold, TraceID: in.Trace, Limit: in.Limit, Oldest: in.Order == "oldest",
	}
	if q.Slower, err = parseSlower(in.Slower); err == nil {
		q.Since, q.Until, err = in.times()
	}
	return q, err
}

type invocationsReply struct {
	Body struct {
		Invocations []*mayfly.Invocation `json:"invocations"`
	}
}

func (s *Store) getInvocations(ctx context.Context, in *invocationsInput) (*invocationsReply, error) {
	if err := s.mayRead(ctx, in.App, "invocations"); err != nil {
		return nil, err
	}
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	out := new(invocationsReply)
	out.Body.Invocations, err = s.Invocations(ctx, q)
	return out, err
}

type idInput struct {
	ID string `path:"id" maxLength:"200"`
}

type invocationReply struct{ Body *mayfly.Invocation }

func (s *Store) getInvocation(ctx context.Context, in *idInput) (*invocationReply, error) {
	inv, err := s.LookupInvocation(ctx, in.ID)
	if err != nil {
		if denied := s.mayRead(ctx, "", "invocations"); denied != nil {
			return nil, denied // whether there is a record is not theirs to know
		}
		return nil, err
	}
	if err := s.mayRead(ctx, inv.App, "invocations"); err != nil {
		return nil, err
	}
	return &invocationReply{inv}, nil
}

func (s *Store) getLive(ctx context.Context, in *invocationsInput) (*huma.StreamResponse, error) {
	if err := s.mayRead(ctx, in.App, "invocations"); err != nil {
		return nil, err
	}
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	return events(func(ctx context.Context, send func(string, any) error) error {
		return forward(ctx, s.Live(ctx, q), func(inv *mayfly.Invocation) error {
			brief := *inv
			brief.Event = nil
			return send("invocation", &brief)
		})
	}), nil
}

type tracesInput struct {
	App      mayfly.AppName      `query:"app" maxLength:"63"`
	Function mayfly.FunctionName `query:"function" maxLength:"63"`
	Text     string              `query:"text" maxLength:"1000" doc:"In the name, attributes or error of a span"`
	Failed   bool                `query:"failed"`
	Cold     bool                `query:"cold"`
	Slower   string              `query:"slower" maxLength:"20" doc:"The least duration of a call or span: 100ms"`
	TimeRange
	Limit int `query:"limit" minimum:"0" maximum:"200" doc:"Default 50"`
}

type tracesReply struct {
	Body struct {
		Traces []TraceSummary `json:"traces"`
	}
}

func (s *Store) getTraces(ctx context.Context, in *tracesInput) (*tracesReply, error) {
	if err := s.mayRead(ctx, in.App, "traces"); err != nil {
		return nil, err
	}
	q := TraceQuery{App: in.App, Function: in.Function, Text: in.Text, Failed: in.Failed, Cold: in.Cold, Limit: in.Limit}
	var err error
	if q.Slower, err = parseSlower(in.Slower); err != nil {
		return nil, err
	}
	if q.Since, q.Until, err = in.times(); err != nil {
		return nil, err
	}
	out := new(tracesReply)
	out.Body.Traces, err = s.Traces(ctx, q)
	return out, err
}

type traceReply struct{ Body *TraceView }

// getTrace reads a trace for whoever may read all of its apps.
func (s *Store) getTrace(ctx context.Context, in *idInput) (*traceReply, error) {
	v, err := s.Trace(ctx, strings.ToLower(in.ID))
	if err != nil {
		if denied := s.mayRead(ctx, "", "traces"); denied != nil {
			return nil, denied
		}
		return nil, err
	}
	apps := map[mayfly.AppName]bool{}
	for i := range v.Spans {
		apps[v.Spans[i].App] = true
	}
	for i := range v.Logs {
		apps[v.Logs[i].App] = true
	}
	delete(apps, "") // the platform's own parts of a trace belong to its apps
	if len(apps) == 0 {
		apps[""] = true
	}
	for app := range apps {
		if err := s.mayRead(ctx, app, "traces"); err != nil {
			return nil, err
		}
	}
	return &traceReply{v}, nil
}

type summariesInput struct {
	App     mayfly.AppName `query:"app" maxLength:"63"`
	Window  string         `query:"window" maxLength:"20" default:"15m" doc:"How far back, at most 1h"`
	Version bool           `query:"by_version" doc:"One entry for each version"`
}

type summariesReply struct {
	Body struct {
		Functions []FunctionSummary `json:"functions"`
	}
}

func (s *Store) getSummaries(ctx context.Context, in *summariesInput) (*summariesReply, error) {
	if err := s.mayRead(ctx, in.App, "stats"); err != nil {
		return nil, err
	}
	window, err := mayfly.ParseDuration(in.Window)
	if err != nil {
		return nil, err
	}
	out := new(summariesReply)
	out.Body.Functions = s.Summaries(in.App, window.D(), in.Version)
	return out, nil
}

type mapReply struct {
	Body struct {
		Edges []MapEdge `json:"edges"`
	}
}

func (s *Store) getMap(ctx context.Context, in *struct {
	App mayfly.AppName `query:"app" maxLength:"63"`
}) (*mapReply, error) {
	if err := s.mayRead(ctx, in.App, "stats"); err != nil {
		return nil, err
	}
	out := new(mapReply)
	out.Body.Edges = s.Map(in.App)
	return out, nil
}

type healthReply struct{ Body StoreHealth }

func (s *Store) getHealth(ctx context.Context, _ *struct{}) (*healthReply, error) {
	if err := s.mayRead(ctx, "", "health"); err != nil {
		return nil, err
	}
	return &healthReply{s.Health()}, nil
}
