package telemetry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Far over the budget, traces with an error, a slow span or a cold call are kept
// whole, whichever of their spans comes first, and few of the others.
func TestSamplerKeepsWhatMatters(t *testing.T) {
	p := newSampler(Config{SpansPerSecond: 100}.WithDefaults())
	now := time.Unix(1e9, 0)
	kept := map[string]int{}
	note := func(spans []mayfly.Span) {
		for _, s := range spans {
			kept[s.Trace.ID]++
		}
	}
	trace := func(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i) }
	const seconds, perSecond = 5, 1000
	for sec := range seconds {
		for step := range 10 {
			var first, second []mayfly.Span
			var calls []*mayfly.Invocation
			for j := range perSecond / 10 {
				i := sec*perSecond + step*100 + j
				kind, last := "plain", mayfly.Span{Start: now, End: now}
				switch i % 50 {
				case 1:
					kind, last.Error = "failed", "no"
				case 2:
					kind, last.End = "slow", now.Add(2*time.Second)
				case 3:
					kind = "cold"
					calls = append(calls, &mayfly.Invocation{Trace: mayfly.Trace{ID: trace(kind, i)}, Cold: true, Outcome: mayfly.OutcomeOK})
				}
				last.Trace.ID = trace(kind, i)
				first = append(first, mayfly.Span{Trace: mayfly.Trace{ID: trace(kind, i)}, Start: now, End: now})
				second = append(second, last)
			}
			p.add(first, now)
			now = now.Add(100 * time.Millisecond)
			p.calls(calls, now)
			p.add(second, now)
			note(p.take(now))
		}
	}
	if p.news() == "" {
		t.Error("nothing was said of it")
	}
	note(p.take(now.Add(time.Hour)))
	plain, lost := 0, 0
	for sec := 1; sec < seconds; sec++ { // the first second is when it begins to sample
		for i := sec * perSecond; i < (sec+1)*perSecond; i++ {
			switch i % 50 {
			case 1:
				lost += 2 - kept[trace("failed", i)]
			case 2:
				lost += 2 - kept[trace("slow", i)]
			case 3:
				lost += 2 - kept[trace("cold", i)]
			default:
				if n := kept[trace("plain", i)]; n == 1 {
					t.Fatalf("half of trace %d was kept", i)
				} else if n == 2 {
					plain++
				}
			}
		}
	}
	if lost != 0 {
		t.Errorf("%d spans that matter are lost", lost)
	}
	if most := seconds * perSecond / 5; plain > most || p.droppedTotal.Load() == 0 {
		t.Errorf("%d ordinary traces were kept", plain)
	}
	if now = now.Add(time.Hour); len(p.take(now)) != 0 || p.shareNow() != 1 || p.news() != "all spans are kept again" {
		t.Errorf("share %v after a rest", p.shareNow())
	}
}

// After a burst the share goes back to all, also where no span comes that would
// be counted, and that is said.
func TestSamplerRestsAfterABurst(t *testing.T) {
	p := newSampler(Config{SpansPerSecond: 10}.WithDefaults())
	now := time.Unix(1e9, 0)
	for range 3 {
		now = now.Add(300 * time.Millisecond)
		p.add(make([]mayfly.Span, 100), now)
		p.take(now)
	}
	if text := p.news(); p.shareNow() >= 1 || !strings.Contains(text, "more than 10 spans/s") {
		t.Errorf("in the burst: share %v, %q", p.shareNow(), text)
	}
	said := ""
	for range 120 {
		now = now.Add(50 * time.Millisecond)
		p.take(now)
		said += p.news()
	}
	if p.shareNow() != 1 || said == "" || !strings.HasSuffix(said, "all spans are kept again") || p.holding() {
		t.Errorf("six seconds later: share %v, %q", p.shareNow(), said)
	}
}

func TestIntakeShedsAndKeepsOrder(t *testing.T) {
	wake := make(chan struct{}, 1)
	q := newIntake[int](400, 0, wake)
	shard := shardOf("instance-7")
	for i := range 150 {
		q.put(shard, i, 0)
	}
	if q.shed.Load() != 50 {
		t.Errorf("%d were shed, want 50", q.shed.Load())
	}
	var got []int
	q.take(func(rows []int) { got = append(got, rows...) })
	for i := range got {
		if got[i] != i {
			t.Fatalf("order %v", got)
		}
	}
	if len(got) != 100 || len(wake) != 1 {
		t.Errorf("%d rows, %d wake-ups", len(got), len(wake))
	}
	sized := newIntake[int](400, 4000, wake)
	for range 3 {
		sized.put(0, 1, 400)
	}
	if sized.shed.Load() != 1 {
		t.Errorf("%d were shed for their size, want 1", sized.shed.Load())
	}
}

// A store that nobody runs, or that is behind, gives rows up, says so, and goes
// on.
func TestShedIsSeen(t *testing.T) {
	s := open(t, func(c *Config) { c.Intake, c.IntakeBytes = 40, 8*mayfly.KiB })
	for range 1000 {
		s.Invocation(call("shop", "pay", time.Now()))
		s.Span(mayfly.Span{})
		s.Log(mayfly.LogLine{Text: "x", Stream: mayfly.Platform})
	}
	h := s.Health()
	if h.Shed.Invocations < 900 || h.Shed.Spans < 900 || h.Shed.Lines < 900 {
		t.Errorf("health %+v", h)
	}
	inv := call("shop", "pay", time.Now())
	s.drain()
	s.Invocation(inv)
	if _, err := s.LookupInvocation(t.Context(), inv.ID); err != nil {
		t.Error(err)
	}
}
