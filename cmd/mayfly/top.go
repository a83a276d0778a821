package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mayfly-cloud/mayfly/api/client"
)

// functionStats is how a function fared, as the API gives it.
type functionStats struct {
	App       string        `json:"app"`
	Function  string        `json:"function"`
	Version   int           `json:"version"`
	Calls     int64         `json:"calls"`
	Rate      float64       `json:"rate"`
	Failed    int64         `json:"failed"`
	Throttled int64         `json:"throttled"`
	ErrorRate float64       `json:"error_rate"`
	ColdShare float64       `json:"cold_share"`
	P50       time.Duration `json:"p50_ns"`
	P90       time.Duration `json:"p90_ns"`
	P99       time.Duration `json:"p99_ns"`
	PerMinute []int64       `json:"per_minute"`
}

func newTopCmd(g *globals) *cobra.Command {
	var window string
	var versions, once bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "How functions fare, live",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			q := url.Values{"window": {window}, "by_version": {strconv.FormatBool(versions)}}
			if g.app != "" {
				q.Set("app", g.app)
			}
			f, isFile := g.out.(*os.File)
			if once || g.json || !isFile || !term.IsTerminal(int(f.Fd())) {
				return g.top(cmd.Context(), c, q, "", 1<<20)
			}
			return g.topLive(cmd.Context(), c, q, int(f.Fd()), max(every, 500*time.Millisecond))
		},
	}
	f := cmd.Flags()
	f.StringVar(&window, "window", "5m", "how far back, at most 1h")
	f.BoolVar(&versions, "versions", false, "one row for each version")
	f.BoolVar(&once, "once", false, "print once and end")
	f.DurationVar(&every, "every", 2*time.Second, "between two looks")
	return cmd
}

// topLive draws the table again and again until ctx ends.
func (g *globals) topLive(ctx context.Context, c *client.Client, q url.Values, fd int, every time.Duration) error {
	const home, clear = "\x1b[H\x1b[J", "\x1b[2J"
	fmt.Fprint(g.out, clear)
	for {
		rows := 20
		if _, h, err := term.GetSize(fd); err == nil {
			rows = max(1, h-4)
		}
		if err := g.top(ctx, c, q, home, rows); err != nil {
			if ctx.Err() != nil {
				return nil // Ctrl-C is how it ends
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

func (g *globals) top(ctx context.Context, c *client.Client, q url.Values, before string, most int) error {
	var raw json.RawMessage
	if err := c.Do(ctx, http.MethodGet, "/v1/stats/functions?"+q.Encode(), nil, &raw); err != nil {
		return err
	}
	var out struct{ Functions []functionStats }
	if err := json.Unmarshal(raw, &out); err != nil {
		return err
	}
	return g.print(raw, func(w io.Writer) {
		var b strings.Builder
		writeTop(&b, out.Functions, q.Get("window"), most)
		fmt.Fprint(w, before+b.String())
	})
}

func writeTop(w io.Writer, all []functionStats, window string, most int) {
	var rate float64
	var failed int64
	for _, f := range all {
		rate += f.Rate
		failed += f.Failed
	}
	fmt.Fprintf(w, "%d functions were called in the last %s: %.1f calls/s, %d failed\n\n", len(all), window, rate, failed)
	if len(all) == 0 {
		return
	}
	rows := make([][]string, 0, min(len(all), most))
	for _, f := range all[:min(len(all), most)] {
		name := f.App + "/" + f.Function
		if f.Version > 0 {
			name += ":" + strconv.Itoa(f.Version)
		}
		rows = append(rows, []string{name, fmt.Sprintf("%.1f", f.Rate), strconv.FormatInt(f.Calls, 10), shareText(f.ErrorRate), strconv.FormatInt(f.Throttled, 10), shareText(f.ColdShare),
			spanTime(f.P50), spanTime(f.P90), spanTime(f.P99), sparkline(f.PerMinute)})
	}
	table(w, "FUNCTION\tCALLS/S\tCALLS\tFAILED\tTHROTTLED\tCOLD\tP50\tP90\tP99\tBY MINUTE", rows)
}

func shareText(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

// sparkline draws numbers as bars of one character each.
func sparkline[T int64 | float64](values []T) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	var top T
	for _, v := range values {
		top = max(top, v)
	}
	out := make([]rune, len(values))
	for i, v := range values {
		out[i] = bars[0]
		if top > 0 && v > 0 {
			out[i] = bars[min(len(bars)-1, int(float64(v)/float64(top)*float64(len(bars)-1)+0.5))]
		}
	}
	return string(out)
}
