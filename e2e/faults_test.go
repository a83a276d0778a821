package e2e

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// alertDay is how long the quiet day before the faults takes: its 24 hours and
// all times of the standard rules are made shorter alike. Without it there is no
// day but a quiet moment, and no shift of latency, which needs a history.
const alertDay = "MAYFLY_ALERT_DAY"

// standardWindows are the rules that apply to apps, with the minutes that they
// look at.
var standardWindows = map[string]int{
	"error-rate": 5, "error-rate-slow": 30, "throttles": 5, "timeouts": 10, "cold-starts": 30, "out-of-memory": 10, "duration": 10, "queue-age": 10, "dead-letters": 15, "faults": 5,
}

const faultsCode = `
import time
def handler(event, context):
    if "Records" in event:
        return {}
    time.sleep(event.get("ms", 0) / 1000)
    if event.get("fail"):
        raise ValueError("declined")
    return "ok"
`

// faultsManifest is an app that watches itself: day is how long 24 hours take,
// source a NATS server.
func faultsManifest(day time.Duration, budget float64, source string) string {
	var b strings.Builder
	b.WriteString("app: shop\nqueues: {jobs: {}}\nfunctions:\n")
	for name, more := range map[string]string{
		"pay": "concurrency: {max: 8}", "ship": "concurrency: {max: 8}", "narrow": "concurrency: {max: 1, queue: 1}", "work": "on: [{queue: jobs}]", "take": "on: [{nats: orders.>, url: \"" + source + "\"}]", "burn": "memory: 8GiB",
	} {
		fmt.Fprintf(&b, "  %s: {runtime: python, source: ./code, handler: app.handler, %s}\n", name, more)
	}
	fmt.Fprintf(&b, "budget: {amount: %g}\nalerts:\n", budget)
	for name, minutes := range standardWindows {
		window := time.Duration(float64(minutes) * float64(time.Minute) * float64(day) / float64(24*time.Hour))
		fmt.Fprintf(&b, "  %s: {rule: %s, window: %s}\n", name, name, window.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "  source-lost: {rule: source-lost, for: %s}\n", max(3*time.Second, day/288).Round(time.Millisecond)) // five minutes of a day
	return b.String()
}

// TestSeededFaults breaks an app in six ways, with real calls, and expects that
// the standard rules tell a webhook and a mailbox of each once, and once that it
// is over. Before, a day of ordinary traffic tells nobody anything.
func TestSeededFaults(t *testing.T) {
	needs(t, "python3")
	t.Parallel() // it mostly waits
	day, budget, long := 48*time.Minute, 0.002, os.Getenv(alertDay)
	if long == "" && testing.Short() {
		t.Skip("takes more than a minute")
	}
	if long != "" {
		var err error
		if day, err = time.ParseDuration(long); err != nil || day < 15*time.Minute {
			t.Fatalf("%s is %q; give a time of at least 15m, in which three samples fit into five minutes", alertDay, long)
		}
		budget = 0.05 * day.Minutes() / 24 // a third of it is spent by the day
	}
	source := newCable(t, natsServer(t))
	url := "nats://" + source.addr()
	dir := app(t, map[string]string{"mayfly.yaml": faultsManifest(day, budget, url), "code/app.py": faultsCode})
	n := start(t, t.TempDir(), "dev", dir, "--sample", "1s")
	told := &told{}
	for _, args := range [][]string{
		{"alert", "receiver", "set", "ops", "--kind", "webhook", "--url", newHook(t, told), "--header", "X-Key=k1"},
		{"alert", "receiver", "set", "mail", "--kind", "email", "--smtp", newMailbox(t, told), "--from", "mayfly@example.com", "--to", "ops@example.com"},
	} {
		if out, code := n.cli(args...); code != 0 {
			t.Fatalf("mayfly %s: exit %d\n%s", strings.Join(args, " "), code, out)
		}
	}
	traffic := &traffic{node: n, day: day}
	traffic.run(t)
	begin := time.Now()
	if long != "" {
		time.Sleep(day)
	} else {
		eventually(t, "samples of quiet traffic", func() bool { return traffic.calls.Load() > 100 })
	}
	if all := told.all(); len(all) > 0 {
		t.Errorf("in %s of ordinary traffic, %d calls, was told: %q", time.Since(begin).Round(time.Second), traffic.calls.Load(), all)
	}

	t.Logf("%s of ordinary traffic, %d calls", time.Since(begin).Round(time.Second), traffic.calls.Load())

	rules := []string{"error-rate", "throttles", "queue-age", "source-lost", "budget-50", "budget-80", "budget-100"}
	traffic.failing.Store(true)
	source.cut(true)
	if long != "" {
		rules = append(rules, "duration")
		traffic.slow.Store(true)
	}
	for _, args := range [][]string{{"queue", "pause", "jobs"}, {"queue", "send", "jobs", "{}"}} {
		if out, code := n.cli(args...); code != 0 {
			t.Fatalf("mayfly %s: exit %d\n%s", strings.Join(args, " "), code, out)
		}
	}
	told.each(t, "firing", rules)
	traffic.failing.Store(false)
	traffic.slow.Store(false)
	source.cut(false)
	if out, code := n.cli("queue", "resume", "jobs"); code != 0 {
		t.Fatalf("mayfly queue resume: exit %d\n%s", code, out)
	}
	write(t, filepath.Join(dir, "mayfly.yaml"), faultsManifest(day, 1000, url))
	told.each(t, "resolved", rules)
	told.once(t)
	if all := told.all(); len(all) != 4*len(rules) {
		t.Errorf("of %d faults was told, to two receivers: %q", len(rules), all)
	}
}

// each waits until both receivers were told of each rule that it is in a state.
func (o *told) each(t *testing.T, state string, rules []string) {
	t.Helper()
	var want []string
	for _, rule := range rules {
		want = append(want, "webhook "+state+" "+rule, "mail "+state+" "+rule)
	}
	o.within(t, want...)
}

// traffic is what calls an app, and what is wrong with it.
type traffic struct {
	node    *node
	day     time.Duration
	calls   atomic.Int64
	failing atomic.Bool // errors, throttled callers, dear calls
	slow    atomic.Bool
}

// run makes calls until the test ends: some each 250 ms, more and slower ones
// later in the day, and an error in a hundred.
func (f *traffic) run(t *testing.T) {
	stop, done := make(chan struct{}), make(chan struct{})
	begin := time.Now()
	go func() {
		defer close(done)
		var calls sync.WaitGroup
		defer calls.Wait()
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			calls.Wait() // those of the tick before
			for _, c := range f.at(i, time.Since(begin)) {
				calls.Go(func() { f.call(c) })
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

type someCall struct{ function, event string }

// at are the calls of a tick.
func (f *traffic) at(i int, since time.Duration) (calls []someCall) {
	hour := math.Sin(math.Pi * float64(since%f.day) / float64(f.day)) // 0 at midnight, 1 at noon
	ms := 60 + i%7 + int(15*hour)
	for j := range 1 + int(3*hour) {
		calls = append(calls, someCall{"pay", fmt.Sprintf(`{"ms":%d,"fail":%t}`, ms, i%100 == 99 && j == 0)})
	}
	if f.failing.Load() {
		calls = append(calls, someCall{"pay", `{"fail":true}`}, someCall{"pay", `{"fail":true}`}, someCall{"pay", `{"fail":true}`})
		for range 4 {
			calls = append(calls, someCall{"burn", `{"ms":250}`})
		}
		for range 8 {
			calls = append(calls, someCall{"narrow", `{"ms":50}`})
		}
	}
	if f.slow.Load() {
		ms *= 8
	}
	for range 2 {
		calls = append(calls, someCall{"ship", fmt.Sprintf(`{"ms":%d}`, ms)})
	}
	return append(calls, someCall{"narrow", `{"ms":50}`})
}

func (f *traffic) call(c someCall) {
	// What a call answers is for the rules to judge.
	_, _ = f.node.try(http.MethodPost, "/_fn/shop/"+c.function, c.event, "Authorization", "Bearer "+f.node.Token)
	f.calls.Add(1)
}
