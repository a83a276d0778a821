package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly/cmd/mayfly/templates"
)

func newNewCmd(g *globals) *cobra.Command {
	var name string
	var list strings.Builder
	tw := tabwriter.NewWriter(&list, 0, 0, 2, ' ', 0)
	for _, t := range templates.List() {
		fmt.Fprintf(tw, "  %s\t%s\n", t.Name, t.Summary)
	}
	tw.Flush()
	cmd := &cobra.Command{
		Use:     "new TEMPLATE DIR",
		Short:   "A project from a template",
		Long:    "A project from a template:\n\n" + list.String(),
		Args:    cobra.ExactArgs(2),
		Example: "  mayfly new python photos && mayfly dev photos",
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := templates.Write(args[0], args[1], name)
			if err != nil {
				return err
			}
			return g.print(map[string]any{"dir": args[1], "files": files}, func(w io.Writer) {
				for _, f := range files {
					fmt.Fprintln(w, "  "+f)
				}
				fmt.Fprintf(w, "next: mayfly dev %s\n", args[1])
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the app's name (default: the folder's)")
	return cmd
}
