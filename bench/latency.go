package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// stamper keeps, for each event that it was given, the event's number, when the
// function began, and when it was due (of a schedule), in µs since 1970.
const stamper = `
let seen = [];
exports.handler = async (event) => {
  const at = Math.round((performance.timeOrigin + performance.now()) * 1000);
  if (event.rawPath) {
    const out = seen;
    seen = [];
    return { statusCode: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(out) };
  }
  if (event.Records) for (const r of event.Records) seen.push([JSON.parse(r.body).n, at, 0]);
  else if (event.resources) seen.push([Number(event.resources[0].split("-s").pop()), at, Date.parse(event.time) * 1000]);
  else seen.push([(event.data || event).n, at, 0]);
};
`

// stamperFunction is one instance that takes stamps.
func stamperFunction() function {
	return function{name: "stamp", label: "node, one instance", needs: "node",
		manifest: "runtime: node\nsource: ./stamp\nhandler: index.handler\nkeep_alive: 1h\nconcurrency: {per_instance: 64, max: 1}",
		files:    map[string]string{"index.js": stamper}}
}

// stamp is one event as the function saw it.
type stamp struct {
	n       int
	at, due time.Time
}

// stamps takes what the function has seen since the last time.
func (n *node) stamps(ctx context.Context) ([]stamp, error) {
	w, err := dial(n.gateway())
	if err != nil {
		return nil, err
	}
	defer w.close()
	r, err := w.call(get("/stamp")(0, 0))
	if err != nil {
		return nil, err
	}
	if r.status != 200 {
		return nil, refused(r)
	}
	var raw [][3]int64
	if err := json.Unmarshal(r.body, &raw); err != nil {
		return nil, fmt.Errorf("read the stamps: %w in %.200q", err, r.body)
	}
	out := make([]stamp, len(raw))
	for i, s := range raw {
		out[i] = stamp{int(s[0]), time.UnixMicro(s[1]), time.UnixMicro(s[2])}
	}
	return out, nil
}

// latencyRate is how many events a second are sent, one in a request.
const latencyRate = 500

// durabilities are the daemon's settings of that name.
var durabilities = []string{"always", "fast"}

func benchLatency(ctx context.Context, s *session, t *table) error {
	f := stamperFunction()
	if len(s.present([]function{f}, t)) == 0 {
		return nil
	}
	app, err := s.writeApp(ctx, "latency", []function{f}, "")
	if err != nil {
		return err
	}
	if err := extend(app, f.name, "{queue: jobs}, {topic: job}", "queues: {jobs: {}}\ntopics: {job: {}}\n"); err != nil {
		return err
	}
	for _, durability := range durabilities {
		if err := s.latencies(ctx, t, app, durability); err != nil {
			return err
		}
	}
	t.note("From the beginning of the request that sends an event to the beginning of the function, and of them from the reply that accepts it; %d events a second, one in a request, one in a call.", latencyRate)
	return ctx.Err()
}

func (s *session) latencies(ctx context.Context, t *table, app, durability string) error {
	n, err := s.startNode(ctx, app, s.dir+"/latency-"+durability, "--durability", durability)
	if err != nil {
		return err
	}
	defer n.stop()
	api := hostOf(n.API)
	for range s.rounds {
		for _, c := range []struct {
			label, addr, path, body string
		}{
			{"asynchronous call", n.gateway(), "/_fn/latency/stamp?async=1", `{"n":%d}`},
			{"queue", api, "/v1/apps/latency/queues/jobs/messages", `{"body":{"n":%d}}`},
			{"topic", api, "/v1/apps/latency/topics/job/events", `{"n":%d}`},
		} {
			if err := s.latency(ctx, n, t, t.row(c.label+", "+durability), c.addr, func(i int) []byte {
				return post(c.path, n.authorization(), fmt.Appendf(nil, c.body, i))
			}); err != nil {
				return fmt.Errorf("%s: %w", c.label, err)
			}
		}
	}
	return nil
}

// latency sends numbered events at the rate and waits until the function has
// seen all that were accepted.
func (s *session) latency(ctx context.Context, n *node, t *table, row *row, addr string, request func(int) []byte) error {
	total := int(s.duration.Seconds() * latencyRate)
	type times struct{ began, accepted time.Time }
	var mu sync.Mutex
	sent := make(map[int]times, total)
	var last error
	pace{addr: addr, rate: latencyRate, duration: s.duration, request: request, reply: func(i int, began time.Time, r *reply, err error) {
		accepted := time.Now()
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			last = err
		case r.status/100 != 2:
			last = refused(r)
		default:
			sent[i] = times{began, accepted}
		}
	}}.run(ctx)
	if last != nil {
		t.note("%s: %d of %d events were accepted: %v", row.Case, len(sent), total, last)
	}
	sending, accepting := &histogram{}, &histogram{}
	seen := map[int]bool{}
	err := n.untilStamped(ctx, len(sent), func(e stamp) bool {
		at, ok := sent[e.n]
		if !ok || seen[e.n] {
			return false
		}
		seen[e.n] = true
		sending.add(e.at.Sub(at.began))
		accepting.add(e.at.Sub(at.accepted))
		return true
	})
	if err != nil {
		return err
	}
	row.times(sending)
	row.add("p50 from acceptance", "ms", millis(accepting.quantile(0.50)))
	row.add("p99 from acceptance", "ms", millis(accepting.quantile(0.99)))
	return nil
}

// untilStamped visits what the function saw until want events were new to visit.
func (n *node) untilStamped(ctx context.Context, want int, visit func(stamp) bool) error {
	got := 0
	for moved := time.Now(); got < want; pause(ctx, 100*time.Millisecond) {
		list, err := n.stamps(ctx)
		if err != nil {
			return err
		}
		for _, e := range list {
			if visit(e) {
				got++
				moved = time.Now()
			}
		}
		if time.Since(moved) > 90*time.Second || ctx.Err() != nil { // a schedule may be due in a minute
			return fmt.Errorf("%d of %d events reached the function\n%s", got, want, n.log)
		}
	}
	return nil
}
