package simulate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Defaults for what a trace does not say. The size is the median that "Serverless
// in the Wild" (ATC'20, figure 8) found of allocated memory, per application.
const (
	DefaultSize = 170 * mayfly.MiB
	DefaultCold = time.Second

	// perMinute bounds the calls that are replayed of one minute: more tell a
	// keep-alive nothing, and a day of Azure's has a milliard.
	perMinute = 6
)

// Trace is when functions were called. Length is from its start to its end.
type Trace struct {
	Functions []Function
	Length    time.Duration
	Synthetic bool
}

// Function is one function's calls, in order.
type Function struct {
	Name    string
	Trigger string // as the trace says: http, timer, …
	Size    mayfly.Bytes
	Cold    time.Duration
	Calls   []Call
}

// Call is one call, or, of a busy minute, several that came close together.
type Call struct {
	At, Duration time.Duration // At is since the start of the trace
	Count        int32
}

// Read reads a trace in either of two forms, told apart by their first line:
//
//	per minute   HashOwner,HashApp,HashFunction,Trigger,1,2,3,…   as Azure Functions 2019
//	per call     app,func,end_timestamp,duration                  as Azure Functions 2021, in seconds
//
// Both may have the columns MemoryMB and ColdMs. It returns an Invalid error that
// names the line.
func Read(r io.Reader) (*Trace, error) {
	in := csv.NewReader(r)
	in.ReuseRecord, in.FieldsPerRecord = true, -1
	header, err := in.Read()
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read trace", "no first line with the names of columns: %w", err)
	}
	cols := columns(slices.Clone(header))
	var t *Trace
	switch {
	case len(cols.minutes) > 0:
		t, err = readCounts(in, cols)
	case cols.end >= 0 && cols.function >= 0:
		t, err = readCalls(in, cols)
	default:
		return nil, mayfly.Errorf(mayfly.Invalid, "read trace", "line 1 has neither columns 1, 2, 3, … of minutes nor end_timestamp and duration")
	}
	if err != nil {
		return nil, err
	}
	t.Synthetic = !slices.ContainsFunc(t.Functions, func(f Function) bool { return !strings.HasPrefix(f.Name, syntheticApp) })
	return t, nil
}

// layout is where columns are; -1 where one is missing.
type layout struct {
	app, function, trigger, size, cold, end, duration int
	minutes                                           []int // column of each minute
}

func columns(header []string) layout {
	l := layout{-1, -1, -1, -1, -1, -1, -1, nil}
	for i, name := range header {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "hashapp", "app":
			l.app = i
		case "hashfunction", "func", "function":
			l.function = i
		case "trigger":
			l.trigger = i
		case "memorymb":
			l.size = i
		case "coldms":
			l.cold = i
		case "end_timestamp":
			l.end = i
		case "duration":
			l.duration = i
		default:
			if n, err := strconv.Atoi(strings.TrimSpace(name)); err == nil && n == len(l.minutes)+1 {
				l.minutes = append(l.minutes, i)
			}
		}
	}
	return l
}

// row reads the fields of one record and keeps the first error.
type row struct {
	fields []string
	line   int
	err    error
}

func (r *row) text(col int) string {
	if col < 0 || col >= len(r.fields) {
		return ""
	}
	return r.fields[col]
}

func (r *row) number(col int, fallback float64) float64 {
	s := strings.TrimSpace(r.text(col))
	if s == "" {
		return fallback
	}
	v, err := strconv.ParseFloat(s, 64)
	if (err != nil || v < 0 || math.IsNaN(v) || v > 1e12) && r.err == nil {
		r.err = mayfly.Errorf(mayfly.Invalid, "read trace", "line %d, column %d: %q is not a number from 0", r.line, col+1, s)
	}
	return v
}

func (r *row) function(l layout) Function {
	f := Function{
		Name:    r.text(l.function),
		Trigger: strings.ToLower(r.text(l.trigger)),
		Size:    mayfly.Bytes(r.number(l.size, 0) * float64(mayfly.MiB)),
		Cold:    time.Duration(r.number(l.cold, 0) * float64(time.Millisecond)),
	}
	if app := r.text(l.app); app != "" {
		f.Name = app + "/" + f.Name
	}
	f.Name = strings.Clone(f.Name)
	if f.Size == 0 {
		f.Size = DefaultSize
	}
	if f.Cold == 0 {
		f.Cold = DefaultCold
	}
	return f
}

// each calls f for every record until the end or an error.
func each(in *csv.Reader, f func(*row) error) error {
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return mayfly.Errorf(mayfly.Invalid, "read trace", "%w", err)
		}
		line, _ := in.FieldPos(0)
		r := &row{fields: fields, line: line}
		if err := errors.Join(f(r), r.err); err != nil {
			return err
		}
	}
}

func readCounts(in *csv.Reader, cols layout) (*Trace, error) {
	t := &Trace{Length: time.Duration(len(cols.minutes)) * time.Minute}
	err := each(in, func(r *row) error {
		f := r.function(cols)
		seed := newRandom(f.Name)
		for minute, col := range cols.minutes {
			f.addMinute(minute, int(r.number(col, 0)), seed)
		}
		t.Functions = append(t.Functions, f)
		return nil
	})
	return t, err
}

// addMinute spreads n calls over a minute. A timer's come at the same second of
// each, others at a random one: a count does not tell.
func (f *Function) addMinute(minute, n int, rnd *random) {
	if n == 0 {
		return
	}
	events := min(n, perMinute)
	step := time.Minute / time.Duration(events)
	offset := time.Duration(0)
	if f.Trigger != "timer" {
		offset = time.Duration(rnd.uniform() * float64(step))
	}
	for i := range events {
		count := n / events
		if i < n%events {
			count++
		}
		f.Calls = append(f.Calls, Call{At: time.Duration(minute)*time.Minute + offset + time.Duration(i)*step, Count: int32(min(count, math.MaxInt32))})
	}
}

func readCalls(in *csv.Reader, cols layout) (*Trace, error) {
	t, index := &Trace{}, map[string]int{}
	err := each(in, func(r *row) error {
		key := r.text(cols.app) + "/" + r.text(cols.function)
		i, ok := index[key]
		if !ok {
			i = len(t.Functions)
			index[strings.Clone(key)] = i
			t.Functions = append(t.Functions, r.function(cols))
		}
		took := r.number(cols.duration, 0)
		start := max(0, r.number(cols.end, 0)-took)
		t.Functions[i].Calls = append(t.Functions[i].Calls, Call{At: seconds(start), Duration: seconds(took), Count: 1})
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.settle()
	return t, nil
}

// settle sorts the calls and starts the trace at its first.
func (t *Trace) settle() {
	first := time.Duration(math.MaxInt64)
	for _, f := range t.Functions {
		slices.SortFunc(f.Calls, func(a, b Call) int { return int(a.At - b.At) })
		first = min(first, f.Calls[0].At)
	}
	for _, f := range t.Functions {
		for i := range f.Calls {
			f.Calls[i].At -= first
			t.Length = max(t.Length, f.Calls[i].At+f.Calls[i].Duration)
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// WriteCounts writes t per minute, in the first form that Read takes.
func (t *Trace) WriteCounts(w io.Writer) error {
	minutes := int((t.Length + time.Minute - 1) / time.Minute)
	out := csv.NewWriter(w)
	record := []string{"HashOwner", "HashApp", "HashFunction", "Trigger", "MemoryMB", "ColdMs"}
	for m := range minutes {
		record = append(record, strconv.Itoa(m+1))
	}
	if err := out.Write(record); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	for _, f := range t.Functions {
		if err := out.Write(f.record(minutes)); err != nil {
			return fmt.Errorf("write trace: %w", err)
		}
	}
	out.Flush()
	return out.Error()
}

func (f *Function) record(minutes int) []string {
	app, name, ok := strings.Cut(f.Name, "/")
	if !ok {
		app, name = "", f.Name
	}
	counts := make([]int, minutes)
	for _, c := range f.Calls {
		if m := int(c.At / time.Minute); m < minutes {
			counts[m] += int(c.Count)
		}
	}
	record := []string{"", app, name, f.Trigger, strconv.FormatFloat(float64(f.Size)/float64(mayfly.MiB), 'f', 1, 64), strconv.FormatInt(f.Cold.Milliseconds(), 10)}
	for _, n := range counts {
		record = append(record, strconv.Itoa(n))
	}
	return record
}
