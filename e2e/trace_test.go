package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// traceManifest is a request's way through two languages, a queue, a failure and
// two stores.
const traceManifest = `
app: shop
kv: {done: {}}
buckets: {receipts: {}}
queues: {jobs: {attempts: 3, backoff: 10ms..20ms}}
functions:
  front:
    runtime: node
    source: ./front
    handler: index.handler
    allow: [send queue/jobs]
    on: [{http: "POST /orders/{id}"}]
  work:
    runtime: python
    source: ./work
    handler: app.handler
    allow: [write kv/done, write bucket/receipts]
    on: [{queue: jobs}]
  filed:
    runtime: python
    source: ./work
    handler: app.filed
    on: [{bucket: receipts, events: [created]}]
  noted:
    runtime: python
    source: ./work
    handler: app.noted
    on: [{kv: done, events: [put]}]
`

// The code knows nothing of traces: it sends what anybody would.
const traceFront = `
exports.handler = async (event) => {
  console.log(JSON.stringify({level: "info", message: "order accepted", order: event.pathParameters.id}));
  const url = process.env.MAYFLY_ENDPOINT + "/v1/apps/shop/queues/jobs/messages";
  const res = await fetch(url, {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({body: {order: event.pathParameters.id}})});
  return {statusCode: res.ok ? 202 : 500, body: "sent"};
};
`

// s3Put is an object store's client for handlers in Python.
const s3Put = `
import datetime, hashlib, hmac, json, os, urllib.request

def s3_put(bucket, key, body):
    """An S3 client in twenty lines: signature version 4 of one PUT."""
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    host, path = endpoint.split("//")[1], f"/{bucket}/{key}"
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day, region = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d"), os.environ["AWS_REGION"]
    digest = hashlib.sha256(body).hexdigest()
    signed = "host;x-amz-content-sha256;x-amz-date"
    request = f"PUT\n{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n\n{signed}\n{digest}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key_ = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (day, region, "s3", "aws4_request"):
        key_ = hmac.new(key_, part.encode(), hashlib.sha256).digest()
    sig = hmac.new(key_, text.encode(), hashlib.sha256).hexdigest()
    auth = f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, SignedHeaders={signed}, Signature={sig}"
    req = urllib.request.Request(endpoint + path, body, {"Authorization": auth, "x-amz-date": stamp, "x-amz-content-sha256": digest}, method="PUT")
    urllib.request.urlopen(req).read()
`

const traceWork = s3Put + `
def handler(event, context):
    for record in event["Records"]:
        order = json.loads(record["body"])["order"]
        attempt = int(record["attributes"]["ApproximateReceiveCount"])
        print(f"order {order}, attempt {attempt}")
        if attempt == 1:
            raise ValueError("not at the first attempt")
        url = os.environ["MAYFLY_ENDPOINT"] + "/v1/apps/shop/kv/done/keys/" + order
        urllib.request.urlopen(urllib.request.Request(url, b'{"done": true}', {"Content-Type": "application/json"}, method="PUT")).read()
        s3_put("receipts", order + ".txt", b"paid")

def filed(event, context):
    print("filed " + event["Records"][0]["s3"]["object"]["key"])

def noted(event, context):
    print("noted " + event["Records"][0]["key"])
`

// TestOneTrace follows one request through gateway, Node, queue, a failed and a
// second attempt in Python, KV and bucket, and the functions that these two call:
// one trace with every hop, and the lines of each call in it.
func TestOneTrace(t *testing.T) {
	needs(t, "node", "python3")
	n := start(t, t.TempDir(), "dev", app(t, map[string]string{"mayfly.yaml": traceManifest, "front/index.js": traceFront, "work/app.py": traceWork}))
	const id = "0af7651916cd43dd8448eb211c80319c"
	if r := n.call("POST", "/orders/o7", "", "traceparent", "00-"+id+"-b7ad6b7169203331-01"); r.status != 202 {
		t.Fatalf("order: %d %s", r.status, r.body)
	}
	v := n.trace(id, func(v *telemetry.TraceView) bool {
		return len(v.Invocations) == 5 && len(v.Logs) >= 6 && has(v, "write bucket/receipts")
	})
	tree := treeOf(v)
	t.Logf("the trace:\n%s", tree)
	for _, want := range []string{ // each hop with its parents, from the request on
		"POST /orders/{id}",
		"POST /orders/{id} > front",
		"POST /orders/{id} > front > queue",
		"POST /orders/{id} > front > call",
		"POST /orders/{id} > front > send queue/jobs",
		"POST /orders/{id} > front > send queue/jobs > receive queue/jobs",
		"POST /orders/{id} > front > send queue/jobs > receive queue/jobs > work (attempt 1, failed)",
		"POST /orders/{id} > front > send queue/jobs > receive queue/jobs > work (attempt 2)",
		"POST /orders/{id} > front > send queue/jobs > receive queue/jobs > work (attempt 2) > put kv/done",
		"POST /orders/{id} > front > send queue/jobs > receive queue/jobs > work (attempt 2) > write bucket/receipts",
		"POST /orders/{id} > front > send queue/jobs > receive queue/jobs > work (attempt 2) > write bucket/receipts > receive function/filed > filed",
		"POST /orders/{id} > front > send queue/jobs > receive queue/jobs > work (attempt 2) > put kv/done > receive function/noted > noted",
	} {
		if !slices.Contains(strings.Split(tree, "\n"), want) {
			t.Errorf("the trace lacks %q", want)
		}
	}
	for _, want := range []string{"front: order accepted", "work: order o7, attempt 1", "work: [ERROR] ValueError: not at the first attempt\nTraceback", "work: order o7, attempt 2", "filed: filed o7.txt", "noted: noted o7"} {
		if !slices.ContainsFunc(v.Logs, func(l telemetry.LiftedLine) bool {
			text := l.Text
			if l.Message != "" {
				text = l.Message
			}
			return l.TraceID == id && l.SpanID != "" && l.Invocation != "" && strings.HasPrefix(string(l.Function)+": "+text, want)
		}) {
			t.Errorf("the trace lacks the line %q", want)
		}
	}
	out, code := n.cli("trace", id)
	for _, want := range []string{"send queue/jobs", "put kv/done", "attempt 2", "order accepted"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("mayfly trace: exit %d, without %q:\n%s", code, want, out)
		}
	}
}

// TestBatchIsLinked sends three messages in traces of their own, which one call
// takes as a batch: each trace shows who took its message.
func TestBatchIsLinked(t *testing.T) {
	needs(t, "python3")
	n := start(t, t.TempDir(), "dev", app(t, map[string]string{"mayfly.yaml": `
app: shop
queues: {jobs: {}}
functions:
  work:
    runtime: python
    source: ./work
    handler: app.handler
    on: [{queue: jobs, batch: 3, window: 30s}]
`, "work/app.py": "def handler(event, context):\n    print(len(event['Records']))\n"}))
	ids := []string{strings.Repeat("a1", 16), strings.Repeat("b2", 16), strings.Repeat("c3", 16)}
	for _, id := range ids {
		req, err := http.NewRequestWithContext(t.Context(), "POST", n.API+"/v1/apps/shop/queues/jobs/messages", strings.NewReader(`{"body":1}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+n.Token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("traceparent", "00-"+id+"-b7ad6b7169203331-01")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	took, linked := 0, 0
	for i, id := range ids {
		// The call is in the trace of the first message.
		v := n.trace(id, func(v *telemetry.TraceView) bool {
			return has(v, "receive queue/jobs") && (i > 0 || len(v.Invocations) > 0)
		})
		took += len(v.Invocations)
		for _, s := range v.Spans {
			linked += len(s.Links)
		}
	}
	if took != 1 || linked != 4 { // the call's span links to two, and two link to it
		t.Errorf("%d calls and %d links, want 1 and 4", took, linked)
	}
}

// trace waits until a trace holds what is wanted.
func (n *node) trace(id string, whole func(*telemetry.TraceView) bool) *telemetry.TraceView {
	n.t.Helper()
	var v telemetry.TraceView
	defer func() {
		if n.t.Failed() {
			n.t.Logf("trace %s has:\n%s", id, treeOf(&v))
		}
	}()
	eventually(n.t, "trace "+id+" is whole", func() bool {
		v = telemetry.TraceView{}
		return n.client().Do(n.t.Context(), "GET", "/v1/traces/"+id, nil, &v) == nil && whole(&v)
	})
	return &v
}

func has(v *telemetry.TraceView, span string) bool {
	return slices.ContainsFunc(v.Spans, func(s mayfly.Span) bool { return s.Name == span })
}

// treeOf writes each span with its ancestors' names, by start.
func treeOf(v *telemetry.TraceView) string {
	byID := map[string]*mayfly.Span{}
	for i := range v.Spans {
		byID[v.Spans[i].Trace.Span] = &v.Spans[i]
	}
	name := func(s *mayfly.Span) string {
		attempt, failed := s.Attributes["mayfly.attempt"], s.Error != ""
		if s.Attributes["faas.invocation_id"] == "" || s.Attributes["faas.trigger"] == "http" || attempt == "1" && !failed {
			return s.Name
		}
		if failed {
			attempt += ", failed"
		}
		return fmt.Sprintf("%s (attempt %s)", s.Name, attempt)
	}
	var lines []string
	for i := range v.Spans {
		s := &v.Spans[i]
		path := name(s)
		for p := byID[s.Parent]; p != nil; p = byID[p.Parent] {
			path = name(p) + " > " + path
		}
		lines = append(lines, path)
	}
	return strings.Join(lines, "\n")
}
