package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// versioned is a function that answers its version, and how to write the next.
type versioned struct {
	function
	file  string // below the function's folder
	write func(ctx context.Context, s *session, path string, version int) error
}

func textVersion(format string) func(context.Context, *session, string, int) error {
	return func(_ context.Context, _ *session, path string, version int) error {
		return writeFile(path, fmt.Sprintf(format, version))
	}
}

func versions() []versioned {
	const python = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'v%d;'}\n"
	const node = "exports.handler = async () => ({ statusCode: 200, body: 'v%d;' });\n"
	return []versioned{
		{function{name: "python", label: "python", needs: "python3", manifest: "runtime: python\nsource: ./python\nhandler: app.handler"}, "app.py", textVersion(python)},
		{function{name: "node", label: "node", needs: "node", manifest: "runtime: node\nsource: ./node\nhandler: index.handler"}, "index.js", textVersion(node)},
		{function{name: "wasm", label: "wasm (prebuilt)", manifest: "runtime: wasm\nsource: ./wasm/echo.wasm"}, "echo.wasm", wasmVersion},
	}
}

func wasmVersion(_ context.Context, _ *session, path string, version int) error {
	return writeFile(path, string(smallWasm("Content-Type: text/plain\n\n"+answer(version))))
}

func answer(version int) string { return fmt.Sprintf("v%d;", version) }

// startVersions starts a node with version 1 of each.
func (s *session) startVersions(ctx context.Context, name string, all []versioned, t *table) (n *node, app string, left []versioned, err error) {
	var functions []function
	for _, v := range all {
		if len(s.present([]function{v.function}, t)) == 0 {
			continue
		}
		left = append(left, v)
		functions = append(functions, v.function)
		if err := v.write(ctx, s, filepath.Join(s.dir, name, v.name, v.file), 1); err != nil {
			return nil, "", nil, err
		}
	}
	if app, err = s.writeApp(ctx, name, functions, ""); err != nil {
		return nil, "", nil, err
	}
	if n, err = s.startNode(ctx, app, s.dir+"/"+name+"-data"); err != nil {
		return nil, "", nil, err
	}
	for _, v := range left {
		if err := n.mustAnswer(ctx, "/"+v.name); err != nil {
			n.stop()
			return nil, "", nil, err
		}
	}
	return n, app, left, nil
}

func benchSave(ctx context.Context, s *session, t *table) error {
	n, app, all, err := s.startVersions(ctx, "save", versions(), t)
	if err != nil {
		return err
	}
	defer n.stop()
	for _, v := range all {
		h := &histogram{}
		for version := 2; version < 2+s.rounds*7; version++ {
			pause(ctx, 400*time.Millisecond) // until what the last one left to do is done
			if err := v.write(ctx, s, filepath.Join(app, v.name, v.file), version); err != nil {
				return err
			}
			took, err := n.untilAnswer(ctx, "/"+v.name, answer(version))
			if err != nil {
				return err
			}
			h.add(took)
		}
		t.row(v.label).times(h)
		t.row(v.label).add("worst", "ms", millis(h.max))
	}
	return nil
}

// untilAnswer calls path until it answers want, for at most 30 s.
func (n *node) untilAnswer(ctx context.Context, path, want string) (time.Duration, error) {
	w, err := dial(n.gateway())
	if err != nil {
		return 0, err
	}
	defer w.close()
	began := time.Now()
	for ctx.Err() == nil {
		r, err := w.call(get(path)(0, 0))
		if err != nil {
			return 0, err
		}
		if r.status == 200 && strings.Contains(string(r.body), want) {
			return r.first.Sub(began), nil
		}
		if time.Since(began) > 30*time.Second {
			return 0, fmt.Errorf("%s still answers %q, not %q\n%s", path, r.body, want, n.log)
		}
		pause(ctx, time.Millisecond)
	}
	return 0, ctx.Err()
}

// redeploys in the time of one load.
const redeploys = 10

func benchRedeploy(ctx context.Context, s *session, t *table) error {
	n, app, all, err := s.startVersions(ctx, "redeploy", versions()[:2], t)
	if err != nil {
		return err
	}
	defer n.stop()
	for _, v := range all {
		var went atomic.Int32
		done := make(chan error, 1)
		loading, cancel := context.WithCancel(ctx)
		go func() { done <- s.redeploy(loading, n, app, v, &went) }()
		out := load{addr: n.gateway(), request: get("/" + v.name), connections: 32, duration: 60 * time.Second}.run(ctx)
		cancel()
		if err := <-done; err != nil {
			t.note("%s: %v", v.label, err)
		}
		row := t.row(v.label)
		row.add("calls", "", float64(out.requests))
		row.add("failed", "", float64(out.failed))
		row.add("redeploys", "", float64(went.Load()))
		row.times(&out.latency)
		row.add("worst", "ms", millis(out.latency.max))
		if out.failed > 0 {
			t.note("%s: %v", v.label, out.errors)
		}
	}
	return nil
}

// redeploy saves ten versions over a minute, each when the one before answers.
func (s *session) redeploy(ctx context.Context, n *node, app string, v versioned, went *atomic.Int32) error {
	for version := 2; version < 2+redeploys; version++ {
		pause(ctx, 4*time.Second)
		if err := v.write(ctx, s, filepath.Join(app, v.name, v.file), version); err != nil {
			return err
		}
		if _, err := n.untilAnswer(ctx, "/"+v.name, answer(version)); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		went.Add(1)
	}
	return nil
}
