package prom

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/mayfly-cloud/mayfly"
)

// answer is what an operation returns: data and warnings, or an error.
type answer struct {
	data     any
	warnings []string
	infos    []string
	done     func() // after the reply was written; may be nil
	err      error
}

func failed(err error) answer { return answer{err: err} }

// API serves Prometheus's read API (https://prometheus.io/docs/prometheus/latest/querying/api/)
// below /api/v1/.
func (m *Metrics) API() http.Handler {
	mux := http.NewServeMux()
	for path, op := range map[string]func(*http.Request) answer{
		"query": m.apiQuery, "query_range": m.apiRange, "query_exemplars": m.apiExemplars, "series": m.apiSeries, "labels": m.apiLabels,
		"label/{name}/values": m.apiLabelValues, "metadata": m.apiMetadata, "rules": m.apiRules, "alerts": m.apiAlerts,
		"status/buildinfo": m.apiBuild, "format_query": m.apiFormat,
	} {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := mayfly.Authorize(r.Context(), m.cfg.Authorizer, "", "read", "telemetry", "metrics"); err != nil {
				writeError(w, err)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			if err := r.ParseForm(); err != nil {
				writeError(w, mayfly.Errorf(mayfly.Invalid, "", "%w", err))
				return
			}
			ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
			defer cancel()
			writeAnswer(w, op(r.WithContext(ctx)))
		})
		mux.Handle("GET /api/v1/"+path, h)
		mux.Handle("POST /api/v1/"+path, h)
	}
	mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, mayfly.Errorf(mayfly.NotFound, "", "%s %s is no part of Prometheus's API that Mayfly has", r.Method, r.URL.Path))
	})
	return mux
}

func writeAnswer(w http.ResponseWriter, a answer) {
	if a.err != nil {
		writeError(w, a.err)
		return
	}
	if a.done != nil {
		defer a.done()
	}
	body, err := json.Marshal(struct {
		Status   string   `json:"status"`
		Data     any      `json:"data"`
		Warnings []string `json:"warnings,omitempty"`
		Infos    []string `json:"infos,omitempty"`
	}{"success", a.data, a.warnings, a.infos})
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a reader that is gone needs no reply
}

// writeError answers in Prometheus's form, with its error types and statuses.
func writeError(w http.ResponseWriter, err error) {
	kind, status := "internal", http.StatusInternalServerError
	switch mayfly.CodeOf(err) {
	case mayfly.Invalid:
		kind, status = "bad_data", http.StatusBadRequest
	case mayfly.Timeout:
		kind, status = "timeout", http.StatusServiceUnavailable
	case mayfly.TooLarge:
		kind, status = "execution", http.StatusUnprocessableEntity
	case mayfly.Unavailable:
		kind, status = "unavailable", http.StatusServiceUnavailable
	case mayfly.NotFound:
		kind, status = "not_found", http.StatusNotFound
	case mayfly.Denied, mayfly.Unauthorized:
		kind, status = "bad_data", mayfly.CodeOf(err).HTTPStatus()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": kind, "error": mayfly.MessageOf(err)})
}

type queryData struct {
	ResultType parser.ValueType `json:"resultType"`
	Result     parser.Value     `json:"result"`
}

func (m *Metrics) apiQuery(r *http.Request) answer {
	at, err := formTime(r, "time", m.At(time.Now()))
	if err != nil {
		return failed(err)
	}
	res, done, err := m.instant(r.Context(), r.FormValue("query"), at)
	if err != nil {
		return failed(err)
	}
	return resultOf(res, done)
}

// maxPoints is Prometheus's own bound of one series in one answer.
const maxPoints = 11_000

func (m *Metrics) apiRange(r *http.Request) answer {
	start, err1 := formTime(r, "start", time.Time{})
	end, err2 := formTime(r, "end", time.Time{})
	step, err3 := formDuration(r, "step")
	if err := errors.Join(err1, err2, err3); err != nil {
		return failed(err)
	}
	switch {
	case start.IsZero() || end.IsZero() || end.Before(start):
		return failed(mayfly.Errorf(mayfly.Invalid, "", "start and end are needed, and end must not be before start"))
	case step <= 0:
		return failed(mayfly.Errorf(mayfly.Invalid, "", "step must be more than 0"))
	case end.Sub(start)/step > maxPoints:
		return failed(mayfly.Errorf(mayfly.Invalid, "", "more than %d points for a series; make the step longer or the range shorter", maxPoints))
	}
	res, done, err := m.over(r.Context(), r.FormValue("query"), start, end, step)
	if err != nil {
		return failed(err)
	}
	return resultOf(res, done)
}

// stretch is what the metadata operations look at.
type stretch struct {
	storage.Querier
	start, end int64
	sets       [][]*labels.Matcher // match[]
	limit      int                 // 0: none
}

// stretch reads start, end, match[] and limit. The caller closes it.
func (m *Metrics) stretch(r *http.Request) (s stretch, err error) {
	start, err1 := formTime(r, "start", minTime)
	end, err2 := formTime(r, "end", maxTime)
	sets, err3 := m.selectors(r.Form["match[]"])
	if err := errors.Join(err1, err2, err3); err != nil {
		return s, err
	}
	if s.limit, err = formLimit(r); err != nil {
		return s, err
	}
	s.start, s.end, s.sets = start.UnixMilli(), end.UnixMilli(), sets
	s.Querier, err = m.Querier(s.start, s.end)
	return s, err
}

func (m *Metrics) apiSeries(r *http.Request) answer {
	s, err := m.stretch(r)
	if err != nil {
		return failed(err)
	}
	defer s.Close()
	if len(s.sets) == 0 {
		return failed(mayfly.Errorf(mayfly.Invalid, "", "match[] is needed"))
	}
	found := make([]labels.Labels, 0)
	seen := map[string]bool{}
	for _, ms := range s.sets {
		set := s.Select(r.Context(), false, &storage.SelectHints{Start: s.start, End: s.end, Func: "series"}, ms...)
		for set.Next() {
			ls := set.At().Labels().Copy()
			if key := ls.String(); !seen[key] {
				seen[key] = true
				found = append(found, ls)
			}
		}
		if err := set.Err(); err != nil {
			return failed(err)
		}
	}
	slices.SortFunc(found, labels.Compare)
	return answer{data: limited(found, s.limit)}
}

func limited[T any](list []T, limit int) []T {
	if limit > 0 && len(list) > limit {
		return list[:limit]
	}
	return list
}

func (m *Metrics) apiLabels(r *http.Request) answer {
	return m.names(r, func(q storage.Querier, ms ...*labels.Matcher) ([]string, error) {
		v, _, err := q.LabelNames(r.Context(), nil, ms...)
		return v, err
	})
}

func (m *Metrics) apiLabelValues(r *http.Request) answer {
	name := r.PathValue("name")
	return m.names(r, func(q storage.Querier, ms ...*labels.Matcher) ([]string, error) {
		v, _, err := q.LabelValues(r.Context(), name, nil, ms...)
		return v, err
	})
}

// names joins what ask says of each set of matchers.
func (m *Metrics) names(r *http.Request, ask func(storage.Querier, ...*labels.Matcher) ([]string, error)) answer {
	s, err := m.stretch(r)
	if err != nil {
		return failed(err)
	}
	defer s.Close()
	if len(s.sets) == 0 {
		s.sets = [][]*labels.Matcher{nil}
	}
	all := make([]string, 0)
	for _, ms := range s.sets {
		list, err := ask(s.Querier, ms...)
		if err != nil {
			return failed(err)
		}
		for _, v := range list {
			all = append(all, strings.Clone(v)) // the list is the database's memory
		}
	}
	slices.Sort(all)
	return answer{data: limited(slices.Compact(all), s.limit)}
}

type metadata struct {
	Type kind   `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// apiMetadata tells of all metrics, or of one. Each has one type and help here,
// so that limit_per_metric changes nothing.
func (m *Metrics) apiMetadata(r *http.Request) answer {
	limit, err := formLimit(r)
	if err != nil {
		return failed(err)
	}
	m.mu.Lock()
	groups := m.groups()
	m.mu.Unlock()
	out := map[string][]metadata{}
	for _, g := range groups {
		if limit > 0 && len(out) == limit {
			break
		}
		if want := r.FormValue("metric"); want == "" || want == g.name {
			out[g.name] = []metadata{{Type: g.kind, Help: g.help}}
		}
	}
	return answer{data: out}
}

type exemplarSet struct {
	SeriesLabels labels.Labels     `json:"seriesLabels"`
	Exemplars    []exemplarPayload `json:"exemplars"`
}

type exemplarPayload struct {
	Labels    labels.Labels `json:"labels"`
	Value     string        `json:"value"`
	Timestamp float64       `json:"timestamp"`
}

func (m *Metrics) apiExemplars(r *http.Request) answer {
	start, err1 := formTime(r, "start", minTime)
	end, err2 := formTime(r, "end", maxTime)
	expr, err3 := m.parser.ParseExpr(r.FormValue("query"))
	if err3 != nil {
		err3 = mayfly.Errorf(mayfly.Invalid, "", "%w", err3)
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return failed(err)
	}
	db := m.db.Load()
	if db == nil {
		return failed(errNotOpen)
	}
	eq, err := db.ExemplarQuerier(r.Context())
	if err != nil {
		return failed(err)
	}
	out := make([]exemplarSet, 0)
	if selectors := parser.ExtractSelectors(expr); len(selectors) > 0 {
		found, err := eq.Select(start.UnixMilli(), end.UnixMilli(), selectors...)
		if err != nil {
			return failed(err)
		}
		for _, f := range found {
			set := exemplarSet{SeriesLabels: f.SeriesLabels}
			for _, e := range f.Exemplars {
				set.Exemplars = append(set.Exemplars, exemplarPayload{e.Labels, strconv.FormatFloat(e.Value, 'f', -1, 64), float64(e.Ts) / 1000})
			}
			out = append(out, set)
		}
	}
	return answer{data: out}
}

// apiRules tells of the alerts' rules. There are none that record.
func (m *Metrics) apiRules(r *http.Request) answer {
	groups, _ := m.rules()
	switch kind := r.FormValue("type"); kind {
	case "", "alert":
	case "record":
		groups = []any{}
	default:
		return failed(mayfly.Errorf(mayfly.Invalid, "", "type %q is neither alert nor record", kind))
	}
	return answer{data: map[string]any{"groups": groups}}
}

func (m *Metrics) apiAlerts(*http.Request) answer {
	_, alerts := m.rules()
	return answer{data: map[string]any{"alerts": alerts}}
}

func (m *Metrics) rules() (groups, alerts any) {
	if m.cfg.Rules == nil {
		return []any{}, []any{}
	}
	return m.cfg.Rules()
}

// apiBuild says which Prometheus the API is that of: Grafana goes by it.
func (m *Metrics) apiBuild(*http.Request) answer {
	return answer{data: map[string]string{"version": "3.15.0", "revision": cmp.Or(m.cfg.Version, "dev"), "branch": "mayfly", "buildUser": "", "buildDate": "", "goVersion": runtime.Version()}}
}

func (m *Metrics) apiFormat(r *http.Request) answer {
	expr, err := m.parser.ParseExpr(r.FormValue("query"))
	if err != nil {
		return failed(mayfly.Errorf(mayfly.Invalid, "", "%w", err))
	}
	return answer{data: expr.Pretty(0)}
}

// formTime reads a time as Prometheus takes it: RFC 3339 or Unix seconds.
func formTime(r *http.Request, name string, missing time.Time) (time.Time, error) {
	s := r.FormValue(name)
	if s == "" {
		return missing, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) && math.Abs(f) < 1e15 {
		return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, mayfly.Errorf(mayfly.Invalid, "", "%s %q is neither RFC 3339 nor Unix seconds", name, s)
	}
	return t, nil
}

// formLimit reads how many results are wanted; 0 is all.
func formLimit(r *http.Request) (int, error) {
	n := r.FormValue("limit")
	if n == "" {
		return 0, nil
	}
	limit, err := strconv.Atoi(n)
	if err != nil || limit < 0 {
		return 0, mayfly.Errorf(mayfly.Invalid, "", "limit %q is not a number", n)
	}
	return limit, nil
}

func formDuration(r *http.Request, name string) (time.Duration, error) {
	s := r.FormValue(name)
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) && math.Abs(f) < 1e9 {
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := mayfly.ParseDuration(s)
	return d.D(), err
}

// maxNotes is how many warnings of a query, and how many notes, are told.
const maxNotes = 10

func resultOf(res *promql.Result, done func()) answer {
	warnings, infos := res.Warnings.AsStrings("", maxNotes, maxNotes)
	value := res.Value
	switch v := value.(type) { // an empty result is [], as Prometheus says it
	case promql.Matrix:
		if v == nil {
			value = promql.Matrix{}
		}
	case promql.Vector:
		if v == nil {
			value = promql.Vector{}
		}
	}
	return answer{data: queryData{value.Type(), value}, warnings: warnings, infos: infos, done: done}
}
