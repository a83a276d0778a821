package main

import (
	"context"
	"time"
)

// target is what a load is sent to.
type target struct {
	label, addr, path string
	peer              string // the row to compare with
	pid               int    // the daemon, or the peer
}

func benchWarm(ctx context.Context, s *session, t *table) error {
	functions := s.present(echoes(), t)
	app, err := s.writeApp(ctx, "warm", functions, "")
	if err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/warm-data")
	if err != nil {
		return err
	}
	defer n.stop()
	peers, stop, err := s.startPeers(ctx)
	if err != nil {
		return err
	}
	defer stop()
	targets := s.targets(n, peers, functions)
	var ready []target
	for _, c := range targets {
		if c.peer != "" {
			if err := n.mustAnswer(ctx, c.path); err != nil {
				t.note("%s: %v", c.label, err)
				continue
			}
		}
		load{addr: c.addr, request: get(c.path), connections: 32, duration: time.Second}.run(ctx)
		ready = append(ready, c)
	}
	for range s.rounds {
		for _, c := range ready {
			s.warmRound(ctx, t, c)
		}
	}
	for _, c := range ready {
		if r := t.row(c.label); c.peer != "" {
			r.ratio("calls/s at 32", t.row(c.peer))
		}
	}
	return ctx.Err()
}

func (s *session) targets(n *node, peers []*peer, functions []function) []target {
	var out []target
	for _, p := range peers {
		out = append(out, target{label: p.name, addr: p.addr, path: "/", pid: p.cmd.Process.Pid})
	}
	beside := map[string]string{"node": "node http", "python": "python http.server", "python-heavy": "python http.server"}
	for _, f := range functions {
		c := target{label: f.label, addr: n.gateway(), path: "/" + f.name, peer: "net/http", pid: n.pid()}
		if p := beside[f.name]; p != "" {
			c.peer = p
		}
		out = append(out, c)
	}
	return out
}

func (s *session) warmRound(ctx context.Context, t *table, c target) {
	row := t.row(c.label)
	one := load{addr: c.addr, request: get(c.path), connections: 1, duration: s.duration / 2}.run(ctx)
	row.times(&one.latency)
	before, below := cpuTime(c.pid), descendantsCPU(c.pid)
	many := load{addr: c.addr, request: get(c.path), connections: 32, duration: s.duration}.run(ctx)
	row.add("calls/s at 32", "", many.rate())
	row.add("p99 at 32", "ms", millis(many.latency.quantile(0.99)))
	if calls := float64(many.requests); calls > 0 {
		row.add("CPU/call", "µs", float64((cpuTime(c.pid)-before).Microseconds())/calls)
		row.add("of functions", "µs", max(0, float64((descendantsCPU(c.pid)-below).Microseconds())/calls))
	}
	if rate, ok := s.wrk(ctx, c.addr, c.path, 32); ok {
		row.add("wrk at 32", "", rate)
	}
	if failed := one.failed + many.failed; failed > 0 {
		t.note("%s: %d of %d calls failed: %v %v", c.label, failed, one.requests+many.requests, one.errors, many.errors)
	}
}
