package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// format is how a report is printed.
type format int

const (
	text     format = iota // for a terminal
	markdown               // for a document
	inJSON                 // for a script
)

// report is all that a run found. Tables leave as they are filled, so that a
// run that is ended early has said what it knew; JSON leaves at the end.
type report struct {
	Machine machine  `json:"machine"`
	Tables  []*table `json:"tables"`

	out    io.Writer
	format format
}

func (r *report) begin() {
	if r.format == inJSON {
		return
	}
	m := r.Machine
	if r.format == markdown {
		fmt.Fprint(r.out, "# Figures of one run\n\nMade by `go run ./bench -markdown all`. [performance.md](performance.md) says what they mean.\n\n")
	}
	fmt.Fprintf(r.out, "%d × %s, Linux %s, %s, load before %s, %s\n", m.CPUs, cmp.Or(m.Model, "CPU"), m.Kernel, m.Go, m.Load, m.When)
}

func (r *report) say(t *table) {
	switch r.format {
	case text:
		t.print(r.out)
	case markdown:
		t.printMarkdown(r.out)
	}
}

func (r *report) end() error {
	if r.format != inJSON {
		return nil
	}
	enc := json.NewEncoder(r.out)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// columns are the names of all figures, in the order in which they came.
func (t *table) columns() []string {
	var names []string
	for _, r := range t.Rows {
		for _, f := range r.Figures {
			if !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

func (r *row) cells(columns []string) []string {
	cells := []string{r.Case}
	for _, c := range columns {
		cells = append(cells, r.figure(c).String())
	}
	return append(cells, r.Note)
}

func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n", t.Name, t.Title)
	columns := t.columns()
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "  case\t%s\n", strings.Join(columns, "\t"))
	for _, r := range t.Rows {
		fmt.Fprintln(tw, "  "+strings.Join(r.cells(columns), "\t"))
	}
	tw.Flush()
	for _, n := range t.Notes {
		fmt.Fprintln(w, "  "+n)
	}
}

func (t *table) printMarkdown(w io.Writer) {
	columns := append(append([]string{t.Name}, t.columns()...), "")
	fmt.Fprintf(w, "\n### %s\n\n| %s |\n|%s\n", t.Title, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, r := range t.Rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(r.cells(t.columns()), " | "))
	}
	for _, n := range t.Notes {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(n))
	}
}
