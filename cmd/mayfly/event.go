package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event/sample"
)

func newEventCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "event", Short: "Events as handlers get them"}
	kinds := make([]string, len(sample.Kinds))
	for i, k := range sample.Kinds {
		kinds[i] = string(k)
	}
	var name string
	samples := &cobra.Command{
		Use:       "sample TRIGGER",
		Short:     "Print a realistic event: " + strings.Join(kinds, ", "),
		Example:   "  mayfly event sample queue --name jobs > event.json\n  mayfly invoke worker --event event.json",
		Args:      cobra.ExactArgs(1),
		ValidArgs: kinds,
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := sample.Event(mayfly.TriggerKind(args[0]), g.app, name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(g.out, string(text))
			return err
		},
	}
	samples.Flags().StringVar(&name, "name", "", "the path, queue, topic, bucket, table, store or schedule in it")
	cmd.AddCommand(samples, &cobra.Command{
		Use:   "sources",
		Short: "The servers outside that functions take messages from, and how they fare",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return listSources(cmd, g) },
	})
	return cmd
}

// eventSource is a source as the API describes it.
type eventSource struct {
	Function string    `json:"function"`
	Kind     string    `json:"kind"`
	Of       string    `json:"of"`
	Server   string    `json:"server"`
	Status   string    `json:"status"`
	Since    time.Time `json:"since"`
	Error    string    `json:"error"`
	Accepted int64     `json:"accepted"`
	Refused  int64     `json:"refused"`
}

func listSources(cmd *cobra.Command, g *globals) error {
	var out struct {
		Sources []eventSource `json:"sources"`
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/sources", nil, &out, func(w io.Writer) {
		if len(out.Sources) == 0 {
			fmt.Fprintln(w, "no function takes messages from a server outside")
			return
		}
		var rows [][]string
		for _, s := range out.Sources {
			status := s.Status + " for " + mayfly.Duration(time.Since(s.Since).Truncate(time.Second)).String()
			rows = append(rows, []string{s.Function, s.Kind, s.Of, s.Server, status, fmt.Sprint(s.Accepted), fmt.Sprint(s.Refused), shorten(s.Error, 100)})
		}
		table(w, "FUNCTION\tKIND\tOF\tSERVER\tSTATUS\tACCEPTED\tREFUSED\tWHY", rows)
	})
}
