package main

import (
	"context"
	"time"
)

// benchTelemetry compares an echo on two nodes in turns: one keeps logs, traces
// and metrics of every call, the other counts usage only.
func benchTelemetry(ctx context.Context, s *session, t *table) error {
	functions := s.present(echoes(), t)
	app, err := s.writeApp(ctx, "telemetry", functions, "")
	if err != nil {
		return err
	}
	nodes := map[string]*node{}
	for _, state := range []string{"off", "on"} {
		n, err := s.startNode(ctx, app, s.dir+"/telemetry-"+state, "--telemetry", state)
		if err != nil {
			return err
		}
		defer n.stop()
		nodes[state] = n
	}
	for _, f := range functions {
		for _, n := range nodes {
			if err := n.mustAnswer(ctx, "/"+f.name); err != nil {
				return err
			}
			load{addr: n.gateway(), request: get("/" + f.name), connections: 32, duration: time.Second}.run(ctx)
		}
	}
	for round := range s.rounds {
		for _, f := range functions {
			states := []string{"off", "on"}
			if round%2 == 1 { // neither is always the second
				states = []string{"on", "off"}
			}
			for _, state := range states {
				s.warmRound(ctx, t, target{label: f.label + ", telemetry " + state, addr: nodes[state].gateway(), path: "/" + f.name, pid: nodes[state].pid()})
			}
		}
	}
	for _, f := range functions {
		on, off := t.row(f.label+", telemetry on"), t.row(f.label+", telemetry off")
		for _, figure := range []string{"calls/s at 32", "p99 at 32"} {
			if with, without := on.value(figure), off.value(figure); without > 0 {
				on.add(figure+", of off", "%", 100*with/without)
			}
		}
	}
	return ctx.Err()
}
