package main

import (
	"context"
	"fmt"
	"path/filepath"
)

func benchKV(ctx context.Context, s *session, t *table) error {
	app := filepath.Join(s.dir, "kv")
	for name, text := range map[string]string{"mayfly.yaml": kvApp, "node/index.js": kvNode, "python/app.py": kvPython} {
		if err := writeFile(filepath.Join(app, name), text); err != nil {
			return err
		}
	}
	n, err := s.startNode(ctx, app, s.dir+"/kv-data")
	if err != nil {
		return err
	}
	defer n.stop()
	const path = "/v1/apps/kv/kv/store/keys/"
	value := make([]byte, 256)
	put := func(conn, i int) []byte {
		head := fmt.Appendf(nil, "PUT %sk%d-%d HTTP/1.1\r\nHost: bench\r\nContent-Type: application/octet-stream\r\n%sContent-Length: %d\r\n\r\n", path, conn, i%1000, n.authorization(), len(value))
		return append(head, value...)
	}
	read := func(conn, i int) []byte {
		return fmt.Appendf(nil, "GET %sk%d-%d HTTP/1.1\r\nHost: bench\r\n%s\r\n", path, conn, i%100, n.authorization())
	}
	for _, c := range []struct {
		label       string
		request     func(int, int) []byte
		connections int
	}{{"put 256 bytes, 1 connection", put, 1}, {"put, 64 connections", put, 64}, {"get, 1 connection", read, 1}, {"get, 64 connections", read, 64}} {
		for range s.rounds {
			l := load{addr: hostOf(n.API), request: c.request, connections: c.connections, duration: s.duration}
			l.accept = func(_ int, r *reply) error {
				if r.status/100 != 2 && r.status != 404 { // a key that the puts did not come to
					return refused(r)
				}
				return nil
			}
			out := l.run(ctx)
			row := t.row(c.label)
			row.add("per second", "", out.rate())
			row.times(&out.latency)
			if out.failed > 0 {
				t.note("%s: %v", c.label, out.errors)
			}
		}
	}
	return benchKVInside(ctx, s, n, t)
}
