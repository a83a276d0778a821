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
	var name, template string
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
		Args:    cobra.MaximumNArgs(2),
		Example: "  mayfly new python photos && mayfly dev photos",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || template == "" && len(args) < 2 {
				return usageError{fmt.Errorf("say which template and into which folder: %s; the templates are:\n\n%s", cmd.Use, list.String())}
			}
			if template == "" {
				template, args = args[0], args[1:]
			}
			dir := args[0]
			files, err := templates.Write(template, dir, name)
			if err != nil {
				return err
			}
			return g.print(map[string]any{"dir": dir, "files": files}, func(w io.Writer) {
				for _, f := range files {
					fmt.Fprintln(w, "  "+f)
				}
				fmt.Fprintf(w, "next: mayfly dev %s\n", dir)
			})
		},
	}
	cmd.Flags().StringVar(&template, "template", "", "the template, instead of as the first argument")
	cmd.Flags().StringVar(&name, "name", "", "the app's name (default: the folder's)")
	return cmd
}
