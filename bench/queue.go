package main

import (
	"context"
	"fmt"
	"strings"
)

// benchQueue sends to a queue, benchTopic to a topic with one subscriber; both
// are received in batches of ten.
func benchQueue(ctx context.Context, s *session, t *table) error {
	return s.sends(ctx, t, "queue", "{queue: jobs, batch: 10}", "queues: {jobs: {}}\n", func(n *node, each int) []byte {
		body := `{"messages":[` + strings.TrimSuffix(strings.Repeat(`{"body":{"n":1}},`, each), ",") + `]}`
		return post("/v1/apps/queue/queues/jobs/messages", n.authorization(), []byte(body))
	})
}

func benchTopic(ctx context.Context, s *session, t *table) error {
	return s.sends(ctx, t, "topic", "{topic: job, batch: 10}", "topics: {job: {}}\n", func(n *node, each int) []byte {
		body := "[" + strings.TrimSuffix(strings.Repeat(`{"data":{"n":1}},`, each), ",") + "]"
		b := fmt.Appendf(nil, "POST /v1/apps/topic/topics/job/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/cloudevents-batch+json\r\n%sContent-Length: %d\r\n\r\n", n.authorization(), len(body))
		return append(b, body...)
	})
}

// sends measures events that the application accepts and its function gets, with
// each durability.
func (s *session) sends(ctx context.Context, t *table, name, trigger, resources string, request func(n *node, each int) []byte) error {
	f := counterFunction("")
	if len(s.present([]function{f}, t)) == 0 {
		return nil
	}
	app, err := s.writeApp(ctx, name, []function{f}, "")
	if err != nil {
		return err
	}
	if err := extend(app, f.name, trigger, resources); err != nil {
		return err
	}
	for _, durability := range durabilities {
		if err := s.sendsDurably(ctx, t, app, durability, request); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) sendsDurably(ctx context.Context, t *table, app, durability string, request func(n *node, each int) []byte) error {
	n, err := s.startNode(ctx, app, app+"-"+durability, "--durability", durability)
	if err != nil {
		return err
	}
	defer n.stop()
	for _, each := range []int{1, 10} {
		one := request(n, each)
		row := t.row(fmt.Sprintf("%d a request, %s", each, durability))
		if err := s.countEvents(ctx, n, row, t, load{addr: hostOf(n.API), request: func(int, int) []byte { return one }}, each); err != nil {
			return err
		}
	}
	return nil
}
