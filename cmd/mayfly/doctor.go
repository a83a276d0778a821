package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly/api"
	"github.com/mayfly-cloud/mayfly/api/client"
	"github.com/mayfly-cloud/mayfly/daemon"
)

func newDoctorCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "What this machine can run and isolate, and why not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			machine, err := daemon.Examine(cmd.Context())
			if err != nil {
				return err
			}
			d := examined{Doctor: machine}
			if c, err := g.client(); err == nil { // else there is no node to ask
				d.Telemetry = telemetryOf(cmd.Context(), c, doctorWaits)
			}
			return g.print(d, func(w io.Writer) {
				printDoctor(w, d.Doctor)
				if d.Telemetry != nil {
					d.Telemetry.write(w)
				}
			})
		},
	}
}

// examined is the machine, and the telemetry of the node that verbs speak to,
// where one answers.
type examined struct {
	api.Doctor
	Telemetry *telemetryHealth `json:"telemetry,omitempty"`
}

// doctorWaits is how long a node that does not answer holds up what is known of
// the machine.
const doctorWaits = 5 * time.Second

// telemetryOf is nil where no node answers in time.
func telemetryOf(ctx context.Context, c *client.Client, wait time.Duration) *telemetryHealth {
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	var t telemetryHealth
	if c.Do(ctx, http.MethodGet, "/v1/telemetry", nil, &t) != nil {
		return nil
	}
	return &t
}

// telemetryHealth is how a node's telemetry fares, as the API gives it.
type telemetryHealth struct {
	Shed      rowCounts `json:"shed"`
	SpanShare float64   `json:"span_share"`
	Damaged   int64     `json:"damaged"`
	Disk      rowCounts `json:"disk_bytes"`
	Failure   string    `json:"failure,omitempty"`
	Exports   []struct {
		To        string    `json:"to"`
		Endpoint  string    `json:"endpoint"`
		Sent      int64     `json:"sent"`
		Dropped   int64     `json:"dropped"`
		Waiting   int       `json:"waiting"`
		LastError string    `json:"last_error,omitempty"`
		LastSent  time.Time `json:"last_sent,omitzero"`
	} `json:"exports,omitempty"`
}

type rowCounts struct {
	Lines       int64 `json:"lines"`
	Spans       int64 `json:"spans"`
	Invocations int64 `json:"invocations"`
}

func (r rowCounts) sum() int64 { return r.Lines + r.Spans + r.Invocations }

func (t *telemetryHealth) write(w io.Writer) {
	fmt.Fprintln(w, "telemetry of the node:")
	kept := fmt.Sprintf("logs, traces and calls are kept: %.1f MiB on disk, %.0f %% of ordinary traces", float64(t.Disk.sum())/(1<<20), 100*t.SpanShare)
	c := api.Check{OK: t.Shed.sum() == 0 && t.Damaged == 0 && t.Failure == ""}
	if !c.OK {
		c.Problem = fmt.Sprintf("%d rows were given up, %d blocks cannot be read", t.Shed.sum(), t.Damaged)
		if t.Failure != "" {
			c.Problem += "; " + t.Failure
		}
	}
	printCheck(w, kept, c)
	for _, e := range t.Exports {
		c := api.Check{OK: e.LastError == "", Problem: e.LastError}
		printCheck(w, fmt.Sprintf("%s to %s: %d sent, %d dropped, %d waiting", e.To, e.Endpoint, e.Sent, e.Dropped, e.Waiting), c)
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
	printCheck(w, "egress", d.Egress)
	printCheck(w, "gVisor", d.GVisor)
}

func printCheck(w io.Writer, name string, c api.Check) {
	if c.OK {
		fmt.Fprintf(w, "  yes  %s\n", name)
		return
	}
	fmt.Fprintf(w, "  no   %s: %s\n", name, c.Problem)
}
