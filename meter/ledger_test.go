package meter

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("MAYFLY_METER_TEST_DIR"); dir != "" {
		beKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string, change func(*Config)) *Ledger {
	t.Helper()
	cfg := Config{Dir: dir}
	if change != nil {
		change(&cfg)
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

var someOutcomes = []mayfly.Outcome{mayfly.OutcomeOK, mayfly.OutcomeOK, mayfly.OutcomeError, mayfly.OutcomeTimeout, mayfly.OutcomeThrottled, mayfly.OutcomeMemory}

// mixed is the i-th of a series of calls of all kinds.
func mixed(i int) *mayfly.Invocation {
	r := rand.New(rand.NewPCG(7, uint64(i)))
	return &mayfly.Invocation{
		ID: fmt.Sprint(i), App: mayfly.AppName(fmt.Sprintf("app-%d", r.IntN(3))), Function: mayfly.FunctionName(fmt.Sprintf("fn-%d", r.IntN(5))), Version: 1 + r.IntN(2),
		Start: time.Now().Add(-time.Duration(r.IntN(5000)) * time.Millisecond), Memory: mayfly.Bytes(64+r.IntN(1000)) * mayfly.MiB,
		Duration: time.Duration(r.IntN(3e9)), Billed: time.Duration(r.IntN(3000)) * time.Millisecond, CPU: time.Duration(r.IntN(1e9)),
		Outcome: someOutcomes[r.IntN(len(someOutcomes))], Cold: r.IntN(10) == 0, BytesIn: int64(r.IntN(1e6)), BytesOut: int64(r.IntN(1e6)),
	}
}

// total is all that a ledger holds.
func total(t testing.TB, l *Ledger) UsageTotals {
	t.Helper()
	rows, err := l.Usage(context.Background(), UsageQuery{Since: time.Unix(0, 0), Until: time.Now().Add(time.Hour), By: []string{"version", "second"}})
	if err != nil {
		t.Fatal(err)
	}
	var u UsageTotals
	for _, r := range rows {
		u = u.Add(r.Usage)
	}
	return u
}

func TestEqualsAnIndependentCount(t *testing.T) {
	const calls, workers = 100_000, 8
	l := open(t, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	want := map[UsageRow]UsageTotals{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			mine := map[UsageRow]UsageTotals{}
			for i := w; i < calls; i += workers {
				inv := mixed(i)
				l.Invocation(inv)
				if u := UsageOf(inv); u.Requests > 0 {
					row := UsageRow{App: inv.App, Function: inv.Function, Version: inv.Version}
					mine[row] = mine[row].Add(u)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for k, u := range mine {
				want[k] = want[k].Add(u)
			}
		})
	}
	wg.Wait()
	rows, err := l.Usage(ctx, UsageQuery{Since: time.Now().Add(-time.Hour), By: []string{"version"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(want) {
		t.Errorf("%d versions, want %d", len(rows), len(want))
	}
	for _, r := range rows {
		u := r.Usage
		r.Usage = UsageTotals{}
		if want[r] != u {
			t.Errorf("%+v: ledger %+v, count %+v", r, u, want[r])
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

const killWorkers = 4

// beKilled is the process that the next test kills: it says what it is about to
// put in and what it has put in, without end.
func beKilled(dir string) {
	l, err := Open(Config{Dir: dir})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	go l.Run(context.Background()) //nolint:errcheck // it ends by SIGKILL
	var mu sync.Mutex
	for w := range killWorkers {
		go func() {
			for i := w; ; i += killWorkers {
				inv := mixed(i)
				mu.Lock()
				fmt.Println("try", i)
				mu.Unlock()
				l.Invocation(inv)
				mu.Lock()
				fmt.Println("did", i)
				mu.Unlock()
			}
		}()
	}
	select {}
}

// All that was put in is in the ledger after SIGKILL, and nothing else but, for
// each worker, the one call that the kill caught between its two words.
func TestExactAcrossKill(t *testing.T) {
	dir := t.TempDir()
	var tried, did UsageTotals
	for range 3 {
		tries, dids := killedRun(t, dir, 4000)
		for i := range tries {
			tried = tried.Add(UsageOf(mixed(i)))
		}
		for i := range dids {
			did = did.Add(UsageOf(mixed(i)))
		}
		l := open(t, dir, nil)
		got := total(t, l)
		if got.Requests < did.Requests || got.Requests > tried.Requests || got.KiBms < did.KiBms || got.KiBms > tried.KiBms || got.CPU < did.CPU || got.CPU > tried.CPU {
			t.Errorf("ledger %+v\nis not between what was done  %+v\nand what was begun            %+v", got, did, tried)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir, nil)
		if same := total(t, again); same != got {
			t.Errorf("opened once more: %+v, before %+v", same, got)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		tried, did = got, got // calls that the kill caught are settled now
	}
}

func killedRun(t *testing.T, dir string, calls int) (tries, dids map[int]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MAYFLY_METER_TEST_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tries, dids = map[int]bool{}, map[int]bool{}
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		var word string
		var i int
		if _, err := fmt.Sscan(sc.Text(), &word, &i); err != nil {
			if strings.HasPrefix(sc.Text(), "error") {
				t.Error(sc.Text())
			}
			continue // the kill cut the last line
		}
		if word == "try" {
			tries[i] = true
		} else {
			dids[i] = true
		}
		if len(dids) == calls {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if len(dids) < calls {
		t.Fatalf("the process ended after %d calls", len(dids))
	}
	return tries, dids
}

func TestFullJournalLosesNothing(t *testing.T) {
	l := open(t, t.TempDir(), nil) // nobody runs it
	inv := mixed(0)
	inv.Outcome = mayfly.OutcomeOK
	const n = 3*journalRecords + 17
	for range n {
		l.Invocation(inv)
	}
	if u := total(t, l); u.Requests != n {
		t.Errorf("%d requests, want %d", u.Requests, n)
	}
}

func TestRollUpKeepsSums(t *testing.T) {
	l := open(t, t.TempDir(), nil)
	for i := range 1000 {
		inv := mixed(i)
		inv.Start = time.Now().Add(-time.Duration(i) * 10 * time.Minute)
		l.Invocation(inv)
	}
	l.Egress("app-1", "fn-1", 1, 12345)
	before := total(t, l)
	for range 2 {
		if err := l.rollUp(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if after := total(t, l); after != before || before.Egress != 12345 {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	var left int
	if err := l.db.QueryRow("select count(*) from usage where at < ?", time.Now().Add(-49*time.Hour).Unix()).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d old seconds are left (%v)", left, err)
	}
}

func TestGrouping(t *testing.T) {
	l := open(t, t.TempDir(), func(c *Config) {
		c.Tags = func(_ mayfly.AppName, fn mayfly.FunctionName) map[string]string {
			if fn == "fn-0" {
				return map[string]string{"team": "red"}
			}
			return nil
		}
	})
	want := map[string]int64{}
	for i := range 500 {
		inv := mixed(i)
		l.Invocation(inv)
		if n := UsageOf(inv).Requests; inv.Function == "fn-0" {
			want["red"] += n
		} else {
			want[""] += n
		}
	}
	rows, err := l.Usage(t.Context(), UsageQuery{Since: time.Now().Add(-time.Hour), By: []string{"tag:team"}})
	if err != nil || len(rows) != 2 {
		t.Fatalf("%+v %v", rows, err)
	}
	for _, r := range rows {
		if r.Usage.Requests != want[r.Tag] || r.App != "" {
			t.Errorf("%+v, want %d", r, want[r.Tag])
		}
	}
	if _, err := l.Usage(t.Context(), UsageQuery{By: []string{"colour"}}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a wrong grouping: %v", err)
	}
}

func TestPrices(t *testing.T) {
	l := open(t, t.TempDir(), nil)
	// A million calls of 120 ms at 512 MiB with 20 ms of CPU time.
	one := UsageOf(&mayfly.Invocation{Outcome: mayfly.OutcomeOK, Memory: 512 * mayfly.MiB, Billed: 120 * time.Millisecond, CPU: 20 * time.Millisecond})
	u := one.scale(1e6)
	for name, want := range map[string]float64{
		"lambda-x86":         0.20 + 60_000*0.0000166667,
		"lambda-arm":         0.20 + 60_000*0.0000133334,
		"cloud-run":          0.40 + 100_000*0.0000025 + 200_000*0.000024,
		"azure-functions":    0.20 + 100_000*0.000016,
		"cloudflare-workers": 0.30 + 20*0.02,
		"node":               60_000 * 0.05 / 3600 / 8,
	} {
		s, err := l.sheet(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Cost(u, nil, false).Total; got < want*0.999999 || got > want*1.000001 {
			t.Errorf("%s: %.6f, want %.6f", name, got, want)
		}
		if got := s.Cost(u, nil, true).Total; name == "lambda-x86" && got != 0 {
			t.Errorf("%s with its free part: %.6f", name, got)
		}
	}
	if _, err := Open(Config{Dir: t.TempDir(), Sheets: []byte(`[{"name":"x","per_gib_second":-1}]`)}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a negative price: %v", err)
	}
	if _, err := Open(Config{Dir: t.TempDir(), Prices: "nobody"}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("an unknown sheet: %v", err)
	}
}

func TestBudgetStops(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, nil)
	apps := []*mayfly.Manifest{
		{App: "app-0", Budget: &mayfly.Budget{Amount: 0.001, Action: "stop"}},
		{App: "app-1", Budget: &mayfly.Budget{Amount: 0.001}},
		{App: "app-2", Budget: &mayfly.Budget{Amount: 1e6, Action: "stop"}},
	}
	for _, m := range apps {
		if err := l.CheckBudget(m); err != nil {
			t.Error(err)
		}
	}
	if err := l.Apply(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
	if err := l.Allow("app-0"); err != nil {
		t.Errorf("before: %v", err)
	}
	for i := range 3000 {
		inv := mixed(i)
		inv.Start = time.Now()
		l.Invocation(inv)
	}
	states, err := l.Budgets()
	if err != nil || len(states) != 3 || !states[0].Stopped || states[1].Stopped || states[1].Share < 1 {
		t.Fatalf("%+v %v", states, err)
	}
	again := func(l *Ledger) {
		t.Helper()
		if err := l.Allow("app-0"); mayfly.CodeOf(err) != mayfly.Quota {
			t.Errorf("after: %v", err)
		}
		for _, app := range []mayfly.AppName{"app-1", "app-2", "unknown"} {
			if err := l.Allow(app); err != nil {
				t.Errorf("%s: %v", app, err)
			}
		}
	}
	again(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, nil)
	if err := l.Apply(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
	again(l)
	apps[0].Budget.Amount = 1e6
	if err := l.Apply(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
	if err := l.Allow("app-0"); err != nil {
		t.Errorf("raised: %v", err)
	}
	for _, bad := range []mayfly.Budget{{}, {Amount: 1, Action: "explode"}, {Amount: 1, Prices: "nobody"}, {Amount: 1, AlertAt: []float64{0}}} {
		if err := l.CheckBudget(&mayfly.Manifest{Budget: &bad}); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// Whatever the machine's clock does, no usage is lost, and a budget's month is
// the clock's.
func TestClockJumps(t *testing.T) {
	now := time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	l := open(t, dir, func(c *Config) { c.Now = func() time.Time { return now } })
	if err := l.Apply(t.Context(), []*mayfly.Manifest{{App: "a", Budget: &mayfly.Budget{Amount: 1e-9, Action: "stop"}}, {App: "b", Budget: &mayfly.Budget{Amount: 1}}}); err != nil {
		t.Fatal(err)
	}
	calls := 0
	call := func(app mayfly.AppName) {
		calls++
		l.Invocation(&mayfly.Invocation{App: app, Function: "f", Version: 1, Outcome: mayfly.OutcomeOK, Start: now, Memory: mayfly.GiB, Billed: time.Second})
	}
	spent := func(app mayfly.AppName, want int, stopped bool) {
		t.Helper()
		states, err := l.Budgets()
		if err != nil {
			t.Fatal(err)
		}
		sheet, err := l.sheet("")
		if err != nil {
			t.Fatal(err)
		}
		one := sheet.Cost(UsageTotals{Requests: 1, KiBms: 1 << 20 * 1000}, nil, false).Total
		for _, s := range states {
			if got := int(s.Spent/one + 0.5); s.App == app && got != want {
				t.Errorf("%s: app %s has spent %d calls of this month, want %d", now, app, got, want)
			}
		}
		if err := l.Allow("a"); (err != nil) != stopped {
			t.Errorf("%s: %v", now, err)
		}
	}
	call("a")
	call("b")
	spent("b", 1, true)
	now = now.Add(3 * time.Hour) // into the next month
	call("b")
	spent("b", 1, false)
	now = now.Add(-3 * time.Hour) // it was wrong
	call("b")
	spent("b", 3, true) // the one of the wrong hour is not far enough in the future to be another month's
	spent("a", 1, true)
	now = now.Add(-time.Hour)
	call("b")
	if err := l.rollUp(now.Add(100 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	call("b")
	l.Egress("b", "f", 1, 7)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, nil)
	rows, err := l.Usage(t.Context(), UsageQuery{Since: time.Unix(0, 0), Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), By: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	var sum UsageTotals
	for _, r := range rows {
		sum = sum.Add(r.Usage)
	}
	if sum.Requests != int64(calls) || sum.Egress != 7 {
		t.Errorf("of %d calls the ledger has %+v", calls, sum)
	}
}

func TestForecast(t *testing.T) {
	l := open(t, t.TempDir(), nil)
	now := time.Now()
	for h := range 48 {
		l.Invocation(&mayfly.Invocation{App: "a", Function: "f", Version: 1, Outcome: mayfly.OutcomeOK, Start: now.Add(-time.Duration(h) * time.Hour), Memory: mayfly.GiB, Billed: time.Hour})
	}
	f, err := l.Forecast(t.Context(), "a", now)
	if err != nil {
		t.Fatal(err)
	}
	rest := monthOf(now).AddDate(0, 1, 0).Sub(now).Hours()
	got := float64(f.Month.Requests - f.SoFar.Requests)
	if want := rest * 48 / (f.Days * 24); got < want-1 || got > want+1 || f.Days < 1.9 || f.Days > 2.1 {
		t.Errorf("%v more requests in %v hours, want %v (%+v)", got, rest, want, f)
	}
}

func BenchmarkInvocation(b *testing.B) {
	l := open(b, b.TempDir(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	inv := mixed(0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Invocation(inv)
		}
	})
	b.StopTimer()
	cancel()
	<-done
}
