package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table is the result of one benchmark.
type table struct {
	Name  string   `json:"name"`
	Title string   `json:"title"`
	Notes []string `json:"notes,omitempty"`
	Rows  []*row   `json:"rows"`
}

// row is one case. A figure that is given again is one more round of it.
type row struct {
	Case    string    `json:"case"`
	Figures []*figure `json:"figures"`
	Note    string    `json:"note,omitempty"`
}

// figure is one measured value, the median of its rounds.
type figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit,omitempty"`
	Value  float64   `json:"value"`
	Rounds []float64 `json:"rounds"`
}

func (t *table) row(name string) *row {
	for _, r := range t.Rows {
		if r.Case == name {
			return r
		}
	}
	r := &row{Case: name}
	t.Rows = append(t.Rows, r)
	return r
}

func (t *table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// add records one round of a figure.
func (r *row) add(name, unit string, v float64) {
	f := r.figure(name)
	if f == nil {
		f = &figure{Name: name, Unit: unit}
		r.Figures = append(r.Figures, f)
	}
	f.Rounds = append(f.Rounds, v)
	f.Value = median(f.Rounds)
}

// times records the quantiles of a histogram, in ms.
func (r *row) times(h *histogram) {
	r.add("p50", "ms", millis(h.quantile(0.50)))
	r.add("p99", "ms", millis(h.quantile(0.99)))
}

func (r *row) figure(name string) *figure {
	for _, f := range r.Figures {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func (r *row) value(name string) float64 {
	if f := r.figure(name); f != nil {
		return f.Value
	}
	return 0
}

// ratio adds how a figure of r stands to that of a peer.
func (r *row) ratio(figure string, peer *row) {
	if mine, theirs := r.value(figure), peer.value(figure); mine > 0 && theirs > 0 {
		r.add("beside peer", "×", mine/theirs)
		r.Note = "peer: " + peer.Case
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// machine is where the figures come from.
type machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Load   string `json:"load_average"` // before the run: others may use the machine too
	When   string `json:"when"`
}

func describeMachine() machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), When: time.Now().UTC().Format(time.RFC3339)}
	m.Kernel = strings.TrimSpace(readText("/proc/sys/kernel/osrelease"))
	m.Load, _, _ = strings.Cut(readText("/proc/loadavg"), " ")
	for line := range strings.Lines(readText("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	return m
}

func readText(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func (f *figure) String() string {
	if f == nil {
		return "-"
	}
	s := fmt.Sprintf("%.0f", f.Value)
	switch {
	case f.Value == float64(int64(f.Value)):
	case f.Value < 1:
		s = fmt.Sprintf("%.3f", f.Value)
	case f.Value < 100:
		s = fmt.Sprintf("%.2f", f.Value)
	}
	if f.Unit == "" {
		return s
	}
	return s + " " + f.Unit
}
