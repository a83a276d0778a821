package main

import (
	"context"
	"fmt"
	"strings"
)

func benchQueue(ctx context.Context, s *session, t *table) error {
	f := counterFunction("")
	if len(s.present([]function{f}, t)) == 0 {
		return nil
	}
	app, err := s.writeApp(ctx, "queue", []function{f}, "")
	if err != nil {
		return err
	}
	file := app + "/mayfly.yaml"
	manifest := strings.Replace(readText(file), "on: [{http: /counter}]", "on: [{http: /counter}, {queue: jobs, batch: 10}]", 1)
	if err := writeFile(file, manifest+"queues: {jobs: {}}\n"); err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/queue-data")
	if err != nil {
		return err
	}
	defer n.stop()
	const path = "/v1/apps/queue/queues/jobs/messages"
	one := post(path, n.authorization(), []byte(`{"body":{"n":1}}`))
	const many = 10
	ten := post(path, n.authorization(), fmt.Appendf(nil, `{"messages":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"body":{"n":1}},`, many), ",")))
	if err := s.countEvents(ctx, n, t.row("one message a request"), t, load{addr: hostOf(n.API), request: func(int, int) []byte { return one }}, 1); err != nil {
		return err
	}
	return s.countEvents(ctx, n, t.row("ten messages a request"), t, load{addr: hostOf(n.API), request: func(int, int) []byte { return ten }}, many)
}
