package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

// logsFlags are the query of a logs verb.
type logsFlags struct {
	follow                                bool
	level, text, since, until, invocation string
	fields                                []string
	lines                                 int
}

func newLogsCmd(g *globals) *cobra.Command {
	var f logsFlags
	cmd := &cobra.Command{
		Use:   "logs [FUNCTION]",
		Short: "What functions printed",
		Example: `  mayfly logs -f thumbnail
  mayfly logs --since 1h --level error
  mayfly logs --text timeout --field user.id=42`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.follow && f.until != "" {
				return mayfly.Errorf(mayfly.Invalid, "--until", "ends what --follow goes on with; leave one of them out")
			}
			return g.logs(cmd.Context(), f, strings.Join(args, ""))
		},
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on with new lines as they come")
	fl.IntVarP(&f.lines, "lines", "n", 100, "how many lines")
	fl.StringVar(&f.level, "level", "", "this level or worse: debug, info, warn, error")
	fl.StringVar(&f.text, "text", "", "only lines with this text")
	fl.StringVar(&f.since, "since", "", "from when on: 15m, 24h, 7d or RFC 3339")
	fl.StringVar(&f.until, "until", "", "up to when")
	fl.StringVar(&f.invocation, "invocation", "", "only lines of this call")
	fl.StringArrayVar(&f.fields, "field", nil, "only JSON lines with NAME=VALUE")
	return cmd
}

func (f *logsFlags) query(app, fn string) string {
	q := url.Values{"field": f.fields}
	for name, v := range map[string]string{
		"app": app, "function": fn, "level": f.level, "text": f.text, "since": f.since, "until": f.until, "invocation": f.invocation,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if f.follow {
		q.Set("lines", strconv.Itoa(f.lines))
		return "/v1/logs/tail?" + q.Encode()
	}
	q.Set("limit", strconv.Itoa(f.lines))
	return "/v1/logs?" + q.Encode()
}

func (g *globals) logs(ctx context.Context, f logsFlags, fn string) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	app := g.ownApp()
	if !f.follow {
		var out struct {
			Lines []json.RawMessage `json:"lines"`
		}
		if err := c.Do(ctx, http.MethodGet, f.query(app, fn), nil, &out); err != nil {
			return err
		}
		if len(out.Lines) == 0 {
			if err := deployed(ctx, c, app, fn); err != nil {
				return err
			}
			if !g.json {
				fmt.Fprintln(g.err, "No line matches.")
			}
		}
		for _, raw := range out.Lines {
			if err := g.logLine(raw); err != nil {
				return err
			}
		}
		return nil
	}
	if err := deployed(ctx, c, app, fn); err != nil {
		return err
	}
	err = c.Lines(ctx, http.MethodGet, f.query(app, fn), "", nil, g.logLine)
	if errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how following ends
	}
	return err
}

// logLine prints a line of the API: as it is with --json, else for people.
func (g *globals) logLine(raw []byte) error {
	if g.json {
		_, err := fmt.Fprintf(g.out, "%s\n", raw)
		return err
	}
	var line mayfly.LogLine
	if err := json.Unmarshal(raw, &line); err != nil {
		return err
	}
	_, err := fmt.Fprintln(g.out, logLine(line))
	return err
}
