package alert

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry/prom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a node in simulated time: real metrics, real receivers.
type world struct {
	t       *testing.T
	dir     string
	now     time.Time
	metrics *prom.Metrics
	alerts  *Alerts
	hook    *hookServer
	mails   *smtpServer
	gauges  map[string]float64 // by "name|app|queue"
	free    float64            // share of the disk
	tick    time.Duration
}

const tick = 30 * time.Second

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Now().Add(-10 * 24 * time.Hour).Truncate(time.Hour), gauges: map[string]float64{}, free: 0.5, hook: newHookServer(t), mails: newSMTP(t), tick: tick}
	var err error
	w.metrics, err = prom.Open(prom.Config{Dir: filepath.Join(w.dir, "metrics"), Interval: 24 * time.Hour, Now: func() time.Time { return w.now }, Free: func(string) (float64, bool) { return w.free, true }})
	if err != nil {
		t.Fatal(err)
	}
	for name, labels := range map[string][]string{"mayfly_queue_oldest_seconds": {"app", "queue"}, "mayfly_dead_letters": {"app", "queue"}, "mayfly_budget_used_ratio": {"app"}, "mayfly_export_rows": {"to", "state"},
		"mayfly_source_connected": {"app", "function", "kind", "of"}, "mayfly_database_changes_following": {"app", "database"}} {
		w.metrics.Collect(name, "", false, labels, func(emit func(float64, ...string)) {
			for key, v := range w.gauges {
				if parts := strings.Split(key, "|"); parts[0] == name {
					emit(v, parts[1:]...)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.metrics.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if got, err := w.metrics.Query(ctx, "mayfly_metric_series", w.now); err == nil && len(got) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the metrics do not open")
		}
	}
	w.open()
	for _, r := range []Receiver{
		{Name: "hook", Kind: "webhook", URL: w.hook.URL},
		{Name: "mail", Kind: "email", SMTP: w.mails.addr, From: "Mayfly <mayfly@example.com>", To: []string{"ops@example.com"}},
	} {
		if err := w.alerts.SetReceiver(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// open opens the alerts, as a restart does.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.alerts, err = Open(Config{Dir: filepath.Join(w.dir, "alerts"), Metrics: w.metrics, Every: tick, Wait: tick, Repeat: 4 * time.Hour, Client: w.hook.Client()}); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time go by: in each tick traffic makes calls, then a sample is taken
// and a round made.
func (w *world) pass(d time.Duration, traffic func()) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(w.tick)
		if traffic != nil {
			traffic()
		}
		if err := w.metrics.Scrape(context.Background(), w.now); err != nil {
			w.t.Fatal(err)
		}
		w.alerts.Round(context.Background(), w.now)
	}
}

// calls makes n calls, of which every bad-th ends as outcome.
func (w *world) calls(n, bad int, outcome mayfly.Outcome, took time.Duration) {
	rows := make([]*mayfly.Invocation, n)
	for i := range rows {
		rows[i] = &mayfly.Invocation{App: "shop", Function: "pay", Version: 1, Trigger: mayfly.TriggerHTTP, Outcome: mayfly.OutcomeOK, Duration: took, Billed: took, Start: w.now,
			Memory: 256 * mayfly.MiB, MemoryPeak: 64 * mayfly.MiB, Attempt: 1}
		if bad > 0 && i%bad == 0 {
			rows[i].Outcome = outcome
		}
	}
	w.metrics.Invocations(rows)
}

func (w *world) quiet() { w.calls(20, 0, "", 20*time.Millisecond) }

// expect compares what the receiver was told since the last time: "firing RULE"
// and "resolved RULE", each once.
func (w *world) expect(want ...string) {
	w.t.Helper()
	got := w.hook.take()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("told %q, want %q", got, want)
	}
}

// expectBoth is expect of the webhook and of the mailbox.
func (w *world) expectBoth(want ...string) {
	w.t.Helper()
	w.expect(want...)
	var got []string
	for _, mail := range w.mails.take() {
		for line := range strings.SplitSeq(mail, "\r\n") {
			state, rest, _ := strings.Cut(line, "  ")
			if rule, _, ok := strings.Cut(rest, " ("); ok && (state == "FIRING" || state == "RESOLVED") {
				got = append(got, strings.ToLower(state)+" "+rule)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("mailed %q, want %q", got, want)
	}
}

// hookServer is a real receiver of webhooks.
type hookServer struct {
	*httptest.Server
	mu   sync.Mutex
	told []string // guarded by mu
	last hook     // guarded by mu
}

func newHookServer(t *testing.T) *hookServer {
	h := &hookServer{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.last = hook{}
		if err := json.NewDecoder(r.Body).Decode(&h.last); err != nil {
			t.Error(err)
		}
		for _, al := range h.last.Alerts {
			h.told = append(h.told, al.Status+" "+al.Labels["alertname"])
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hookServer) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.told
	h.told = nil
	return told
}

// Each seeded fault fires its rule once, and resolves; nothing else fires.
func TestSeededFaults(t *testing.T) {
	for _, c := range []struct {
		rule  string
		fault func(w *world)
		heal  func(w *world)
		last  time.Duration // of the fault
		clear time.Duration // until it must have resolved
	}{
		{"error-rate", func(w *world) { w.calls(20, 2, mayfly.OutcomeError, 20*time.Millisecond) }, nil, 10 * time.Minute, 30 * time.Minute},
		{"throttles", func(w *world) { w.calls(20, 5, mayfly.OutcomeThrottled, 20*time.Millisecond) }, nil, 6 * time.Minute, 20 * time.Minute},
		{"timeouts", func(w *world) { w.calls(20, 10, mayfly.OutcomeTimeout, 20*time.Millisecond) }, nil, 12 * time.Minute, 30 * time.Minute},
		{"faults", func(w *world) { w.calls(20, 20, mayfly.OutcomeInternal, 20*time.Millisecond) }, nil, time.Minute, 20 * time.Minute},
		{"out-of-memory", func(w *world) { w.calls(20, 20, mayfly.OutcomeMemory, 20*time.Millisecond) }, nil, 90 * time.Second, 30 * time.Minute},
		{"queue-age", func(w *world) { w.gauges["mayfly_queue_oldest_seconds|shop|jobs"] = 900; w.quiet() },
			func(w *world) { w.gauges["mayfly_queue_oldest_seconds|shop|jobs"] = 1 }, 10 * time.Minute, 10 * time.Minute},
		{"export", func(w *world) { w.gauges["mayfly_export_rows|otlp|dropped"] += 10; w.quiet() }, nil, 3 * time.Minute, 20 * time.Minute},
		{"dead-letters", func(w *world) { w.gauges["mayfly_dead_letters|shop|jobs"]++; w.quiet() }, nil, time.Minute, 30 * time.Minute},
		{"source-lost", func(w *world) { w.gauges["mayfly_source_connected|shop|pay|kafka|orders"] = 0; w.quiet() },
			func(w *world) { w.gauges["mayfly_source_connected|shop|pay|kafka|orders"] = 1 }, 7 * time.Minute, 5 * time.Minute},
		{"disk", func(w *world) { w.free = 0.04; w.quiet() }, func(w *world) { w.free = 0.06 }, 7 * time.Minute, 5 * time.Minute},
		{"changes-lost", func(w *world) { w.gauges["mayfly_database_changes_following|shop|main"] = 0; w.quiet() },
			func(w *world) { w.gauges["mayfly_database_changes_following|shop|main"] = 1 }, 7 * time.Minute, 5 * time.Minute},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			w.gauges["mayfly_dead_letters|shop|jobs"], w.gauges["mayfly_export_rows|otlp|dropped"] = 3, 5
			w.gauges["mayfly_source_connected|shop|pay|kafka|orders"], w.gauges["mayfly_source_connected|shop|pay|nats|orders"], w.gauges["mayfly_database_changes_following|shop|main"] = 1, 1, 1
			w.pass(20*time.Minute, w.quiet)
			w.expectBoth()
			w.pass(c.last, func() { c.fault(w) })
			w.pass(time.Minute, w.quiet)
			w.expectBoth("firing " + c.rule)
			if c.heal != nil {
				c.heal(w)
			}
			w.pass(c.clear, w.quiet)
			w.expectBoth("resolved " + c.rule)
		})
	}
}

func TestRunawayCost(t *testing.T) {
	w := newWorld(t)
	if err := w.alerts.Apply(t.Context(), []*mayfly.Manifest{{App: "shop", Budget: &mayfly.Budget{Amount: 10, AlertAt: []float64{0.5, 1}}}}); err != nil {
		t.Fatal(err)
	}
	w.gauges["mayfly_budget_used_ratio|shop"] = 0.1
	w.pass(5*time.Minute, w.quiet)
	w.expectBoth()
	w.gauges["mayfly_budget_used_ratio|shop"] = 0.6
	w.pass(5*time.Minute, w.quiet)
	w.expectBoth("firing budget-50")
	w.gauges["mayfly_budget_used_ratio|shop"] = 1.2
	w.pass(5*time.Minute, w.quiet)
	w.expectBoth("firing budget-100")
	w.gauges["mayfly_budget_used_ratio|shop"] = 0
	w.pass(5*time.Minute, w.quiet)
	w.expectBoth("resolved budget-50", "resolved budget-100")
}

// A day of traffic with its ups and downs, slow calls and a few errors fires
// nothing; a shift of the duration afterwards does.
func TestQuietDayAndLatencyShift(t *testing.T) {
	if testing.Short() {
		t.Skip("a simulated day takes seconds")
	}
	w := newWorld(t)
	w.tick = 2 * time.Minute // a day at 30 s takes long
	i := 0
	day := func() {
		i++
		hour := i / 30 % 24
		n := 20 + 8*hour // busier in the evening
		bad := 0
		if i%3 == 0 {
			bad = n // one error now and then
		}
		w.calls(n, bad, mayfly.OutcomeError, time.Duration(20+i%7+hour)*time.Millisecond)
	}
	w.pass(24*time.Hour, day)
	w.expectBoth()
	w.pass(40*time.Minute, func() { w.calls(20, 0, "", 400*time.Millisecond) })
	w.expectBoth("firing duration")
	w.pass(3*time.Hour, day)
	w.expectBoth("resolved duration")
	for _, r := range w.alerts.Rules() {
		if r.Failure != "" {
			t.Errorf("%s: %s", r.Name, r.Failure)
		}
	}
}

func TestStateSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	w.pass(10*time.Minute, w.quiet)
	w.pass(5*time.Minute, func() { w.calls(20, 2, mayfly.OutcomeError, time.Millisecond) })
	w.expect("firing error-rate")
	w.open()
	w.pass(5*time.Minute, func() { w.calls(20, 2, mayfly.OutcomeError, time.Millisecond) })
	w.expect() // it is known
	w.pass(30*time.Minute, w.quiet)
	w.expect("resolved error-rate")
}

// A clock that goes back by an hour, and one that goes on by one, make no alert,
// end none, and hide none.
func TestClockJumps(t *testing.T) {
	failing := func(w *world) func() {
		return func() { w.calls(20, 2, mayfly.OutcomeError, time.Millisecond) }
	}
	for name, by := range map[string]time.Duration{"back": -time.Hour, "forth": time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pass(10*time.Minute, w.quiet)
			w.now = w.now.Add(by)
			w.pass(20*time.Minute, w.quiet)
			w.expectBoth()
			w.pass(7*time.Minute, failing(w))
			w.expectBoth("firing error-rate")
			w.now = w.now.Add(by)
			w.pass(7*time.Minute, failing(w))
			w.expectBoth()
			w.pass(30*time.Minute, w.quiet)
			w.expectBoth("resolved error-rate")
		})
	}
}

func TestRepeatAndSilence(t *testing.T) {
	w := newWorld(t)
	burning := func() { w.gauges["mayfly_queue_oldest_seconds|shop|jobs"] = 900 }
	w.pass(10*time.Minute, burning)
	w.expect("firing queue-age")
	w.pass(4*time.Hour, burning)
	w.expect("firing queue-age") // once more after the interval
	if _, err := w.alerts.AddSilence(t.Context(), Silence{Match: map[string]string{"alertname": "queue-*", "app": "shop"}, Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	w.pass(5*time.Hour, burning)
	w.expect()
	if list := w.alerts.List(); len(list) != 1 || list[0].State != Firing {
		t.Errorf("list %+v", list)
	}
	for _, bad := range []Silence{{Until: time.Now().Add(time.Hour)}, {Match: map[string]string{"app": "x"}}, {Match: map[string]string{"app": "["}, Until: time.Now().Add(time.Hour)}} {
		if _, err := w.alerts.AddSilence(t.Context(), bad); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// A receiver that is down is told when it is up again.
func TestReceiverThatIsDown(t *testing.T) {
	w := newWorld(t)
	up := w.hook.URL
	if err := w.alerts.SetReceiver(t.Context(), Receiver{Name: "hook", Kind: "webhook", URL: up + "/\x00"}); err == nil {
		t.Error("a wrong URL was accepted")
	}
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	if err := w.alerts.SetReceiver(t.Context(), Receiver{Name: "hook", Kind: "webhook", URL: down.URL}); err != nil {
		t.Fatal(err)
	}
	burning := func() { w.gauges["mayfly_queue_oldest_seconds|shop|jobs"] = 900 }
	w.pass(10*time.Minute, burning)
	w.expect()
	if err := w.alerts.SetReceiver(t.Context(), Receiver{Name: "hook", Kind: "webhook", URL: up}); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute, burning)
	w.expect("firing queue-age")
	if err := w.alerts.TestReceiver(t.Context(), "hook"); err != nil {
		t.Error(err)
	}
	w.expect("firing test")
	if err := w.alerts.TestReceiver(t.Context(), "nobody"); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("unknown receiver: %v", err)
	}
}

// A rule tells those whom it names; where they are not there, the others.
func TestNotify(t *testing.T) {
	w := newWorld(t)
	rule := func(name string, notify ...string) *mayfly.Manifest {
		return &mayfly.Manifest{App: "shop", Alerts: map[string]*mayfly.Alert{name: {Expr: `sum(rate(faas_invocations_total[1m])) > 0`, Notify: notify}}}
	}
	for _, c := range []struct {
		notify       []string
		hooks, mails int
	}{{nil, 1, 1}, {[]string{"hook"}, 1, 0}, {[]string{"gone", "mail"}, 0, 1}, {[]string{"gone"}, 1, 1}} {
		if err := w.alerts.Apply(t.Context(), []*mayfly.Manifest{rule("busy", c.notify...)}); err != nil {
			t.Fatal(err)
		}
		w.pass(3*time.Minute, w.quiet)
		if hooks, mails := w.hook.take(), w.mails.take(); len(hooks) != c.hooks || len(mails) != c.mails {
			t.Errorf("notify %q: told %q and %d mails", c.notify, hooks, len(mails))
		}
		if err := w.alerts.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		w.pass(2*time.Minute, w.quiet)
		w.hook.take()
		w.mails.take()
	}
}

func TestManifestRules(t *testing.T) {
	w := newWorld(t)
	m := &mayfly.Manifest{App: "shop", Alerts: map[string]*mayfly.Alert{
		"busy":      {Expr: `sum(rate(faas_invocations_total[1m])) > 1`, Severity: "info", Summary: "{{app}} is busy: {{value}}/s", Notify: []string{"hook"}},
		"throttles": {Rule: "throttles", Severity: "critical"}, // instead of the standard one
	}}
	if err := w.alerts.Check(m); err != nil {
		t.Fatal(err)
	}
	other := &mayfly.Manifest{App: "blog", Alerts: map[string]*mayfly.Alert{"busy": {Expr: `sum(rate(faas_invocations_total[1m])) > 1`}}}
	if err := w.alerts.Apply(t.Context(), []*mayfly.Manifest{m, other}); err != nil {
		t.Fatal(err)
	}
	w.pass(5*time.Minute, func() { w.calls(60, 0, "", time.Millisecond) })
	w.expect("firing busy") // of shop, not of blog
	w.pass(5*time.Minute, func() { w.calls(60, 3, mayfly.OutcomeThrottled, time.Millisecond) })
	w.expect("firing throttles")
	for _, al := range w.alerts.List() {
		if al.Rule == "throttles" && al.Severity != "critical" || al.App != "shop" {
			t.Errorf("%+v", al)
		}
	}
	if err := w.alerts.Apply(t.Context(), nil); err != nil { // the app is gone
		t.Fatal(err)
	}
	w.pass(time.Minute, nil)
	told := w.hook.take()
	if !slices.Contains(told, "resolved busy") {
		t.Errorf("told %q", told)
	}
	for name, bad := range map[string]mayfly.Alert{"none": {}, "both": {Expr: "1", Rule: "throttles"}, "unknown": {Rule: "nothing"}, "syntax": {Expr: "sum("}, "severity": {Expr: "up", Severity: "huge"},
		"window-of-expr": {Expr: "up", Window: mayfly.Duration(time.Minute)}, "window-of-memory": {Rule: "memory", Window: mayfly.Duration(time.Minute)},
		"short": {Rule: "throttles", Window: mayfly.Duration(time.Second)}, "long": {Rule: "throttles", Window: mayfly.Duration(24 * time.Hour)}, "node": {Rule: "disk"}} {
		if err := w.alerts.Check(&mayfly.Manifest{App: "shop", Alerts: map[string]*mayfly.Alert{name: &bad}}); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A shorter window makes all of a rule's times shorter.
func TestWindow(t *testing.T) {
	w := newWorld(t)
	m := &mayfly.Manifest{App: "shop", Alerts: map[string]*mayfly.Alert{"throttles": {Rule: "throttles", Window: mayfly.Duration(150 * time.Second)}}}
	if err := w.alerts.Apply(t.Context(), []*mayfly.Manifest{m}); err != nil {
		t.Fatal(err)
	}
	for _, r := range w.alerts.Rules() {
		if r.Name != "throttles" {
			continue
		}
		if own := r.App == "shop"; own != strings.Contains(r.Expr, "[2m30s]") || own && r.For != mayfly.Duration(time.Minute) {
			t.Errorf("app %q: for %s: %s", r.App, r.For, r.Expr)
		}
	}
	w.pass(3*time.Minute, func() { w.calls(20, 5, mayfly.OutcomeThrottled, time.Millisecond) })
	w.pass(time.Minute, w.quiet)
	w.expect("firing throttles")
	w.pass(5*time.Minute, w.quiet)
	w.expect("resolved throttles")
}

func TestReplay(t *testing.T) {
	w := newWorld(t)
	begin := w.now
	w.pass(20*time.Minute, w.quiet)
	w.pass(10*time.Minute, func() { w.calls(20, 2, mayfly.OutcomeError, time.Millisecond) })
	w.pass(40*time.Minute, w.quiet)
	r, err := w.alerts.ruleToReplay("error-rate", "", "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.alerts.Replay(t.Context(), r, begin, w.now, time.Minute)
	if err != nil || len(got) != 1 || got[0].Labels["function"] != "pay" {
		t.Fatalf("%+v %v", got, err)
	}
	if after := got[0].Fired.Sub(begin); after < 20*time.Minute || after > 26*time.Minute || got[0].Resolved.IsZero() {
		t.Errorf("fired after %s: %+v", after, got[0])
	}
	if _, err := w.alerts.Replay(t.Context(), r, begin, begin, time.Minute); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("an empty stretch: %v", err)
	}
}

// smtpServer takes mails over a real socket.
type smtpServer struct {
	addr  string
	mu    sync.Mutex
	mails []string // guarded by mu
}

func (s *smtpServer) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	mails := s.mails
	s.mails = nil
	return mails
}

func newSMTP(t *testing.T) *smtpServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &smtpServer{addr: l.Addr().String()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { s.converse(c) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return s
}

func (s *smtpServer) converse(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	say := func(text string) { fmt.Fprintf(c, "%s\r\n", text) }
	say("220 test")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(line + " x")[0]); verb {
		case "DATA":
			say("354 go on")
			var mail strings.Builder
			for {
				l, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				mail.WriteString(l)
			}
			s.mu.Lock()
			s.mails = append(s.mails, mail.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func TestMailAndSlack(t *testing.T) {
	w := newWorld(t)
	posts := make(chan map[string]any, 10)
	slack := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		posts <- body
	}))
	defer slack.Close()
	for _, r := range []Receiver{
		{Name: "chat", Kind: "slack", URL: slack.URL + "/services/secret"},
	} {
		if err := w.alerts.SetReceiver(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(10*time.Minute, func() { w.gauges["mayfly_queue_oldest_seconds|shop|jobs"] = 900 })
	mail := strings.Join(w.mails.take(), "\n")
	for _, want := range []string{"Subject: [firing:1] shop: queue-age\r\n", "To: ops@example.com\r\n", "FIRING  queue-age", "queue jobs waits for 15m0s"} {
		if !strings.Contains(mail, want) {
			t.Errorf("the mail lacks %q:\n%s", want, mail)
		}
	}
	if post := <-posts; post["text"] != "[firing:1] shop: queue-age" {
		t.Errorf("slack %v", post)
	}
	w.alerts.mu.Lock()
	shown := w.alerts.settings.Receivers["chat"].shown()
	w.alerts.mu.Unlock()
	if strings.Contains(shown.URL, "services") {
		t.Errorf("the secret is shown: %s", shown.URL)
	}
	if err := w.alerts.SetReceiver(t.Context(), shown); err != nil {
		t.Fatal(err)
	}
	if got := w.alerts.receivers()["chat"].URL; !strings.HasSuffix(got, "/services/secret") {
		t.Errorf("the secret is lost: %s", got)
	}
	for _, bad := range []Receiver{{Name: "X"}, {Name: "x", Kind: "pigeon"}, {Name: "x", Kind: "webhook", URL: "x"}, {Name: "x", Kind: "email", SMTP: "h:25", From: "nobody"}, {Name: "x", Kind: "email", SMTP: "h", From: "a@b.c", To: []string{"a@b.c"}}} {
		if err := w.alerts.SetReceiver(t.Context(), bad); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestNoHeaderCanBeInjected(t *testing.T) {
	mail := string(message5322(&Receiver{From: "a@b.c", To: []string{"d@e.f"}}, "x\r\nBcc: evil@example.com", "body"))
	head, _, _ := strings.Cut(mail, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if strings.HasPrefix(line, "Bcc") {
			t.Error(mail)
		}
	}
}
