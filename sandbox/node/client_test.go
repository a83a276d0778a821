package node_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/node"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// platform answers as the platform's API does, and keeps what was asked.
type platform struct {
	mu      sync.Mutex
	asked   []string          // guarded by mu; "METHOD path body"
	headers []http.Header     // guarded by mu
	store   map[string]string // guarded by mu
	conns   map[string]bool   // guarded by mu
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	p.headers = append(p.headers, r.Header)
	p.conns[r.RemoteAddr] = true
	reply := func(v any) { json.NewEncoder(w).Encode(v) }
	problem := func(code mayfly.Code, detail string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(code.HTTPStatus())
		reply(map[string]any{"code": code, "detail": detail, "status": code.HTTPStatus()})
	}
	key, isKey := strings.CutPrefix(r.URL.Path, "/v1/apps/app/kv/s/keys/")
	switch {
	case strings.HasSuffix(r.URL.Path, "/queues/jobs/messages"):
		reply(map[string]any{"messages": []map[string]string{{"id": "m1"}, {"id": "m2"}}})
	case strings.HasSuffix(r.URL.Path, "/topics/t/events"):
		reply(map[string]any{"events": []any{}})
	case strings.HasSuffix(r.URL.Path, "/secrets/KEY/value"):
		reply(map[string]any{"version": 1, "value": "hidden"})
	case strings.HasSuffix(r.URL.Path, "/functions/other/invoke"):
		reply(map[string]any{"id": "call", "got": json.RawMessage(body)})
	case strings.HasSuffix(r.URL.Path, "/functions/bad/invoke"):
		w.WriteHeader(502)
		reply(mayfly.FunctionError{Type: "E", Message: "m", Trace: []string{"at"}})
	case strings.HasSuffix(r.URL.Path, "/increment/n"):
		reply(map[string]any{"revision": 1, "found": false, "value": 5})
	case strings.HasSuffix(r.URL.Path, "/kv/s/keys"):
		page := map[string]any{"keys": []map[string]any{{"key": "a", "revision": 1, "value": 1}}, "next": "a"}
		if r.URL.Query().Get("after") != "" {
			page = map[string]any{"keys": []map[string]any{{"key": "b", "revision": 2, "base64": "AP8="}}}
		}
		reply(page)
	case isKey && r.Method == "GET":
		v, ok := p.store[key]
		if !ok {
			problem(mayfly.NotFound, "store s has no such key")
			return
		}
		kind, data, _ := strings.Cut(v, "|")
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Mayfly-Revision", "7")
		io.WriteString(w, data)
	case isKey && r.Method == "PUT" && r.Header.Get("If-Match") == `"3"`:
		problem(mayfly.Conflict, "another revision")
	case isKey && r.Method == "PUT":
		p.store[key] = r.Header.Get("Content-Type") + "|" + string(body)
		reply(map[string]any{"revision": 8, "found": false})
	case isKey:
		reply(map[string]any{"revision": 9, "found": true})
	default:
		problem(mayfly.NotFound, "app app declares no store; see the manifest")
	}
}

// serve is a driver whose cells have a door to p.
func serve(t *testing.T, walls string, p *platform) *node.Driver {
	t.Helper()
	p.store, p.conns = map[string]string{}, map[string]bool{}
	door := process.Door{Port: 9002, Env: []string{"MAYFLY_ENDPOINT=http://{addr}"}, Serve: func(l net.Listener, who mayfly.Caller) {
		s := httptest.NewUnstartedServer(p)
		s.Listener.Close()
		s.Listener = l
		_ = s.Config.Serve(l)
	}}
	l, err := process.New(process.Config{Dir: filepath.Join(t.TempDir(), "cells"), Node: "node-client", Walls: walls, Doors: []process.Door{door}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if walls != process.WallsNone && l.Tier().Name == sandbox.TierPlain {
		t.Skip("this machine has no walls")
	}
	return driverOver(t, l, -1)
}

func TestClient(t *testing.T) {
	for _, walls := range []string{process.WallsNone, process.WallsAuto} {
		t.Run(walls, func(t *testing.T) {
			p := &platform{}
			d := serve(t, walls, p)
			spec := complete(bundle(t, "app.handler", map[string]string{"app.mjs": clientCode}))
			if err := d.Prepare(within(t), spec); err != nil {
				t.Fatal(err)
			}
			inst, err := d.Start(within(t), spec, &sandboxtest.Recorder{})
			if err != nil {
				t.Fatal(err)
			}
			defer end(inst)
			trace := mayfly.NewTrace()
			reply, err := inst.Call(within(t), &sandbox.Call{ID: "a", Trace: trace, Hops: 3, Event: []byte("{}")})
			if err != nil {
				t.Fatal(err)
			}
			if string(reply.Payload) != clientWant {
				t.Errorf("the client returned\n%s, want\n%s", reply.Payload, clientWant)
			}
			p.check(t, trace)
		})
	}
}

// check compares what the platform was asked.
func (p *platform) check(t *testing.T, trace mayfly.Trace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := strings.Join(p.asked, "\n")
	for _, want := range clientAsked {
		if !strings.Contains(got, want) {
			t.Errorf("nobody asked %s; asked was\n%s", want, got)
		}
	}
	for _, h := range p.headers {
		if h.Get("Traceparent") != trace.Header() || h.Get("X-Mayfly-Hops") != "3" {
			t.Errorf("a request has the headers %v", h)
			break
		}
	}
	if len(p.conns) != 1 {
		t.Errorf("%d connections were made, want 1", len(p.conns))
	}
}

var clientAsked = []string{
	`POST /v1/apps/app/queues/jobs/messages {"body":{"n":1},"key":"k","delay":"30s"}`,
	`POST /v1/apps/app/queues/jobs/messages {"messages":[{"body":1},{"body":2}]}`,
	`POST /v1/apps/app/topics/t/events {`,
	`"type":"t"`, `"source":"/app/fn"`, `"subject":"s"`, `"id":"e1"`, `"data":{"d":1}`,
	`PUT /v1/apps/app/kv/s/keys/a%2Fb%20c?ttl=1h {"v":1}`,
	`GET /v1/apps/app/kv/s/keys/a%2Fb%20c `,
	"PUT /v1/apps/app/kv/s/keys/raw \x00\xff",
	`DELETE /v1/apps/app/kv/s/keys/raw `,
	`POST /v1/apps/app/kv/s/increment/n?by=2 `,
	`POST /v1/apps/app/functions/other/invoke {"x":1}`,
	`POST /v1/apps/app/functions/other/invoke?async=true {"x":1}`,
}

const clientCode = `
import { createRequire } from 'module';
import * as mayfly from 'mayfly';
const same = createRequire(import.meta.url)('mayfly').queue === mayfly.queue;
const failure = (p) => p.catch((e) => [e.name, e.code, e.message]);
const all = async (it) => { const list = []; for await (const x of it) list.push(x); return list };
export const handler = async () => {
	if (!same) throw new Error('require and import differ');
	const q = mayfly.queue('jobs'), kv = mayfly.kv('s');
	return [
		await q.send({ n: 1 }, { key: 'k', delay: '30s' }), await q.sendAll([1, 2]),
		await mayfly.topic('t').publish({ d: 1 }, { subject: 's', id: 'e1' }),
		await kv.get('none', 'd'), await kv.put('a/b c', { v: 1 }, { ttl: '1h' }), await kv.get('a/b c'), (await kv.entry('a/b c')).revision,
		await kv.put('raw', Buffer.from([0, 255])), [...(await kv.get('raw'))], await kv.delete('raw'), await kv.increment('n', 2),
		await all(kv.keys()), (await all(kv.entries())).map((e) => [e.key, Buffer.isBuffer(e.value) ? [...e.value] : e.value]),
		await failure(kv.put('a', 1, { revision: 3 })), await failure(mayfly.kv('nope').get('a')),
		await mayfly.secret('KEY'), (await mayfly.invoke('other', { x: 1 })).got, await mayfly.invoke('other', { x: 1 }, { wait: false }), await failure(mayfly.invoke('bad')),
	];
}`

const clientWant = `["m1",["m1","m2"],"e1","d",8,{"v":1},7,8,[0,255],true,5,["a","b"],[["a",1],["b",[0,255]]],` +
	`["MayflyError","conflict","another revision"],["MayflyError","not_found","app app declares no store; see the manifest"],` +
	`"hidden",{"x":1},"call",["FunctionError","function_failed","E: m"]]`
