package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const burstSize = 200

func benchBurst(ctx context.Context, s *session, t *table) error {
	sleeper := function{
		name: "sleeper", label: "python, 1 s of work each", needs: "python3",
		manifest: "runtime: python\nsource: ./sleeper\nhandler: app.handler\ntimeout: 30s\nconcurrency: {max: 200}",
		files: map[string]string{"app.py": `
import os, time, uuid
me = None
def handler(event, context):
    global me
    me = me or str(uuid.uuid4())
    time.sleep(1)
    return {"statusCode": 200, "body": me}
`},
	}
	if len(s.present([]function{sleeper}, t)) == 0 {
		return nil
	}
	app, err := s.writeApp(ctx, "burst", []function{sleeper}, "keep_alive: 1ms")
	if err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/burst-data")
	if err != nil {
		return err
	}
	defer n.stop()
	row := t.row(sleeper.label)
	for range s.rounds {
		pause(ctx, 3*time.Second) // until none is left of the round before
		seen := make([]string, burstSize)
		burst := load{addr: n.gateway(), connections: burstSize, requests: 1, request: get("/" + sleeper.name)}
		burst.accept = func(conn int, r *reply) error {
			if r.status != 200 {
				return refused(r)
			}
			seen[conn] = string(r.body)
			return nil
		}
		out := burst.run(ctx)
		instances := map[string]bool{}
		for _, id := range seen {
			if id != "" {
				instances[id] = true
			}
		}
		row.add("answered", "", float64(out.requests-out.failed))
		row.add("dropped", "", float64(out.failed))
		row.add("instances", "", float64(len(instances)))
		row.add("all but the work", "ms", millis(out.elapsed-time.Second))
		row.add("p50 start", "ms", millis(out.latency.quantile(0.5)-time.Second))
		if out.failed > 0 {
			t.note("%v", out.errors)
		}
	}
	return nil
}

func benchStart(ctx context.Context, s *session, t *table) error {
	functions := s.present(echoes(), t)
	functions = functions[:min(5, len(functions))]
	app, err := s.writeApp(ctx, "start", functions, "")
	if err != nil {
		return err
	}
	data := s.dir + "/start-data"
	for _, c := range []struct {
		label string
		fresh bool
	}{{"a fresh data folder", true}, {"started again", false}} {
		h := &histogram{}
		for range s.rounds * 3 {
			if c.fresh {
				if err := os.RemoveAll(data); err != nil {
					return err
				}
			}
			n, err := s.startNode(ctx, app, data)
			if err != nil {
				return err
			}
			h.add(n.took)
			if err := n.mustAnswer(ctx, "/"+functions[0].name); err != nil {
				n.stop()
				return err
			}
			n.stop()
		}
		row := t.row(fmt.Sprintf("%d functions, %s", len(functions), c.label))
		row.times(h)
		row.add("worst", "ms", millis(h.max))
	}
	return nil
}

// manyFunctions is how many are deployed at zero instances.
const manyFunctions = 10_000

func benchIdle(ctx context.Context, s *session, t *table) error {
	if err := s.idleEmpty(ctx, t); err != nil {
		return err
	}
	if s.tools["python3"] != "" {
		if err := s.idleInstances(ctx, t); err != nil {
			return err
		}
	}
	return s.idleMany(ctx, t)
}

func (s *session) idleEmpty(ctx context.Context, t *table) error {
	app := filepath.Join(s.dir, "empty")
	if err := writeFile(filepath.Join(app, "mayfly.yaml"), "app: empty\n"); err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/empty-data")
	if err != nil {
		return err
	}
	defer n.stop()
	pause(ctx, 5*time.Second)
	t.memory("daemon, nothing deployed", n.pid())
	return nil
}

// memory records what a process holds.
func (t *table) memory(name string, pid int) {
	t.row(name).add("RSS", "MiB", statusKiB(pid, "VmRSS")/1024)
	t.row(name).add("PSS", "MiB", rollupKiB(pid, "Pss")/1024)
	t.row(name).add("anonymous", "MiB", statusKiB(pid, "RssAnon")/1024)
}

func (s *session) idleInstances(ctx context.Context, t *table) error {
	const instances = 20
	f := function{name: "py", manifest: "runtime: python\nsource: ./py\nhandler: app.handler\nkeep_alive: 10m", files: map[string]string{
		"app.py": "import time\n" + strings.Replace(pythonHeavy, "    return", "    time.sleep(1)\n    return", 1)}}
	app, err := s.writeApp(ctx, "frozen", []function{f}, "")
	if err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/frozen-data")
	if err != nil {
		return err
	}
	defer n.stop()
	before := descendantsPSS(n.pid())
	load{addr: n.gateway(), connections: instances, requests: 1, request: get("/py")}.run(ctx)
	pause(ctx, 8*time.Second) // until they are frozen
	after := descendantsPSS(n.pid())
	row := t.row("one frozen python, many imports")
	row.add("PSS", "MiB", (after-before)/1024/instances)
	row.Note = fmt.Sprintf("of %d instances, with their inits", instances)
	return nil
}

func (s *session) idleMany(ctx context.Context, t *table) error {
	app := filepath.Join(s.dir, "many")
	var m strings.Builder
	m.WriteString("app: many\nfunctions:\n")
	for i := range manyFunctions {
		fmt.Fprintf(&m, "  f%d: {runtime: http, source: ./code, handler: ./server, keep_alive: 1ms, on: [{http: /f%d}]}\n", i, i)
	}
	if err := s.build(ctx, filepath.Join(app, "code", "server"), "./bench/testdata/server"); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(app, "mayfly.yaml"), m.String()); err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/many-data")
	if err != nil {
		return err
	}
	defer n.stop()
	pause(ctx, 5*time.Second)
	name := fmt.Sprintf("daemon, %d functions at zero", manyFunctions)
	t.memory(name, n.pid())
	t.row(name).Note = fmt.Sprintf("deployed and ready in %.1f s", n.took.Seconds())
	return n.mustAnswer(ctx, fmt.Sprintf("/f%d", manyFunctions/2))
}
