package dead

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is Letters whose revived items and sent messages are noted as texts.
type desk struct {
	*triggertest.Rig
	t    *testing.T
	do   triggertest.Do
	went []string
}

func (d *desk) SendTo(_ context.Context, app mayfly.AppName, to string, m *mayfly.Message) error {
	if strings.HasPrefix(to, "cupboard/") {
		return mayfly.Errorf(mayfly.Invalid, "send", "%q is not a destination", to)
	}
	d.went = append(d.went, fmt.Sprintf("%s > %s %s", app, to, m.Body))
	return nil
}

func (d *desk) revive(_ context.Context, letter *event.DeadLetter, to string) error {
	d.went = append(d.went, fmt.Sprintf("%s %s %s", letter.Source, letter.Error, to))
	return nil
}

// Authorize allows the tester all but to send to the queue "closed".
func (d *desk) Authorize(_ context.Context, _ mayfly.Caller, _ mayfly.AppName, verb, kind, name string) error {
	if verb+" "+kind+"/"+name == "send queue/closed" {
		return mayfly.Errorf(mayfly.Denied, "authorize", "no")
	}
	return nil
}

func open(t *testing.T) *desk {
	d := &desk{Rig: triggertest.New(t, "", triggertest.Deploy()), t: t}
	letters := New(Config{Dead: d.Dead, Sender: d, Authorize: d, Revive: map[string]Revive{"queue": d.revive, "function": d.revive, "topic": d.revive}})
	d.do = triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerAdmin}, letters.Register)
	return d
}

func (d *desk) add(app mayfly.AppName, source, reason, problem, body string) string {
	d.t.Helper()
	letter := &event.DeadLetter{App: app, Source: source, Reason: reason, Error: problem, Body: json.RawMessage(body)}
	if err := d.Dead.Add(d.t.Context(), letter); err != nil {
		d.t.Fatal(err)
	}
	return letter.ID
}

// redriven returns what went where, sorted, and forgets it.
func (d *desk) redriven() string {
	slices.Sort(d.went)
	out := strings.Join(d.went, "; ")
	d.went = nil
	return out
}

func (d *desk) count(method, path, body string) int {
	d.t.Helper()
	status, reply := d.do(method, path, body)
	var out struct{ Count int }
	if err := json.Unmarshal([]byte(reply), &out); err != nil || status != 200 {
		d.t.Fatal(status, reply)
	}
	return out.Count
}

// A redrive takes what its query chooses, of one app, and nothing else.
func TestRedriveChooses(t *testing.T) {
	d := open(t)
	d.add("app", "queue/a", event.DeadAttempts, "refused", `{"body":1}`)
	d.add("app", "queue/a", event.DeadAttempts, "broken", `{"body":{"n":2}}`)
	d.add("app", "queue/b", event.DeadExpired, "late", `{"body":3}`)
	d.add("app", "function/f", event.DeadAttempts, "threw", `{"event":4}`)
	d.add("other", "queue/a", event.DeadAttempts, "foreign", `{"body":5}`)
	const path = "/v1/apps/app/dead-letters/redrive"
	for _, c := range []struct {
		query, body string
		count       int
		went        string
	}{
		{"?source=queue/none", `{}`, 0, ""},
		{"?source=queue/a&text=" + url.QueryEscape(`"n":2`), `{}`, 1, "queue/a broken "},
		{"?reason=expired", `{"to":"queue/c"}`, 1, "queue/b late c"},
		{"?source=queue/a&limit=1", `{"to":"function/mend"}`, 1, "app > function/mend 1"},
		{"", `{}`, 1, "function/f threw "},
		{"", `{}`, 0, ""},
	} {
		if n := d.count("POST", path+c.query, c.body); n != c.count {
			t.Errorf("%s: %d", c.query, n)
		}
		if went := d.redriven(); went != c.went {
			t.Errorf("%s %s: %q; want %q", c.query, c.body, went, c.went)
		}
	}
	if n := d.Dead.Count("other", "queue/a"); n != 1 {
		t.Errorf("another app has %d dead letters left", n)
	}
}

func TestRedriveOne(t *testing.T) {
	d := open(t)
	id := d.add("app", "topic/t", event.DeadAttempts, "threw", `{"topic":"t","event":{"id":"e"}}`)
	d.add("app", "topic/t", event.DeadAttempts, "another", `{"topic":"t","event":{}}`)
	foreign := d.add("other", "topic/t", event.DeadAttempts, "foreign", `{}`)
	stream := d.add("app", "stream/t", event.DeadAttempts, "threw", `{"event":{}}`)
	const path = "/v1/apps/app/dead-letters/redrive"
	for body, want := range map[string]int{
		`{"id":"` + foreign + `"}`:                           404,
		`{"id":"00000000-0001-8000-8000-000000000000"}`:      404,
		`{"id":"` + id + `","to":"queue/closed"}`:            403,
		`{"id":"` + id + `","to":"cupboard/x"}`:              400,
		`{"id":"` + stream + `"}`:                            400, // nothing revives it here
		`{"id":"` + stream + `","to":"queue/open","x":true}`: 422,
	} {
		if status, reply := d.do("POST", path, body); status != want {
			t.Error(body, status, reply)
		}
	}
	if went := d.redriven(); went != "" {
		t.Error(went)
	}
	if n := d.count("POST", path, `{"id":"`+id+`","to":"queue/open"}`); n != 1 {
		t.Error(n)
	}
	if went := d.redriven(); went != `app > queue/open {"id":"e"}` {
		t.Error(went)
	}
	if status, _ := d.do("GET", "/v1/apps/app/dead-letters/"+id, ""); status != 404 {
		t.Errorf("it is there still: %d", status)
	}
}

// All are more than a list shows at once.
func TestAllOfMany(t *testing.T) {
	d := open(t)
	for i := range 300 {
		d.add("app", "queue/a", event.DeadAttempts, "", fmt.Sprintf(`{"body":%d}`, i))
	}
	status, reply := d.do("GET", "/v1/apps/app/dead-letters?source=queue/a", "")
	if status != 200 || strings.Count(reply, `"died"`) != 100 {
		t.Error(status, strings.Count(reply, `"died"`))
	}
	if n := d.count("POST", "/v1/apps/app/dead-letters/redrive?source=queue/a&limit=5", `{}`); n != 5 {
		t.Errorf("%d redriven", n)
	}
	if n := d.count("POST", "/v1/apps/app/dead-letters/redrive?source=queue/a", `{"to":"queue/b"}`); n != 295 || len(d.went) != 300 {
		t.Errorf("%d redriven, %d went", n, len(d.went))
	}
	d.add("app", "queue/a", event.DeadAttempts, "", `{"body":1}`)
	d.add("app", "queue/b", event.DeadAttempts, "", `{"body":1}`)
	if n := d.count("POST", "/v1/apps/app/dead-letters/redrive?source=queue/none", ""); n != 0 { // no body
		t.Errorf("%d redriven", n)
	}
	if n := d.count("DELETE", "/v1/apps/app/dead-letters?source=queue/a", ""); n != 1 || d.Dead.Count("app", "queue/b") != 1 {
		t.Errorf("%d purged", n)
	}
}
