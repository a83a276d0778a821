package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

// usageTotals is what calls used, as the API gives it.
type usageTotals struct {
	Requests int64 `json:"requests"`
	Errors   int64 `json:"errors"`
	Millis   int64 `json:"billed_ms"`
	KiBms    int64 `json:"kib_ms"`
	CPU      int64 `json:"cpu_ns"`
	BytesOut int64 `json:"bytes_out"`
	Egress   int64 `json:"egress"`
}

func (u usageTotals) gbSeconds() float64 { return float64(u.KiBms) / (1 << 20) / 1000 }

type costTotals struct {
	Requests float64 `json:"requests"`
	Memory   float64 `json:"memory"`
	CPU      float64 `json:"cpu"`
	Egress   float64 `json:"egress"`
	Storage  float64 `json:"storage"`
	Total    float64 `json:"total"`
}

type costRow struct {
	App      string      `json:"app"`
	Function string      `json:"function"`
	Version  int         `json:"version"`
	Tag      string      `json:"tag"`
	Start    time.Time   `json:"start"`
	Usage    usageTotals `json:"usage"`
	Cost     costTotals  `json:"cost"`
}

// storageCost is what resources of an app held.
type storageCost struct {
	App       string    `json:"app"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	Tag       string    `json:"tag"`
	Start     time.Time `json:"start"`
	Bytes     int64     `json:"bytes"`
	GiBMonths float64   `json:"gib_months"`
	Cost      float64   `json:"cost"`
}

func newCostCmd(g *globals) *cobra.Command {
	var since, until, prices string
	var by []string
	var free bool
	cmd := &cobra.Command{
		Use:   "cost [FUNCTION]",
		Short: "What functions and storage cost, and what the month may come to",
		Example: `  mayfly cost
  mayfly cost --by resource --since 1d
  mayfly cost --by version --since 7d --prices cloud-run
  mayfly cost --by tag:team
  mayfly cost call 4bf92f3577b34da6a3ce929d0e0e4736`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"free": {strconv.FormatBool(free)}}
			for name, v := range map[string]string{"app": g.app, "function": strings.Join(args, ""), "since": since, "until": until, "prices": prices, "by": strings.Join(by, ",")} {
				if v != "" {
					q.Set(name, v)
				}
			}
			return g.cost(cmd.Context(), q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "from when on: 24h, 7d or RFC 3339; default the begin of the month (UTC)")
	f.StringVar(&until, "until", "", "up to when")
	f.StringVar(&prices, "prices", "", "a price sheet; mayfly cost prices lists them")
	f.StringSliceVar(&by, "by", nil, "sum by app, function, version, resource, minute, hour, day, tag:NAME")
	f.BoolVar(&free, "free", false, "take the free part of a month off the totals")
	cmd.AddCommand(newCostCallCmd(g), newCostPricesCmd(g), newCostBudgetsCmd(g))
	return cmd
}

// apiGet reads an operation that is not below an app, and prints it.
func (g *globals) apiGet(ctx context.Context, path string, out any, human func(w io.Writer)) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.Do(ctx, http.MethodGet, path, nil, &raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return err
	}
	return g.print(raw, human)
}

// costReply is what /v1/cost answers.
type costReply struct {
	Prices      string        `json:"prices"`
	Currency    string        `json:"currency"`
	Rows        []costRow     `json:"rows"`
	Storage     []storageCost `json:"storage"`
	Total       costTotals    `json:"total"`
	MonthToDate costTotals    `json:"month_to_date"`
	Forecast    costTotals    `json:"forecast"`
	FromDays    float64       `json:"forecast_from_days"`
}

func (g *globals) cost(ctx context.Context, q url.Values) error {
	var out costReply
	return g.apiGet(ctx, "/v1/cost?"+q.Encode(), &out, func(w io.Writer) { out.print(w) })
}

func (c *costReply) print(w io.Writer) {
	rows := make([][]string, len(c.Rows))
	for i, r := range c.Rows {
		rows[i] = []string{r.what(), strconv.FormatInt(r.Usage.Requests, 10), fmt.Sprintf("%.1f", r.Usage.gbSeconds()), fmt.Sprintf("%.1f", float64(r.Usage.CPU)/1e9), money(r.Cost.Total)}
	}
	stored := make([][]string, len(c.Storage))
	for i, s := range c.Storage {
		held := ""
		if s.Start.IsZero() {
			held = mayfly.Bytes(s.Bytes).About()
		}
		stored[i] = []string{s.what(), held, fmt.Sprintf("%.4g", s.GiBMonths), money(s.Cost)}
	}
	if len(rows)+len(stored) == 0 {
		fmt.Fprintln(w, "Nothing was used.")
	}
	if len(rows) > 0 {
		table(w, "WHAT\tCALLS\tGB-S\tCPU-S\t"+c.Currency, rows)
		fmt.Fprintln(w)
	}
	if len(stored) > 0 {
		table(w, "STORAGE\tHELD NOW\tGIB-MONTHS\t"+c.Currency, stored)
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "total %s %s under %s", money(c.Total.Total), c.Currency, c.Prices)
	if c.Total.Storage > 0 {
		fmt.Fprintf(w, ", of which storage %s", money(c.Total.Storage))
	}
	fmt.Fprintf(w, "; this month so far %s", money(c.MonthToDate.Total))
	switch {
	case c.FromDays > 0:
		fmt.Fprintf(w, ", at the pace of the last %s %s in all", paceText(c.FromDays), money(c.Forecast.Total))
	case c.Forecast.Storage > 0:
		fmt.Fprintf(w, ", with what is stored now %s in all", money(c.Forecast.Total))
	}
	fmt.Fprintln(w)
}

// paceText is the time that a forecast is from.
func paceText(days float64) string {
	switch hours := math.Round(24 * days); {
	case hours <= 1:
		return "hour"
	case hours < 48:
		return fmt.Sprintf("%.0f hours", hours)
	}
	return fmt.Sprintf("%.1f days", days)
}

func (s *storageCost) what() string {
	var parts []string
	if !s.Start.IsZero() {
		parts = append(parts, s.Start.Format("2006-01-02 15:04"))
	}
	name := s.Kind
	if s.Name != "" {
		name += "/" + s.Name
	}
	for _, part := range []string{s.App, name, s.Tag} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

func (r *costRow) what() string {
	parts := []string{}
	if !r.Start.IsZero() {
		parts = append(parts, r.Start.Format("2006-01-02 15:04"))
	}
	name := r.App
	if r.Function != "" {
		name += "/" + r.Function
	}
	if r.Version > 0 {
		name += ":" + strconv.Itoa(r.Version)
	}
	for _, s := range []string{name, r.Tag} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		return "(untagged)"
	}
	return strings.Join(parts, " ")
}

// money has as many digits as a small amount needs.
func money(v float64) string {
	if v != 0 && v < 0.01 {
		return strconv.FormatFloat(v, 'f', 8, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func newCostCallCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "call ID",
		Short: "What one call, or all calls of a trace, cost under each price sheet",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out struct {
				Usage usageTotals           `json:"usage"`
				Calls int                   `json:"calls"`
				Costs map[string]costTotals `json:"costs"`
			}
			return g.apiGet(cmd.Context(), "/v1/cost/calls/"+url.PathEscape(args[0]), &out, func(w io.Writer) {
				fmt.Fprintf(w, "%d calls, %d ms billed, %.4f GB-s, %.1f ms of CPU time\n\n", out.Calls, out.Usage.Millis, out.Usage.gbSeconds(), float64(out.Usage.CPU)/1e6)
				var rows [][]string
				for _, name := range slices.Sorted(maps.Keys(out.Costs)) {
					c := out.Costs[name]
					rows = append(rows, []string{name, fmt.Sprintf("%.10f", c.Total), fmt.Sprintf("%.2f", c.Total*1e6)})
				}
				table(w, "PRICES\tCOST\tA MILLION OF THEM", rows)
			})
		},
	}
}

func newCostPricesCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "prices",
		Short: "The price sheets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out struct {
				Default string `json:"default"`
				Sheets  []struct{ Name, Title, Currency, Source string }
			}
			return g.apiGet(cmd.Context(), "/v1/prices", &out, func(w io.Writer) {
				var rows [][]string
				for _, s := range out.Sheets {
					mark := ""
					if s.Name == out.Default {
						mark = "default"
					}
					rows = append(rows, []string{s.Name, s.Currency, mark, s.Title})
				}
				table(w, "PRICES\tCURRENCY\t\tWHAT", rows)
			})
		},
	}
}

func newCostBudgetsCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "budgets",
		Short: "How apps stand against their budgets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out struct {
				Budgets []struct {
					App      string
					Amount   float64
					Spent    float64
					Share    float64
					Currency string
					Prices   string
					Action   string
					Stopped  bool
				}
			}
			return g.apiGet(cmd.Context(), "/v1/budgets", &out, func(w io.Writer) {
				if len(out.Budgets) == 0 {
					fmt.Fprintln(w, "No app has a budget. One is set in mayfly.yaml: budget: {amount: 20, action: stop}")
					return
				}
				var rows [][]string
				for _, b := range out.Budgets {
					state := b.Action
					if b.Stopped {
						state = "stopped"
					}
					rows = append(rows, []string{b.App, money(b.Spent), money(b.Amount), b.Currency, shareText(b.Share), state, b.Prices})
				}
				table(w, "APP\tSPENT\tOF\t\tSHARE\tACTION\tPRICES", rows)
			})
		},
	}
}
