package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// scheduleInfo is a schedule as the API describes it.
type scheduleInfo struct {
	Function string      `json:"function"`
	Name     string      `json:"name"`
	Schedule string      `json:"schedule"`
	Timezone string      `json:"timezone"`
	Missed   string      `json:"missed"`
	Last     *time.Time  `json:"last"`
	Next     []time.Time `json:"next"`
}

func newScheduleCmd(g *globals) *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return listSchedules(cmd, g) }
	cmd := &cobra.Command{Use: "schedule", Short: "Schedules: when each fires next, run one now", Args: cobra.NoArgs, RunE: list}
	var name string
	run := &cobra.Command{
		Use:   "run FUNCTION",
		Short: "Fire a schedule of a function now",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out struct {
				ID string `json:"id"`
			}
			return g.appRaw(cmd.Context(), http.MethodPost, "/schedules/run", map[string]any{"function": args[0], "name": name}, &out, func(w io.Writer) {
				fmt.Fprintln(w, out.ID)
			})
		},
	}
	run.Flags().StringVar(&name, "name", "", "which one, where the function has several")
	cmd.AddCommand(&cobra.Command{Use: "list", Short: "The app's schedules", Args: cobra.NoArgs, RunE: list}, run)
	return cmd
}

func listSchedules(cmd *cobra.Command, g *globals) error {
	var out struct {
		Schedules []scheduleInfo `json:"schedules"`
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/schedules", nil, &out, func(w io.Writer) {
		var rows [][]string
		for _, s := range out.Schedules {
			next := "never"
			if len(s.Next) > 0 {
				next = s.Next[0].Local().Format(time.DateTime)
			}
			zone := s.Timezone
			if zone == "" {
				zone = "UTC"
			}
			rows = append(rows, []string{s.Function, s.Name, s.Schedule, zone, s.Missed, next})
		}
		table(w, "FUNCTION\tNAME\tSCHEDULE\tZONE\tMISSED\tNEXT", rows)
	})
}
