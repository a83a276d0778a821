package api

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// Stats is how functions fared; *telemetry.Store is it.
type Stats interface {
	Summaries(app mayfly.AppName, window time.Duration, byVersion bool) []telemetry.FunctionSummary
}

// statsWindow is how far back the figures of a list of functions go.
const statsWindow = 15 * time.Minute

type functionsInput struct {
	App     mayfly.AppName `query:"app" maxLength:"63"`
	Find    string         `query:"find" maxLength:"130" doc:"A part of APP/FUNCTION"`
	Runtime mayfly.Runtime `query:"runtime" enum:"python,node,wasm,binary,http,container"`
	Stats   bool           `query:"stats" doc:"With how they fared in the last 15 minutes"`
	Sort    string         `query:"sort" enum:"name,calls,errors,p99,cold" default:"name" doc:"By their stats: the most first"`
	Limit   int            `query:"limit" minimum:"0" maximum:"1000" doc:"Default all"`
	After   int            `query:"after" minimum:"0" doc:"How many to leave out: next of the page before"`
}

type functionsOutput struct {
	Body struct {
		Functions []FunctionInfo  `json:"functions"`
		Total     int             `json:"total"`
		Next      int             `json:"next,omitempty" doc:"Of the next page"`
		Sum       *FunctionTotals `json:"sum,omitempty" doc:"Of all that match"`
	}
}

// FunctionTotals add up how functions fared.
type FunctionTotals struct {
	Calls     int64   `json:"calls"`
	Failed    int64   `json:"failed"`
	Throttled int64   `json:"throttled"`
	Cold      int64   `json:"cold"`
	PerMinute []int64 `json:"per_minute"`
}

func (t *FunctionTotals) add(s *telemetry.FunctionSummary) {
	t.Calls += s.Calls
	t.Failed += s.Failed
	t.Throttled += s.Throttled
	t.Cold += s.Cold
	if t.PerMinute == nil {
		t.PerMinute = make([]int64, len(s.PerMinute))
	}
	for i, n := range s.PerMinute {
		t.PerMinute[i] += n
	}
}

// listed is a function of a list before its page is known.
type listed struct {
	app   *control.App
	name  mayfly.FunctionName
	stats *telemetry.FunctionSummary
}

func (a *API) listFunctions(_ context.Context, in *functionsInput) (*functionsOutput, error) {
	s := a.cfg.Deploys.State()
	all := matching(s, in)
	out := &functionsOutput{}
	out.Body.Functions, out.Body.Total = []FunctionInfo{}, len(all)
	if (in.Stats || in.Sort != "name") && a.cfg.Stats != nil {
		out.Body.Sum = withStats(all, a.cfg.Stats.Summaries(in.App, statsWindow, false))
		sortListed(all, in.Sort)
	}
	all = all[min(in.After, len(all)):]
	if in.Limit > 0 && len(all) > in.Limit {
		all = all[:in.Limit]
		out.Body.Next = in.After + in.Limit
	}
	for _, f := range all {
		info, err := functionInfo(s, f.app, f.name)
		if err != nil {
			return nil, err
		}
		info.Stats = f.stats
		out.Body.Functions = append(out.Body.Functions, info)
	}
	return out, nil
}

// matching are the functions that were asked for, by name.
func matching(s *control.State, in *functionsInput) (all []listed) {
	find := strings.ToLower(in.Find)
	for _, app := range s.Apps() {
		if in.App != "" && app.Name != in.App {
			continue
		}
		from := len(all)
		for fn := range app.Live {
			if find != "" && !strings.Contains(string(app.Name)+"/"+string(fn), find) {
				continue
			}
			if f := app.Manifest.Functions[fn]; in.Runtime != "" && (f == nil || f.Runtime != in.Runtime) {
				continue
			}
			all = append(all, listed{app: app, name: fn})
		}
		slices.SortFunc(all[from:], func(x, y listed) int { return naturally(string(x.name), string(y.name)) })
	}
	return all
}

// naturally compares names as people count: f2 before f10.
func naturally(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == b[i] {
			continue
		}
		if x, y := leading(a[start(a, i):]), leading(b[start(b, i):]); x != y && x >= 0 && y >= 0 {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(a), len(b))
}

// start is where the number that i stands in begins.
func start(s string, i int) int {
	for i > 0 && s[i-1] >= '0' && s[i-1] <= '9' {
		i--
	}
	return i
}

// leading is the number that s begins with, -1 for none.
func leading(s string) int {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return -1
	}
	return n
}

// withStats gives functions their stats, and adds those up.
func withStats(all []listed, stats []telemetry.FunctionSummary) *FunctionTotals {
	type key struct {
		app mayfly.AppName
		fn  mayfly.FunctionName
	}
	by := make(map[key]*telemetry.FunctionSummary, len(stats))
	for i := range stats {
		by[key{stats[i].App, stats[i].Function}] = &stats[i]
	}
	sum := &FunctionTotals{}
	for i := range all {
		if s := by[key{all[i].app.Name, all[i].name}]; s != nil {
			all[i].stats = s
			sum.add(s)
		}
	}
	return sum
}

// sortListed puts the most first; what is equal stays by name.
func sortListed(all []listed, by string) {
	value := map[string]func(*telemetry.FunctionSummary) float64{
		"calls":  func(s *telemetry.FunctionSummary) float64 { return float64(s.Calls) },
		"errors": func(s *telemetry.FunctionSummary) float64 { return s.ErrorRate },
		"p99":    func(s *telemetry.FunctionSummary) float64 { return float64(s.P99) },
		"cold":   func(s *telemetry.FunctionSummary) float64 { return s.ColdShare },
	}[by]
	if value == nil {
		return
	}
	of := func(f listed) float64 {
		if f.stats == nil {
			return -1
		}
		return value(f.stats)
	}
	slices.SortStableFunc(all, func(x, y listed) int { return cmp.Compare(of(y), of(x)) })
}
