package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api/client"
)

func newMetricsCmd(g *globals) *cobra.Command {
	var over, step, at string
	cmd := &cobra.Command{
		Use:   "metrics [PROMQL]",
		Short: "Ask the metrics, or list them",
		Example: `  mayfly metrics
  mayfly metrics 'sum by (function) (rate(faas_invocations_total[5m]))'
  mayfly metrics --range 6h 'histogram_quantile(0.99, sum(rate(faas_invoke_duration_seconds[5m])))'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			switch {
			case len(args) == 0:
				return g.metricNames(cmd.Context(), c)
			case over != "":
				return g.metricRange(cmd.Context(), c, args[0], over, step)
			}
			q := url.Values{"query": {args[0]}}
			if at != "" {
				q.Set("time", at)
			}
			return g.metricValues(cmd.Context(), c, q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&over, "range", "", "the values of this long up to now: 1h, 7d")
	f.StringVar(&step, "step", "", "between two values of a range; default a sixtieth of it")
	f.StringVar(&at, "time", "", "the values at this time instead of now: RFC 3339 or Unix seconds")
	return cmd
}

// promReply is a reply of Prometheus's API.
type promReply[T any] struct {
	Data T `json:"data"`
}

type promResult struct {
	ResultType string          `json:"resultType"`
	Result     json.RawMessage `json:"result"`
}

type promSeries struct {
	Metric    map[string]string `json:"metric"`
	Value     []any             `json:"value"`
	Values    [][]any           `json:"values"`
	Histogram json.RawMessage   `json:"histogram"`
}

func (g *globals) metricNames(ctx context.Context, c *client.Client) error {
	var out promReply[map[string][]struct{ Type, Help string }]
	if err := c.Do(ctx, http.MethodGet, "/api/v1/metadata", nil, &out); err != nil {
		return err
	}
	return g.print(out.Data, func(w io.Writer) {
		var rows [][]string
		for _, name := range slices.Sorted(maps.Keys(out.Data)) {
			for _, m := range out.Data[name] {
				rows = append(rows, []string{name, m.Type, m.Help})
			}
		}
		table(w, "METRIC\tTYPE\tWHAT", rows)
	})
}

func (g *globals) metricValues(ctx context.Context, c *client.Client, q url.Values) error {
	var out promReply[promResult]
	if err := c.Do(ctx, http.MethodGet, "/api/v1/query?"+q.Encode(), nil, &out); err != nil {
		return err
	}
	if out.Data.ResultType == "scalar" || out.Data.ResultType == "string" {
		var v []any
		if err := json.Unmarshal(out.Data.Result, &v); err != nil {
			return err
		}
		return g.print(out.Data, func(w io.Writer) { fmt.Fprintln(w, sampleText(v)) })
	}
	var series []promSeries
	if err := json.Unmarshal(out.Data.Result, &series); err != nil {
		return err
	}
	return g.print(out.Data, func(w io.Writer) {
		if len(series) == 0 {
			fmt.Fprintln(w, "No series matches. mayfly metrics lists what there is.")
			return
		}
		if !ordered.MatchString(q.Get("query")) {
			slices.SortStableFunc(series, bySeries)
		}
		rows := make([][]string, len(series))
		for i, s := range series {
			value := sampleText(s.Value)
			if s.Histogram != nil {
				value = "a histogram; ask for histogram_quantile(0.9, …), histogram_count or histogram_avg of it"
			}
			rows[i] = []string{seriesName(s.Metric), value}
		}
		table(w, "SERIES\tVALUE", rows)
	})
}

// ordered finds the queries whose answer has an order of its own.
var ordered = regexp.MustCompile(`\b(sort|sort_desc|sort_by_label|sort_by_label_desc|topk|bottomk)\b`)

// bySeries orders by name and labels, and buckets by their bound.
func bySeries(a, b promSeries) int {
	x, errX := strconv.ParseFloat(a.Metric["le"], 64)
	y, errY := strconv.ParseFloat(b.Metric["le"], 64)
	if errX != nil || errY != nil {
		return cmp.Compare(seriesName(a.Metric), seriesName(b.Metric))
	}
	return cmp.Or(cmp.Compare(seriesWithout(a.Metric, "le"), seriesWithout(b.Metric, "le")), cmp.Compare(x, y))
}

func (g *globals) metricRange(ctx context.Context, c *client.Client, expr, over, step string) error {
	length, err := mayfly.ParseDuration(over)
	if err != nil {
		return err
	}
	width := length.D() / 60
	if step != "" {
		d, err := mayfly.ParseDuration(step)
		if err != nil {
			return err
		}
		width = d.D()
	}
	now := time.Now()
	q := url.Values{"query": {expr}, "start": {unixText(now.Add(-length.D()))}, "end": {unixText(now)}, "step": {strconv.FormatFloat(max(width.Seconds(), 1), 'f', -1, 64)}}
	var out promReply[promResult]
	if err := c.Do(ctx, http.MethodGet, "/api/v1/query_range?"+q.Encode(), nil, &out); err != nil {
		return err
	}
	var series []promSeries
	if err := json.Unmarshal(out.Data.Result, &series); err != nil {
		return err
	}
	return g.print(out.Data, func(w io.Writer) {
		if len(series) == 0 {
			fmt.Fprintln(w, "No series matches. mayfly metrics lists what there is.")
			return
		}
		rows := make([][]string, len(series))
		for i, s := range series {
			values := make([]float64, 0, len(s.Values))
			for _, v := range s.Values {
				if f, err := strconv.ParseFloat(sampleText(v), 64); err == nil && !math.IsNaN(f) {
					values = append(values, f)
				}
			}
			least, most, last := "-", "-", "-"
			if n := len(values); n > 0 {
				least, most, last = number(slices.Min(values)), number(slices.Max(values)), number(values[n-1])
			}
			rows[i] = []string{seriesName(s.Metric), least, most, last, sparkline(values)}
		}
		table(w, "SERIES\tLEAST\tMOST\tLAST\tVALUES", rows)
	})
}

func unixText(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) }

// sampleText is the value of a sample, [time, "value"].
func sampleText(sample []any) string {
	if len(sample) == 2 {
		return fmt.Sprint(sample[1])
	}
	return "-"
}

func seriesName(labels map[string]string) string { return seriesWithout(labels, "") }

// seriesWithout is seriesName without a label.
func seriesWithout(labels map[string]string, without string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k != "__name__" && k != without {
			parts = append(parts, k+"="+strconv.Quote(labels[k]))
		}
	}
	return labels["__name__"] + "{" + strings.Join(parts, ",") + "}"
}
