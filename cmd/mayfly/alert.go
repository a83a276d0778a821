package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

// alertInfo is an alert as the API gives it.
type alertInfo struct {
	Rule     string    `json:"rule"`
	App      string    `json:"app"`
	Severity string    `json:"severity"`
	State    string    `json:"state"`
	Summary  string    `json:"summary"`
	Since    time.Time `json:"since"`
	Silenced bool      `json:"silenced"`
}

type ruleInfo struct {
	Name     string          `json:"name"`
	App      string          `json:"app"`
	Expr     string          `json:"expr"`
	For      mayfly.Duration `json:"for"`
	Window   mayfly.Duration `json:"window,omitempty"`
	Severity string          `json:"severity"`
	State    string          `json:"state"`
	Failure  string          `json:"failure"`
}

func newAlertCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alert",
		Short: "What is wrong now, what is watched, and who is told",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return g.alerts(cmd.Context()) },
	}
	cmd.AddCommand(newAlertRulesCmd(g), newAlertTestCmd(g), newAlertSilenceCmd(g), newAlertSilencesCmd(g), newAlertUnsilenceCmd(g), newAlertReceiverCmd(g))
	return cmd
}

func (g *globals) alerts(ctx context.Context) error {
	var out struct{ Alerts []alertInfo }
	return g.apiGet(ctx, "/v1/alerts", &out, func(w io.Writer) {
		if len(out.Alerts) == 0 {
			fmt.Fprintln(w, "Nothing is wrong. mayfly alert rules lists what is watched.")
			return
		}
		var rows [][]string
		for _, a := range out.Alerts {
			state := a.State
			if a.Silenced {
				state += ", silenced"
			}
			rows = append(rows, []string{state, a.Severity, a.Rule, a.Since.Local().Format("2006-01-02 15:04:05"), a.Summary})
		}
		table(w, "STATE\tSEVERITY\tRULE\tSINCE\tWHAT", rows)
	})
}

func newAlertRulesCmd(g *globals) *cobra.Command {
	var exprs bool
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "What is watched",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out struct{ Rules []ruleInfo }
			return g.apiGet(cmd.Context(), "/v1/alerts/rules", &out, func(w io.Writer) {
				var rows [][]string
				for _, r := range out.Rules {
					app := r.App
					if app == "" {
						app = "(every)"
					}
					state := r.State
					switch {
					case r.Failure != "":
						state = "cannot be evaluated: " + shorten(r.Failure, 80)
					case state == "":
						state = "well"
					}
					window := "-"
					if r.Window > 0 {
						window = r.Window.String()
					}
					row := []string{r.Name, app, r.Severity, window, r.For.String(), state}
					if exprs {
						row = append(row, r.Expr)
					}
					rows = append(rows, row)
				}
				table(w, "RULE\tAPP\tSEVERITY\tWINDOW\tFOR\tSTATE", rows)
			})
		},
	}
	cmd.Flags().BoolVar(&exprs, "expr", false, "with the PromQL")
	return cmd
}

func newAlertTestCmd(g *globals) *cobra.Command {
	in := map[string]any{}
	var expr, lasting, since, until, step string
	cmd := &cobra.Command{
		Use:   "test [RULE]",
		Short: "When a rule would have fired, by the recorded metrics",
		Example: `  mayfly alert test error-rate --since 7d
  mayfly alert test --expr 'rate(faas_errors_total[5m]) > 1' --for 5m`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (expr != "") {
				return usageError{fmt.Errorf("give a rule's name or --expr")}
			}
			for name, v := range map[string]string{"rule": strings.Join(args, ""), "app": g.app, "expr": expr, "for": lasting, "since": since, "until": until, "step": step} {
				if v != "" {
					in[name] = v
				}
			}
			return g.alertTest(cmd.Context(), in)
		},
	}
	f := cmd.Flags()
	f.StringVar(&expr, "expr", "", "PromQL instead of a rule")
	f.StringVar(&lasting, "for", "", "how long results must last; default the rule's")
	f.StringVar(&since, "since", "24h", "from when on")
	f.StringVar(&until, "until", "", "up to when")
	f.StringVar(&step, "step", "1m", "between two looks")
	return cmd
}

func (g *globals) alertTest(ctx context.Context, in map[string]any) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	var out struct {
		Rule     ruleInfo `json:"rule"`
		Episodes []struct {
			Labels   map[string]string `json:"labels"`
			Fired    time.Time         `json:"fired"`
			Resolved time.Time         `json:"resolved"`
			Value    float64           `json:"value"`
			Summary  string            `json:"summary"`
		} `json:"episodes"`
	}
	if err := c.Do(ctx, http.MethodPost, "/v1/alerts/replay", in, &out); err != nil {
		return err
	}
	return g.print(out, func(w io.Writer) {
		if len(out.Episodes) == 0 {
			fmt.Fprintln(w, "It would not have fired.")
			return
		}
		var rows [][]string
		for _, e := range out.Episodes {
			until, lasted := "still firing", time.Since(e.Fired)
			if !e.Resolved.IsZero() {
				until, lasted = e.Resolved.Local().Format("15:04:05"), e.Resolved.Sub(e.Fired)
			}
			rows = append(rows, []string{e.Fired.Local().Format("2006-01-02 15:04:05"), until, lasted.Round(time.Second).String(), e.Summary, labelText(e.Labels)})
		}
		table(w, "FIRED\tUNTIL\tLASTED\tWHAT\tLABELS", rows)
	})
}

func labelText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k != "alertname" && k != "severity" && k != "manifest" {
			parts = append(parts, k+"="+labels[k])
		}
	}
	return strings.Join(parts, " ")
}

func newAlertSilenceCmd(g *globals) *cobra.Command {
	var lasting, comment string
	cmd := &cobra.Command{
		Use:     "silence LABEL=PATTERN...",
		Short:   "Keep alerts from being told for a while",
		Example: `  mayfly alert silence app=shop alertname='queue-*' --for 2h -m "draining the backlog"`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			match := map[string]string{}
			for _, a := range args {
				k, v, ok := strings.Cut(a, "=")
				if !ok {
					return usageError{fmt.Errorf("%q is not LABEL=PATTERN", a)}
				}
				match[k] = v
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			var out struct {
				ID string `json:"id"`
			}
			if err := c.Do(cmd.Context(), http.MethodPost, "/v1/alerts/silences", map[string]any{"match": match, "for": lasting, "comment": comment}, &out); err != nil {
				return err
			}
			return g.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "silenced for %s; end it with: mayfly alert unsilence %s\n", lasting, out.ID)
			})
		},
	}
	cmd.Flags().StringVar(&lasting, "for", "1h", "how long")
	cmd.Flags().StringVarP(&comment, "message", "m", "", "why")
	return cmd
}

func newAlertSilencesCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "silences",
		Short: "What is not told",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out struct {
				Silences []struct {
					ID, Comment, By string
					Match           map[string]string
					Until           time.Time
				}
			}
			return g.apiGet(cmd.Context(), "/v1/alerts/silences", &out, func(w io.Writer) {
				var rows [][]string
				for _, s := range out.Silences {
					rows = append(rows, []string{s.ID, s.Until.Local().Format("2006-01-02 15:04"), matchText(s.Match), s.By, s.Comment})
				}
				table(w, "SILENCE\tUNTIL\tMATCH\tBY\tWHY", rows)
			})
		},
	}
}

func matchText(match map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(match)) {
		parts = append(parts, k+"="+match[k])
	}
	return strings.Join(parts, " ")
}

// apiSend calls an operation that has nothing to say, and says done instead.
func (g *globals) apiSend(ctx context.Context, method, path string, in any, done string) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	if err := c.Do(ctx, method, path, in, nil); err != nil {
		return err
	}
	return g.sent(done)
}

func (g *globals) sent(done string) error {
	return g.print(map[string]string{"done": done}, func(w io.Writer) { fmt.Fprintln(w, done) })
}

func newAlertUnsilenceCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "unsilence ID",
		Short: "End a silence",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.apiSend(cmd.Context(), http.MethodDelete, "/v1/alerts/silences/"+url.PathEscape(args[0]), nil, "ended")
		},
	}
}

// receiverInfo is a receiver as the API takes and gives it.
type receiverInfo struct {
	Name      string            `json:"name,omitempty"`
	Kind      string            `json:"kind"`
	URL       string            `json:"url,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	SMTP      string            `json:"smtp,omitempty"`
	From      string            `json:"from,omitempty"`
	To        []string          `json:"to,omitempty"`
	User      string            `json:"user,omitempty"`
	Password  string            `json:"password,omitempty"`
	OnlyNamed bool              `json:"only_named,omitempty"`
}

func newAlertReceiverCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "receiver",
		Short: "Who is told",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out struct{ Receivers []receiverInfo }
			return g.apiGet(cmd.Context(), "/v1/alerts/receivers", &out, func(w io.Writer) {
				if len(out.Receivers) == 0 {
					fmt.Fprintln(w, "Nobody is told. Add somebody: mayfly alert receiver set ops --kind webhook --url https://…")
					return
				}
				var rows [][]string
				for _, r := range out.Receivers {
					to := r.URL
					if r.Kind == "email" {
						to = strings.Join(r.To, ", ")
					}
					what := "all alerts"
					if r.OnlyNamed {
						what = "what names it"
					}
					rows = append(rows, []string{r.Name, r.Kind, to, what})
				}
				table(w, "RECEIVER\tKIND\tTO\tTOLD", rows)
			})
		},
	}
	cmd.AddCommand(newReceiverSetCmd(g), receiverVerb(g, "rm", "Remove a receiver", http.MethodDelete, "", "removed"), receiverVerb(g, "test", "Send a test", http.MethodPost, "/test", "sent"))
	return cmd
}

func receiverVerb(g *globals, use, short, method, suffix, done string) *cobra.Command {
	return &cobra.Command{
		Use:   use + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.apiSend(cmd.Context(), method, "/v1/alerts/receivers/"+url.PathEscape(args[0])+suffix, nil, done)
		},
	}
}

func newReceiverSetCmd(g *globals) *cobra.Command {
	var r receiverInfo
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Add or replace a receiver",
		Example: `  mayfly alert receiver set ops --kind webhook --url https://example.com/hook --header Authorization="Bearer x"
  mayfly alert receiver set chat --kind slack --url https://hooks.slack.com/services/…
  mayfly alert receiver set mail --kind email --smtp mail.example.com:587 --from mayfly@example.com --to ops@example.com`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.apiSend(cmd.Context(), http.MethodPut, "/v1/alerts/receivers/"+url.PathEscape(args[0]), r, "set; try it with: mayfly alert receiver test "+args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Kind, "kind", "webhook", "webhook, slack or email")
	f.StringVar(&r.URL, "url", "", "webhook, slack: where to post")
	f.StringToStringVar(&r.Headers, "header", nil, "webhook: a header, NAME=VALUE")
	f.StringVar(&r.SMTP, "smtp", "", "email: HOST:PORT")
	f.StringVar(&r.From, "from", "", "email: the sender")
	f.StringSliceVar(&r.To, "to", nil, "email: to whom")
	f.StringVar(&r.User, "user", "", "email: for authentication")
	f.StringVar(&r.Password, "password", "", "email: for authentication")
	f.BoolVar(&r.OnlyNamed, "only-named", false, "tell only alerts that name it in notify")
	return cmd
}
