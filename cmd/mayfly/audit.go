package main

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
)

func newAuditCmd(g *globals) *cobra.Command {
	var refused bool
	var function, since string
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "Who was allowed and who was refused what", Args: cobra.NoArgs,
		Long: "Who was allowed and who was refused what, newest first. Equal decisions are counted. With --app those about the resources of one app, else all.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for name, value := range map[string]string{"app": g.app, "function": function} {
				if value != "" {
					q.Set(name, value)
				}
			}
			if refused {
				q.Set("refused", "true")
			}
			from, err := mayfly.ParseTime(since, time.Now())
			if err != nil {
				return err
			}
			if !from.IsZero() {
				q.Set("since", from.UTC().Format(time.RFC3339))
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			var out struct {
				Decisions []identity.Entry `json:"decisions"`
			}
			if err := c.Do(cmd.Context(), http.MethodGet, "/v1/audit?"+q.Encode(), nil, &out); err != nil {
				return err
			}
			return g.print(out, func(w io.Writer) { printDecisions(w, out.Decisions) })
		},
	}
	f := cmd.Flags()
	f.BoolVar(&refused, "refused", false, "only what was refused")
	f.StringVar(&function, "function", "", "only what this function asked for")
	f.StringVar(&since, "since", "", "from when on: 15m, 24h, 7d or RFC 3339")
	f.IntVar(&limit, "limit", 100, "how many, at most 1000")
	return cmd
}

func printDecisions(w io.Writer, all []identity.Entry) {
	var rows [][]string
	for _, e := range all {
		who := string(e.Who)
		switch {
		case e.Function != "":
			who = string(e.Caller) + "/" + string(e.Function)
		case e.User != "":
			who = e.User
		}
		answer := "refused"
		if e.Allowed {
			answer = "allowed"
		}
		rows = append(rows, []string{
			e.To.Local().Format("2006-01-02 15:04:05"), who, answer, e.Verb + " " + e.Kind + "/" + e.Name, string(e.App),
			strconv.FormatInt(e.Count, 10), cmp.Or(e.Grant, e.Reason, e.Detail),
		})
	}
	table(w, "LAST\tWHO\t\tWHAT\tAPP\tTIMES\tBY", rows)
}
