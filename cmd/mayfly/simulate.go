package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/schedule/simulate"
)

// simulation is what the flags of simulate say.
type simulation struct {
	synthetic bool
	functions int
	length    string
	seed      uint64
	write     string
	budget    string
	reference string
	schedules bool
	each      bool
}

func newSimulateCmd(g *globals) *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use:   "simulate [TRACE]",
		Short: "What keep-alive policies would make of a trace of calls",
		Long: `Replays a trace through the code that decides in production how long idle
instances are held, and compares it with fixed keep-alive times and an oracle.

TRACE is CSV, in one of two forms:

  per minute  HashOwner,HashApp,HashFunction,Trigger,1,2,3,…  (Azure Functions 2019)
  per call    app,func,end_timestamp,duration                 (Azure Functions 2021, in seconds)

Both may have the columns MemoryMB and ColdMs. With --synthetic a trace is made
instead, from what was published of Azure's.`,
		Example: `  mayfly simulate invocations_per_function_md.anon.d01.csv
  mayfly simulate --synthetic --functions 500 --length 7d --seed 1
  mayfly simulate --synthetic --write trace.csv`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.synthetic == (len(args) == 1) {
				return usageError{fmt.Errorf("name a trace, or say --synthetic")}
			}
			return s.run(cmd, g, args)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&s.synthetic, "synthetic", false, "make a trace instead of reading one")
	f.IntVar(&s.functions, "functions", 500, "functions of a synthetic trace")
	f.StringVar(&s.length, "length", "7d", "length of a synthetic trace")
	f.Uint64Var(&s.seed, "seed", 1, "seed of a synthetic trace")
	f.StringVar(&s.write, "write", "", "write the trace to a file, per minute, and do not replay it")
	f.StringVar(&s.budget, "budget", "", "memory of all instances together, such as 8GiB (default: no bound)")
	f.StringVar(&s.reference, "reference", "10m", "the fixed keep-alive whose spending the market follows")
	f.BoolVar(&s.schedules, "schedules", false, "take the next call of timers as known, as it is for schedules in production")
	f.BoolVar(&s.each, "each", false, "show the functions with the most cold starts")
	return cmd
}

func (s *simulation) run(cmd *cobra.Command, g *globals, args []string) error {
	options, err := s.options()
	if err != nil {
		return err
	}
	trace, err := s.trace(args)
	if err != nil {
		return err
	}
	if s.write != "" {
		return s.save(trace)
	}
	report, err := simulate.Compare(cmd.Context(), trace, options)
	if err != nil {
		return err
	}
	return g.print(report, func(w io.Writer) { showReport(w, report, s.each) })
}

func (s *simulation) options() (simulate.Options, error) {
	o := simulate.Options{Schedules: s.schedules}
	reference, err := mayfly.ParseDuration(s.reference)
	if err != nil {
		return o, err
	}
	o.Reference = reference.D()
	if s.budget != "" {
		o.Budget, err = mayfly.ParseBytes(s.budget)
	}
	return o, err
}

func (s *simulation) trace(args []string) (*simulate.Trace, error) {
	if len(args) == 1 {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, mayfly.Errorf(mayfly.NotFound, "read trace", "%w", err)
		}
		defer f.Close()
		return simulate.Read(f)
	}
	length, err := mayfly.ParseDuration(s.length)
	if err != nil {
		return nil, err
	}
	const longest = 60 * 24 * time.Hour
	if s.functions < 1 || s.functions > 100_000 || length.D() < time.Minute || length.D() > longest {
		return nil, mayfly.Errorf(mayfly.Invalid, "make trace", "a synthetic trace has 1 to 100000 functions and lasts 1m to 60d")
	}
	return simulate.Synthetic{Functions: s.functions, Length: length.D(), Seed: s.seed}.Trace(), nil
}

func (s *simulation) save(t *simulate.Trace) error {
	f, err := os.Create(s.write)
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "write trace", "%w", err)
	}
	if err := t.WriteCounts(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func showReport(w io.Writer, r *simulate.Report, each bool) {
	kind := "measured"
	if r.Synthetic {
		kind = "synthetic"
	}
	fmt.Fprintf(w, "%s trace: %d functions, %d calls, %.1f hours\n\n", kind, r.Functions, r.Calls, r.Hours)
	base := r.Outcome(simulate.PolicyFixed10)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "policy\tcold starts\tof fixed 10m\tidle GB·s\tof fixed 10m\tstarted ahead\tevicted\tcold share p50\tp75\tp90\t")
	for _, o := range r.Outcomes {
		fmt.Fprintf(tw, "%s\t%d\t%s\t%.0f\t%s\t%d\t%d\t%s\t%s\t%s\t\n", o.Policy,
			o.Cold, percent(float64(o.Cold), float64(base.Cold)), o.IdleGBs, percent(o.IdleGBs, base.IdleGBs), o.Ahead, o.Evicted,
			percent(o.ColdP50, 1), percent(o.ColdP75, 1), percent(o.ColdP90, 1))
	}
	tw.Flush()
	if each {
		fmt.Fprintln(w)
		showFunctions(w, r)
	}
}

// showFunctions lists the twenty functions with the most cold starts.
func showFunctions(w io.Writer, r *simulate.Report) {
	base, market := r.Outcome(simulate.PolicyFixed10).Functions, r.Outcome(simulate.PolicyMarket).Functions
	order := make([]int, len(base))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(base[b].Cold, base[a].Cold) })
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "function\tcalls\tcold, fixed 10m\tcold, market\tidle GB·s, fixed 10m\tidle GB·s, market")
	for _, i := range order[:min(20, len(order))] {
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%.0f\t%.0f\n", base[i].Name, base[i].Calls,
			percent(float64(base[i].Cold), float64(base[i].Calls)), percent(float64(market[i].Cold), float64(market[i].Calls)), base[i].IdleGBs, market[i].IdleGBs)
	}
	tw.Flush()
}

func percent(part, whole float64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*part/whole)
}
