package queue

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

// grants lets a caller send to jobs only.
type grants struct{}

func (grants) Authorize(_ context.Context, who mayfly.Caller, app mayfly.AppName, verb, kind, name string) error {
	if who.Kind == mayfly.CallerAdmin || verb == "send" && kind == "queue" && name == "jobs" && app == who.App {
		return nil
	}
	return mayfly.Errorf(mayfly.Denied, "", "not allowed: %s %s/%s", verb, kind, name)
}

func TestHTTP(t *testing.T) {
	r := start(t, "", triggertest.Deploy(without(app(&mayfly.Queue{}, mayfly.Trigger{}))), nil)
	do := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerAdmin}, r.Register)
	const base = "/v1/apps/app/queues"
	status, body := do("POST", base+"/jobs/messages", `{"body": {"to": "x"}, "attributes": {"a": "b"}}`, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if status != 200 {
		t.Fatal(status, body)
	}
	if status, body = do("POST", base+"/jobs/messages", `{"messages": [{"body": "two"}, {"body": 3, "delay": "1h"}]}`); status != 200 {
		t.Fatal(status, body)
	}
	if status, body = do("GET", base, ""); status != 200 || !strings.Contains(body, `"messages":3,"ready":2`) {
		t.Error(status, body)
	}
	status, body = do("GET", base+"/jobs/messages", "")
	if status != 200 || !strings.Contains(body, `"why":"no function receives`) || !strings.Contains(body, `"body":{"to":"x"}`) || !strings.Contains(body, `"state":"delayed"`) {
		t.Error(status, body)
	}
	status, body = do("POST", base+"/jobs/receive", `{"max": 1, "visibility": "1h"}`)
	var got struct{ Messages []Received }
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || len(got.Messages) != 1 {
		t.Fatal(status, body, err)
	}
	if tp := got.Messages[0].TraceParent; !strings.HasPrefix(tp, "00-0af7651916cd43dd8448eb211c80319c-") {
		t.Error(tp)
	}
	if status, body = do("POST", base+"/jobs/extend", `{"receipts": ["`+got.Messages[0].Receipt+`"]}`); status != 200 || !strings.Contains(body, `"ok":true`) {
		t.Error(status, body)
	}
	if status, body = do("GET", base+"/jobs/messages/"+got.Messages[0].ID, ""); status != 200 || !strings.Contains(body, "admin has it") {
		t.Error(status, body)
	}
	if status, body = do("POST", base+"/jobs/acknowledge", `{"receipts": ["`+got.Messages[0].Receipt+`"]}`); status != 200 || !strings.Contains(body, `"ok":true`) {
		t.Error(status, body)
	}
	if status, body = do("POST", base+"/jobs/pause", ``); status != 200 || !strings.Contains(body, `"paused":true`) {
		t.Error(status, body)
	}
	if status, body = do("DELETE", base+"/jobs/messages", ``); status != 200 || !strings.Contains(body, `"removed":2`) {
		t.Error(status, body)
	}
	for path, want := range map[string]int{"/gone": 404, "/jobs/messages/x": 404} {
		if status, body = do("GET", base+path, ""); status != want {
			t.Error(path, status, body)
		}
	}
	if status, body = do("POST", base+"/jobs/messages", `{"body": 1, "delay": "soon"}`); status != 400 {
		t.Error(status, body)
	}
}

func TestHTTPAuthorizes(t *testing.T) {
	r := start(t, "", triggertest.Deploy(without(app(&mayfly.Queue{}, mayfly.Trigger{}))), nil)
	r.cfg.Authorize = grants{}
	do := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerFunction, App: "app", Function: "fn"}, r.Register)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1/apps/app/queues/jobs/messages", `{"body": 1}`, 200},
		{"POST", "/v1/apps/app/queues/other/messages", `{"body": 1}`, 403},
		{"POST", "/v1/apps/elsewhere/queues/jobs/messages", `{"body": 1}`, 403},
		{"GET", "/v1/apps/app/queues/jobs", ``, 403},
		{"GET", "/v1/apps/app/queues/jobs/messages", ``, 403},
		{"DELETE", "/v1/apps/app/queues/jobs/messages", ``, 403},
		{"DELETE", "/v1/apps/app/queues/jobs/messages/x", ``, 403},
		{"POST", "/v1/apps/app/queues/jobs/receive", `{}`, 403},
		{"POST", "/v1/apps/app/queues/jobs/acknowledge", `{"receipts":["x"]}`, 403},
		{"POST", "/v1/apps/app/queues/jobs/release", `{"receipts":["x"]}`, 403},
		{"POST", "/v1/apps/app/queues/jobs/extend", `{"receipts":["x"]}`, 403},
		{"POST", "/v1/apps/app/queues/jobs/pause", ``, 403},
		{"POST", "/v1/apps/app/queues/jobs/resume", ``, 403},
	} {
		if status, body := do(c.method, c.path, c.body, "X-Mayfly-Hops: 4"); status != c.want {
			t.Errorf("%s %s: %d %s; want %d", c.method, c.path, status, body, c.want)
		}
	}
	views, err := r.Peek(context.Background(), "app", "jobs", 1)
	if err != nil || len(views) != 1 {
		t.Fatal(views, err)
	}
	w, err := r.cfg.Store.Find(context.Background(), views[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	var m stored
	if err := json.Unmarshal(w.Body, &m); err != nil || m.Hops != 5 || m.Sender != "function app/fn" {
		t.Errorf("%+v, %v", m, err)
	}
}
