package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// kvApp is a store and functions that time their own requests to it, in
// microseconds. node-many takes 16 calls at once.
const kvApp = `app: kv
functions:
  node: {runtime: node, source: ./node, handler: index.handler, timeout: 120s, allow: ["* kv/store"]}
  node-many: {runtime: node, source: ./node, handler: index.handler, timeout: 120s, concurrency: {per_instance: 16}, allow: ["* kv/store"]}
  python: {runtime: python, source: ./python, handler: app.handler, timeout: 120s, allow: ["* kv/store"]}
kv: {store: {}}
`

const kvNode = `
const store = require("mayfly").kv("store"), value = Buffer.alloc(256, 120);
exports.handler = async ({ op, key, count }) => {
  await store.put(key, value);
  const took = [], end = Date.now() + 60000;
  for (let i = 0; i < count && Date.now() < end; i++) {
    const began = process.hrtime.bigint();
    if (op === "get") await store.get(key); else await store.put(key, value);
    took.push(Math.round(Number(process.hrtime.bigint() - began) / 1000));
  }
  return took;
};
`

const kvPython = `
import time, mayfly
store, value = mayfly.kv("store"), b"x" * 256
def handler(event, context):
    key, took = event["key"], []
    store.put(key, value)
    for _ in range(event["count"]):
        began = time.perf_counter_ns()
        store.get(key) if event["op"] == "get" else store.put(key, value)
        took.append((time.perf_counter_ns() - began) // 1000)
    return took
`

// benchKVInside times requests that functions make by the client that their
// runtime has, as their code sees them.
func benchKVInside(ctx context.Context, s *session, n *node, t *table) error {
	const count = 2000 // of one call
	for _, c := range []struct {
		label, function, op, tool string
		calls                     int // at once
	}{
		{"inside node, get", "node", "get", "node", 1},
		{"inside node, put", "node", "put", "node", 1},
		{"inside node with per_instance: 16, get", "node-many", "get", "node", 1},
		{"inside node with per_instance: 16, get, 16 calls at once", "node-many", "get", "node", 16},
		{"inside node with per_instance: 16, put, 16 calls at once", "node-many", "put", "node", 16},
		{"inside python, get", "python", "get", "python3", 1},
		{"inside python, put", "python", "put", "python3", 1},
	} {
		if s.tools[c.tool] == "" {
			t.note("%s: left out, this machine has no %s", c.label, c.tool)
			continue
		}
		if _, _, err := n.timeKV(ctx, c.function, c.op, c.calls, count/4); err != nil { // warm
			return err
		}
		for range s.rounds {
			h, took, err := n.timeKV(ctx, c.function, c.op, c.calls, count)
			if err != nil {
				return err
			}
			row := t.row(c.label)
			row.add("per second", "", float64(h.total)/took.Seconds())
			row.times(h)
		}
	}
	return nil
}

// timeKV makes calls at once, each of which times count requests.
func (n *node) timeKV(ctx context.Context, function, op string, calls, count int) (*histogram, time.Duration, error) {
	var mu sync.Mutex
	var failed error
	h := &histogram{}
	began := time.Now()
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			took, err := n.timeKVOnce(ctx, function, op, fmt.Sprint("key-", i), count)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			}
			for _, us := range took {
				h.add(time.Duration(us) * time.Microsecond)
			}
		})
	}
	wg.Wait()
	return h, time.Since(began), failed
}

func (n *node) timeKVOnce(ctx context.Context, function, op, key string, count int) (took []int, err error) {
	var out json.RawMessage
	in := map[string]any{"op": op, "key": key, "count": count}
	if err := n.client().Do(ctx, "POST", "/v1/apps/kv/functions/"+function+"/invoke", in, &out); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, &took); err != nil {
		return nil, fmt.Errorf("%s answered %.200s: %w", function, out, err)
	}
	return took, nil
}
