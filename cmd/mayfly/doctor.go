package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly/api"
	"github.com/mayfly-cloud/mayfly/daemon"
)

func newDoctorCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "What this machine can run and isolate, and why not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := daemon.Examine(cmd.Context())
			if err != nil {
				return err
			}
			return g.print(d, func(w io.Writer) { printDoctor(w, d) })
		},
	}
}

func printDoctor(w io.Writer, d api.Doctor) {
	fmt.Fprintf(w, "isolation: %s\n", d.Tier.Name)
	for _, wall := range d.Tier.Walls {
		fmt.Fprintf(w, "  yes  %s\n", wall)
	}
	var missing []string
	for wall := range d.Tier.Missing {
		missing = append(missing, wall)
	}
	slices.Sort(missing)
	for _, wall := range missing {
		fmt.Fprintf(w, "  no   %s: %s\n", wall, d.Tier.Missing[wall])
	}
	fmt.Fprintln(w, "runtimes:")
	for _, r := range d.Runtimes {
		printCheck(w, string(r.Runtime), r.Check)
	}
	fmt.Fprintln(w, "for functions that ask for it:")
	printCheck(w, "gVisor", d.GVisor)
}

func printCheck(w io.Writer, name string, c api.Check) {
	if c.OK {
		fmt.Fprintf(w, "  yes  %s\n", name)
		return
	}
	fmt.Fprintf(w, "  no   %s: %s\n", name, c.Problem)
}
