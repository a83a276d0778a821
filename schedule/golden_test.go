package schedule

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

var rewrite = flag.Bool("rewrite", false, "write what the code does now into testdata")

// TestGolden runs testdata/*.txt. A file is blocks divided by empty lines: lines
// of commands, "----", and what they print. Lines that start with # are comments.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench()
	var blocks []string
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		script, _, _ := strings.Cut(block, "\n----")
		var out strings.Builder
		for line := range strings.SplitSeq(script, "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				out.WriteString(b.run(t, strings.Fields(line)))
			}
		}
		if out.Len() == 0 {
			blocks = append(blocks, script)
			continue
		}
		blocks = append(blocks, script+"\n----\n"+strings.TrimSuffix(out.String(), "\n"))
	}
	got := strings.Join(blocks, "\n\n") + "\n"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(text) {
		t.Errorf("%s differs; if the new one is right, go test ./schedule -rewrite\n%s", file, got)
	}
}

// bench is what a transcript works on.
type bench struct {
	functions map[string]*fixture
	market    *Market
	evictor   Evictor
	residents []Resident
}

type fixture struct {
	keep   *KeepAlive
	worth  Worth
	firing []time.Time
}

func newBench() *bench {
	return &bench{functions: map[string]*fixture{}, market: NewMarket(0)}
}

var start = time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)

// run carries out one command. Times are durations since the start.
func (b *bench) run(t *testing.T, f []string) string {
	arg := func(i int) string {
		if i >= len(f) {
			t.Fatalf("%v: argument %d is missing", f, i)
		}
		return f[i]
	}
	at := func(i int) time.Time { return start.Add(span(t, arg(i))) }
	switch f[0] {
	case "function": // NAME SIZE COLD
		b.functions[arg(1)] = &fixture{keep: NewKeepAlive(), worth: Worth{Size: size(t, arg(2)), Cold: span(t, arg(3))}}
	case "fires": // NAME AT...
		fn := b.functions[arg(1)]
		fn.firing = nil
		for i := range f[2:] {
			fn.firing = append(fn.firing, at(i+2))
		}
	case "calls": // NAME from AT every GAP,GAP,... times N: each is over at once
		b.calls(t, arg(1), at(3), arg(5), number(t, arg(7)))
	case "idle": // NAME AT
		fn := b.functions[arg(1)]
		fn.keep.Arrive(at(2))
		return fmt.Sprintf("histogram %v\n", text(fn.keep.Idle(at(2), fn.firing...)))
	case "plan": // NAME AT
		fn := b.functions[arg(1)]
		return fmt.Sprintf("histogram %v\n", text(fn.keep.Plan(at(2), fn.firing...)))
	case "market-idle": // NAME AT
		fn := b.functions[arg(1)]
		b.market.Arrive(fn.keep, at(2), fn.worth)
		return fmt.Sprintf("market %v\n", text(b.market.Idle(fn.keep, at(2), fn.worth, fn.firing...)))
	case "market-plan": // NAME AT
		fn := b.functions[arg(1)]
		return fmt.Sprintf("market %v\n", text(b.market.Plan(fn.keep, at(2), fn.worth, fn.firing...)))
	case "market": // a fresh one
		b.market = NewMarket(0)
	case "price":
		return fmt.Sprintf("price %.3g s/GB·s\n", b.market.Price())
	case "used": // ID CALLS COLD SIZE
		r := Resident{ID: arg(1), Size: size(t, arg(4)), Priority: b.evictor.Used(number(t, arg(2)), span(t, arg(3)), size(t, arg(4)))}
		r.Busy = len(f) > 5 && f[5] == "busy"
		b.residents = append(b.residents, r)
		return fmt.Sprintf("%s priority %.2f\n", r.ID, r.Priority)
	case "evict": // BUDGET
		return b.evict(size(t, arg(1)))
	case "delays": // BACKOFF SEED ATTEMPTS
		return delays(t, arg(1), Seed(arg(2)), number(t, arg(3)))
	default:
		t.Fatalf("no command %q", f[0])
	}
	return ""
}

func (b *bench) calls(t *testing.T, name string, from time.Time, gaps string, n int) {
	fn := b.functions[name]
	list := strings.Split(gaps, ",")
	for i := range n {
		b.market.Arrive(fn.keep, from, fn.worth)
		b.market.Idle(fn.keep, from, fn.worth)
		from = from.Add(span(t, list[i%len(list)]))
	}
}

func (b *bench) evict(budget mayfly.Bytes) string {
	gone := map[int]bool{}
	var names []string
	for _, i := range b.evictor.Victims(b.residents, budget) {
		gone[i] = true
		names = append(names, b.residents[i].ID)
	}
	var left []Resident
	for i, r := range b.residents {
		if !gone[i] {
			left = append(left, r)
		}
	}
	b.residents = left
	return fmt.Sprintf("victims %v, clock %.2f\n", names, b.evictor.clock)
}

func delays(t *testing.T, text string, seed uint64, n int) string {
	b, err := ParseBackoff(text)
	if err != nil {
		return err.Error() + "\n"
	}
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "%d: %v of %v\n", i+1, b.Delay(i+1, seed).Round(time.Millisecond), b.Bound(i+1))
	}
	return out.String()
}

func text(w Window) string {
	s := "keep " + w.Keep.String()
	if w.Prewarm > 0 {
		s += ", start after " + w.Prewarm.String() + ", until " + w.Until.String()
	}
	return s
}

func span(t *testing.T, s string) time.Duration {
	d, err := mayfly.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d.D()
}

func size(t *testing.T, s string) mayfly.Bytes {
	b, err := mayfly.ParseBytes(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
