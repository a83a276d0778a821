package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api/client"
)

// traceView is a trace as the API gives it.
type traceView struct {
	ID          string               `json:"id"`
	Start       time.Time            `json:"start"`
	Duration    time.Duration        `json:"duration_ns"`
	Failed      bool                 `json:"failed"`
	Spans       []mayfly.Span        `json:"spans"`
	Logs        []mayfly.LogLine     `json:"logs"`
	Invocations []*mayfly.Invocation `json:"invocations"`
}

// traceSummary is a trace in a list.
type traceSummary struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	App       string        `json:"app"`
	Start     time.Time     `json:"start"`
	Duration  time.Duration `json:"duration_ns"`
	Spans     int           `json:"spans"`
	Functions []string      `json:"functions"`
	Failed    bool          `json:"failed"`
	Cold      bool          `json:"cold"`
}

func newTraceCmd(g *globals) *cobra.Command {
	q := url.Values{}
	var function, text, slower, since string
	var failed, cold, noLogs bool
	var n int
	cmd := &cobra.Command{
		Use:   "trace [ID]",
		Short: "A call's whole story, or the latest traces",
		Long:  "With the id of a trace or of a call, its spans with the cold start broken down and its lines between them. Without one, the latest traces.",
		Example: `  mayfly trace 4bf92f3577b34da6a3ce929d0e0e4736
  mayfly trace --failed --since 1h
  mayfly trace --function thumbnail --slower 500ms`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return g.trace(cmd.Context(), c, args[0], !noLogs)
			}
			for name, v := range map[string]string{"app": g.app, "function": function, "text": text, "slower": slower, "since": since, "limit": strconv.Itoa(n)} {
				if v != "" {
					q.Set(name, v)
				}
			}
			q.Set("failed", strconv.FormatBool(failed))
			q.Set("cold", strconv.FormatBool(cold))
			return g.traces(cmd.Context(), c, q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&function, "function", "", "only traces with this function")
	f.StringVar(&text, "text", "", "only traces with this text in a span's name, attributes or error")
	f.StringVar(&slower, "slower", "", "only traces with a call or span of at least this: 100ms")
	f.StringVar(&since, "since", "", "from when on: 15m, 24h, 7d or RFC 3339")
	f.BoolVar(&failed, "failed", false, "only traces with an error")
	f.BoolVar(&cold, "cold", false, "only traces with a cold start")
	f.BoolVar(&noLogs, "no-logs", false, "without the lines")
	f.IntVarP(&n, "limit", "n", 20, "how many")
	return cmd
}

func (g *globals) traces(ctx context.Context, c *client.Client, q url.Values) error {
	var raw json.RawMessage
	if err := c.Do(ctx, http.MethodGet, "/v1/traces?"+q.Encode(), nil, &raw); err != nil {
		return err
	}
	var out struct{ Traces []traceSummary }
	if err := json.Unmarshal(raw, &out); err != nil {
		return err
	}
	return g.print(raw, func(w io.Writer) {
		if len(out.Traces) == 0 {
			fmt.Fprintln(w, "No trace matches. Every call makes one: try mayfly invoke, or another --since.")
			return
		}
		rows := make([][]string, len(out.Traces))
		for i, t := range out.Traces {
			state := "ok"
			if t.Failed {
				state = "failed"
			}
			if t.Cold {
				state += ", cold"
			}
			rows[i] = []string{t.ID, t.Start.Local().Format("15:04:05.000"), spanTime(t.Duration), state, strconv.Itoa(t.Spans), shorten(t.Name, 40), strings.Join(t.Functions, " > ")}
		}
		table(w, "TRACE\tSTART\tTOOK\tSTATE\tSPANS\tNAME\tFUNCTIONS", rows)
	})
}

// trace shows one trace, found by its own id or by that of a call in it.
func (g *globals) trace(ctx context.Context, c *client.Client, id string, logs bool) error {
	var raw json.RawMessage
	err := c.Do(ctx, http.MethodGet, "/v1/traces/"+url.PathEscape(id), nil, &raw)
	if mayfly.CodeOf(err) == mayfly.NotFound {
		var inv mayfly.Invocation
		if c.Do(ctx, http.MethodGet, "/v1/invocations/"+url.PathEscape(id), nil, &inv) == nil {
			err = c.Do(ctx, http.MethodGet, "/v1/traces/"+url.PathEscape(inv.Trace.ID), nil, &raw)
		}
	}
	if err != nil {
		return err
	}
	var v traceView
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if !logs {
		v.Logs = nil
	}
	return g.print(raw, func(w io.Writer) { v.write(w) })
}

// barWidth is how many columns the whole of a trace takes.
const barWidth = 40

func (v *traceView) write(w io.Writer) {
	state := "ok"
	if v.Failed {
		state = "failed"
	}
	fmt.Fprintf(w, "trace %s  %s  %s  %s\n\n", v.ID, v.Start.Local().Format("2006-01-02 15:04:05.000"), spanTime(v.Duration), state)
	lines := map[string][]mayfly.LogLine{}
	for _, l := range v.Logs {
		lines[l.SpanID] = append(lines[l.SpanID], l)
	}
	known := map[string]bool{}
	for i := range v.Spans {
		known[v.Spans[i].Trace.Span] = true
	}
	children := map[string][]*mayfly.Span{}
	for i := range v.Spans {
		s := &v.Spans[i]
		parent := s.Trace.Parent
		if !known[parent] || parent == s.Trace.Span {
			parent = "" // its parent is elsewhere
		}
		children[parent] = append(children[parent], s)
	}
	shown := map[string]bool{}
	v.branch(w, children, lines, shown, "", 0)
	for id, rest := range lines {
		if !shown[id] {
			v.lines(w, rest, 0)
		}
	}
}

// branch writes the spans below a parent. Each span is written once, so that
// ids which repeat or go in a circle do no harm.
func (v *traceView) branch(w io.Writer, children map[string][]*mayfly.Span, lines map[string][]mayfly.LogLine, shown map[string]bool, parent string, depth int) {
	for _, s := range children[parent] {
		fmt.Fprintf(w, "%10s %s %s%s\n", spanTime(s.End.Sub(s.Start)), v.bar(s), strings.Repeat("  ", depth), spanTitle(s))
		id := s.Trace.Span
		if id == "" || shown[id] {
			continue
		}
		shown[id] = true
		v.branch(w, children, lines, shown, id, depth+1)
		v.lines(w, lines[id], depth+1)
	}
}

func (v *traceView) lines(w io.Writer, lines []mayfly.LogLine, depth int) {
	for _, l := range lines {
		at := fmt.Sprintf("+%s", spanTime(l.Time.Sub(v.Start)))
		for i, text := range strings.Split(l.Text, "\n") {
			if i > 0 {
				at = ""
			}
			fmt.Fprintf(w, "%10s %s %s| %s\n", at, strings.Repeat(" ", barWidth), strings.Repeat("  ", depth), text)
		}
	}
}

// bar is where a span lies in the trace.
func (v *traceView) bar(s *mayfly.Span) string {
	if v.Duration <= 0 {
		return strings.Repeat(" ", barWidth)
	}
	column := func(t time.Time) int {
		return min(max(int(int64(t.Sub(v.Start))*barWidth/int64(v.Duration)), 0), barWidth)
	}
	from, to := column(s.Start), column(s.End)
	from = min(from, barWidth-1)
	to = max(to, from+1)
	return strings.Repeat(" ", from) + strings.Repeat("█", to-from) + strings.Repeat(" ", barWidth-to)
}

func spanTitle(s *mayfly.Span) string {
	title := s.Name
	if a := s.Attributes; a["faas.invocation_id"] != "" {
		title = string(s.App) + "/" + title + " v" + a["faas.version"]
		if n := a["mayfly.attempt"]; n != "" && n != "1" {
			title += ", attempt " + n
		}
		if a["faas.coldstart"] == "true" {
			title += ", cold"
		}
		title += "  (" + a["mayfly.trigger"] + ", call " + s.Invocation + ")"
	}
	if r := s.Attributes["mayfly.resource"]; !strings.HasSuffix(title, r) {
		title += "  " + r
	}
	if n := len(s.Links); n > 0 {
		title += fmt.Sprintf("  caused by %d more traces", n)
	}
	if s.Error != "" {
		title += "  FAILED: " + shorten(s.Error, 100)
	}
	return title
}

// spanTime is a duration with three digits that matter.
func spanTime(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case d >= 100*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
