package main

import (
	"fmt"
	"strings"

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
	cmd.AddCommand(samples)
	return cmd
}
