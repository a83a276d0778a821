package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// counter is one instance that counts the events it was given. A direct call
// with "count" asks for the number.
const counter = `
let n = 0;
exports.handler = async (event) => {
  if (event.Records || Array.isArray(event)) { n += (event.Records || event).length; return {}; }
  if (event.rawPath) return { statusCode: 200, body: String(n) };
  n++;
  return {};
};
`

func counterFunction(on string) function {
	return function{name: "counter", label: "node, one instance", needs: "node",
		manifest: "runtime: node\nsource: ./counter\nhandler: index.handler\nkeep_alive: 1h\nconcurrency: {per_instance: 64, max: 1}" + on,
		files:    map[string]string{"index.js": counter}}
}

func benchAsync(ctx context.Context, s *session, t *table) error {
	f := counterFunction("")
	if len(s.present([]function{f}, t)) == 0 {
		return nil
	}
	app, err := s.writeApp(ctx, "async", []function{f}, "")
	if err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/async-data")
	if err != nil {
		return err
	}
	defer n.stop()
	request := post("/_fn/async/counter?async=1", n.authorization(), []byte(`{"n":1}`))
	return s.countEvents(ctx, n, t.row(f.label), t, load{addr: n.gateway(), request: func(int, int) []byte { return request }}, 1)
}

// countEvents sends requests of each events for the time of a measurement, and
// waits until the counter has seen all that were accepted.
func (s *session) countEvents(ctx context.Context, n *node, row *row, t *table, l load, each int) error {
	l.connections, l.duration = 64, s.duration
	l.accept = func(_ int, r *reply) error {
		if r.status/100 != 2 {
			return refused(r)
		}
		return nil
	}
	for range s.rounds {
		before, err := n.counted(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		out := l.run(ctx)
		accepted := int(out.requests-out.failed) * each
		if err := n.untilCounted(ctx, before+accepted); err != nil {
			return err
		}
		row.add("accepted/s", "", out.rate()*float64(each))
		row.times(&out.latency)
		row.add("processed/s", "", float64(accepted)/time.Since(began).Seconds())
		if out.failed > 0 {
			t.note("%d of %d were not accepted: %v", out.failed, out.requests, out.errors)
		}
	}
	return nil
}

func (n *node) counted(ctx context.Context) (int, error) {
	if err := n.mustAnswer(ctx, "/counter"); err != nil {
		return 0, err
	}
	w, err := dial(n.gateway())
	if err != nil {
		return 0, err
	}
	defer w.close()
	r, err := w.call(get("/counter")(0, 0))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(r.body))
}

func (n *node) untilCounted(ctx context.Context, want int) error {
	for last, moved := -1, time.Now(); ; pause(ctx, 20*time.Millisecond) {
		got, err := n.counted(ctx)
		if err != nil || got >= want {
			return err
		}
		if got != last {
			last, moved = got, time.Now()
		}
		if time.Since(moved) > 30*time.Second || ctx.Err() != nil {
			return fmt.Errorf("%d of %d events were processed\n%s", got, want, n.log)
		}
	}
}
