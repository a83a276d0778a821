package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
)

// benchS3 uses URLs that the node signed, so that the generator signs nothing.
func benchS3(ctx context.Context, s *session, t *table) error {
	app := filepath.Join(s.dir, "s3")
	if err := writeFile(filepath.Join(app, "mayfly.yaml"), "app: s3\nbuckets: {store: {}}\n"); err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/s3-data")
	if err != nil {
		return err
	}
	defer n.stop()
	const connections = 32
	puts, err := n.presigned(ctx, "PUT", connections)
	if err != nil {
		return err
	}
	gets, err := n.presigned(ctx, "GET", connections)
	if err != nil {
		return err
	}
	body := make([]byte, 16<<10)
	put := func(conn, _ int) []byte {
		return append(fmt.Appendf(nil, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", puts[conn].RequestURI(), puts[conn].Host, len(body)), body...)
	}
	read := func(conn, _ int) []byte {
		return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", gets[conn].RequestURI(), gets[conn].Host)
	}
	for range s.rounds {
		for _, c := range []struct {
			label   string
			request func(int, int) []byte
		}{{"put 16 KiB, 32 connections", put}, {"get 16 KiB, 32 connections", read}} {
			out := load{addr: gets[0].Host, request: c.request, connections: connections, duration: s.duration}.run(ctx)
			t.row(c.label).add("per second", "", out.rate())
			t.row(c.label).times(&out.latency)
			if out.failed > 0 {
				t.note("%s: %v", c.label, out.errors)
			}
		}
	}
	return nil
}

// presigned are URLs for as many objects.
func (n *node) presigned(ctx context.Context, method string, objects int) ([]*url.URL, error) {
	var out []*url.URL
	for i := range objects {
		var signed struct{ URL string }
		in := map[string]string{"method": method, "key": fmt.Sprintf("object-%d", i), "expires": "1h"}
		if err := n.client().Do(ctx, "POST", "/v1/apps/s3/buckets/store/presign", in, &signed); err != nil {
			return nil, err
		}
		u, err := url.Parse(signed.URL)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}
