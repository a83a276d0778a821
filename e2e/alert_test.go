package e2e

import (
	"bufio"
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
)

const alertManifest = `
app: shop
queues: {jobs: {attempts: 1}}
functions:
  pay:
    runtime: python
    source: ./pay
    handler: app.handler
    on: [{queue: jobs}]
alerts:
  failing: {expr: 'sum(increase(faas_errors_total[10s])) > 0', severity: info, summary: 'calls of {{app}} fail'}
`

const alertCode = `
def handler(event, context):
    if event.get("fail") or "Records" in event:
        raise ValueError("declined")
    return "ok"
`

// TestAlerts lets calls fail until the standing rules tell a webhook and a
// mailbox, each once, and tells again when it is over. Then a budget is spent:
// that is told too, and calls are refused.
func TestAlerts(t *testing.T) {
	needs(t, "python3")
	t.Parallel() // it mostly waits
	dir := app(t, map[string]string{"mayfly.yaml": alertManifest, "pay/app.py": alertCode})
	n := start(t, t.TempDir(), "dev", dir, "--sample", "1s")
	told := &told{}
	hook, mailbox := newHook(t, told), newMailbox(t, told)
	for _, args := range [][]string{
		{"alert", "receiver", "set", "ops", "--kind", "webhook", "--url", hook, "--header", "X-Key=k1"},
		{"alert", "receiver", "set", "mail", "--kind", "email", "--smtp", mailbox, "--from", "mayfly@example.com", "--to", "ops@example.com"},
		{"alert", "receiver", "test", "ops"},
		{"alert", "receiver", "test", "mail"},
	} {
		if out, code := n.cli(args...); code != 0 {
			t.Fatalf("mayfly %s: exit %d\n%s", strings.Join(args, " "), code, out)
		}
	}
	told.within(t, "webhook firing test", "mail firing test")

	if out, code := n.cli("queue", "send", "jobs", `{"a":1}`); code != 0 {
		t.Fatalf("send: exit %d\n%s", code, out)
	}
	for i := range 40 {
		n.direct("shop", "pay", fmt.Sprintf(`{"fail":%t}`, i%2 == 0))
	}
	told.within(t,
		"webhook firing error-rate", "mail firing error-rate", "webhook firing failing", "mail firing failing",
		"webhook firing dead-letters", "mail firing dead-letters",
		"webhook resolved failing", "mail resolved failing")
	if out, code := n.cli("alert"); code != 0 || !strings.Contains(out, "error-rate") || !strings.Contains(out, "firing") {
		t.Errorf("mayfly alert: exit %d\n%s", code, out)
	}

	write(t, filepath.Join(dir, "mayfly.yaml"), alertManifest+"budget: {amount: 0.000001, action: stop, alert_at: [1]}\n")
	eventually(t, "calls are refused", func() bool {
		r := n.direct("shop", "pay", "{}")
		return r.status == http.StatusTooManyRequests && strings.Contains(r.body, "budget")
	})
	told.within(t, "webhook firing budget-100", "mail firing budget-100")
	if out, _ := n.cli("cost"); !strings.Contains(out, "pay") {
		t.Errorf("mayfly cost:\n%s", out)
	}
	write(t, filepath.Join(dir, "mayfly.yaml"), alertManifest)
	eventually(t, "calls go on", func() bool { return n.direct("shop", "pay", "{}").status == http.StatusOK })
	told.within(t, "webhook resolved budget-100", "mail resolved budget-100")
	told.once(t)
}

// told is what the receivers were told: "webhook firing RULE".
type told struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (o *told) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, what)
}

func (o *told) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.list)
}

// within waits until all of it was told.
func (o *told) within(t *testing.T, want ...string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("told: %q", o.all())
		}
	}()
	missing := want
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		all := o.all()
		if missing = slices.DeleteFunc(missing, func(w string) bool { return slices.Contains(all, w) }); len(missing) == 0 {
			return
		}
	}
	t.Fatalf("not told within three minutes: %q", missing)
}

// once fails where anything was told twice.
func (o *told) once(t *testing.T) {
	t.Helper()
	counts := map[string]int{}
	for _, what := range o.all() {
		if counts[what]++; counts[what] == 2 {
			t.Errorf("%q was told twice: %q", what, o.all())
		}
	}
}

// newHook is a receiver of webhooks.
func newHook(t *testing.T, o *told) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Alerts []struct {
				Status string
				Labels map[string]string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("X-Key") != "k1" {
			t.Errorf("webhook: %v, header %q", err, r.Header.Get("X-Key"))
		}
		for _, al := range body.Alerts {
			o.note("webhook " + al.Status + " " + al.Labels["alertname"])
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// newMailbox is an SMTP server that notes the alerts in the mails it takes.
func newMailbox(t *testing.T, o *told) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { takeMail(c, o) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return l.Addr().String()
}

func takeMail(c net.Conn, o *told) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	say := func(text string) { fmt.Fprintf(c, "%s\r\n", text) }
	say("220 test")
	in, data := bufio.NewScanner(c), false
	for in.Scan() {
		line := in.Text()
		switch {
		case data && line == ".":
			data = false
			say("250 taken")
		case data:
			state, rest, _ := strings.Cut(line, "  ")
			if rule, _, ok := strings.Cut(rest, " ("); ok && (state == "FIRING" || state == "RESOLVED") {
				o.note("mail " + strings.ToLower(state) + " " + rule)
			}
		case strings.HasPrefix(line, "DATA"):
			data = true
			say("354 go on")
		case strings.HasPrefix(line, "QUIT"):
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
