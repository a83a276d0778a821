package simulate

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// trace makes a function whose calls are over at once.
func trace(length time.Duration, calls ...time.Duration) *Trace {
	f := Function{Name: "f", Size: mayfly.GiB, Cold: time.Second}
	for _, at := range calls {
		f.Calls = append(f.Calls, Call{At: at, Count: 1})
	}
	return &Trace{Functions: []Function{f}, Length: length}
}

func run(t *Trace, p policy, o Options) Outcome {
	r := newReplay(t, p, o)
	r.run()
	return r.outcome("")
}

func TestFixedByHand(t *testing.T) {
	// Calls at 0, 5m, 20m, 31m with ten minutes: cold, warm, cold, cold; idle
	// 5 + 10 + 10 minutes, and 9 to the end.
	out := run(trace(40*time.Minute, 0, 5*time.Minute, 20*time.Minute, 31*time.Minute), fixed(10*time.Minute), Options{})
	if out.Cold != 3 || out.IdleGBs != 34*60 {
		t.Errorf("cold %d, idle %v GB·s", out.Cold, out.IdleGBs)
	}
}

func TestRunningIsNotIdle(t *testing.T) {
	tr := trace(time.Hour, 0, time.Minute)
	tr.Functions[0].Calls[0].Duration = 2 * time.Minute // the second call comes meanwhile
	out := run(tr, fixed(10*time.Minute), Options{})
	if out.Cold != 1 || out.IdleGBs != 600 {
		t.Errorf("cold %d, idle %v GB·s", out.Cold, out.IdleGBs)
	}
}

func TestKnownScheduleIsNeverCold(t *testing.T) {
	tr := trace(30*24*time.Hour, 0)
	tr.Functions[0].Trigger = "timer"
	for d := 7 * time.Hour; d < tr.Length; d += 7 * time.Hour {
		tr.Functions[0].Calls = append(tr.Functions[0].Calls, Call{At: d, Count: 1})
	}
	for name, p := range map[string]policy{"histogram": make(learned, 1), "market": newPriced(tr, 0)} {
		if out := run(tr, p, Options{Schedules: true}); out.Cold != 1 {
			t.Errorf("%s: %d cold starts of %d calls", name, out.Cold, len(tr.Functions[0].Calls))
		}
	}
}

func TestBudgetEvicts(t *testing.T) {
	tr := &Trace{Length: time.Hour}
	for i := range 4 {
		f := trace(time.Hour, time.Duration(i)*time.Minute).Functions[0]
		f.Name = string(rune('a' + i))
		tr.Functions = append(tr.Functions, f)
	}
	out := run(tr, fixed(time.Hour), Options{Budget: 2 * mayfly.GiB})
	if out.Evicted != 2 {
		t.Errorf("%d evictions", out.Evicted)
	}
	// 58 and 57 minutes of the last two, 2 of each of the first two.
	if out.IdleGBs != (58+57+2+2)*60 {
		t.Errorf("idle %v GB·s", out.IdleGBs)
	}
}

// TestMarketHalvesColdStarts is the claim that docs/performance.md makes: at most
// half of the cold starts of a fixed ten minutes, for no more idle memory.
func TestMarketHalvesColdStarts(t *testing.T) {
	if testing.Short() {
		t.Skip("replays a week")
	}
	for seed := range uint64(2) {
		tr := Synthetic{Functions: 150, Seed: seed}.Trace()
		report, err := Compare(context.Background(), tr, Options{})
		if err != nil {
			t.Fatal(err)
		}
		fixed, market := report.Outcome(PolicyFixed10), report.Outcome(PolicyMarket)
		if market.Cold*2 > fixed.Cold || market.IdleGBs > fixed.IdleGBs {
			t.Errorf("seed %d: %d cold starts for %.0f GB·s, fixed %d for %.0f", seed, market.Cold, market.IdleGBs, fixed.Cold, fixed.IdleGBs)
		}
		if starts := int64(market.Ahead) + market.Cold; starts > 2*fixed.Cold {
			t.Errorf("seed %d: %d starts in all, fixed %d", seed, starts, fixed.Cold)
		}
	}
}

func TestSyntheticIsTheSameForTheSameSeed(t *testing.T) {
	s := Synthetic{Functions: 20, Length: 12 * time.Hour, Seed: 7}
	var a, b, c bytes.Buffer
	if err := errors.Join(s.Trace().WriteCounts(&a), s.Trace().WriteCounts(&b)); err != nil {
		t.Fatal(err)
	}
	s.Seed++
	if err := s.Trace().WriteCounts(&c); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() || a.String() == c.String() {
		t.Error("the seed does not decide the trace")
	}
}

func TestCountsSurviveWritingAndReading(t *testing.T) {
	s := Synthetic{Functions: 30, Length: 6 * time.Hour, Seed: 3}.Trace()
	var text bytes.Buffer
	if err := s.WriteCounts(&text); err != nil {
		t.Fatal(err)
	}
	back, err := Read(&text)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Functions) != 30 || back.Length != s.Length || !back.Synthetic {
		t.Fatalf("%d functions, %v", len(back.Functions), back.Length)
	}
	for i := range s.Functions {
		if a, b := total(s.Functions[i]), total(back.Functions[i]); a != b {
			t.Errorf("%s: %d calls became %d", s.Functions[i].Name, a, b)
		}
	}
}

func total(f Function) (n int64) {
	for _, c := range f.Calls {
		n += int64(c.Count)
	}
	return n
}

func TestReadCalls(t *testing.T) {
	tr, err := Read(strings.NewReader("app,func,end_timestamp,duration\na,f,110,10\nb,g,130,1\na,f,105,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := tr.Functions[0]
	if len(tr.Functions) != 2 || f.Name != "a/f" || len(f.Calls) != 2 || f.Calls[0].At != 0 || f.Calls[1].At != 4*time.Second || tr.Length != 30*time.Second {
		t.Errorf("%+v", tr)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "no first line",
		"a,b\n1,2\n":                             "line 1 has neither",
		"HashFunction,Trigger,1,2\nf,http,1,x\n": `line 2, column 4: "x"`,
		"app,func,end_timestamp,duration\na,f,1,0\na,f,-1,0": `line 3, column 3: "-1"`,
	} {
		_, err := Read(strings.NewReader(text))
		if mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,timer,1,0,9\n")
	f.Add("app,func,end_timestamp,duration\na,f,110.5,10\n")
	f.Add("1\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		tr, err := Read(strings.NewReader(text))
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Invalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		for _, fn := range tr.Functions {
			for i := 1; i < len(fn.Calls); i++ {
				if fn.Calls[i].At < fn.Calls[i-1].At {
					t.Errorf("%q: calls out of order", text)
				}
			}
		}
	})
}
