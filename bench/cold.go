package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// coldSamples is how many cold starts of each case are measured in a round.
const coldSamples = 15

// coldPause is before each sample: what the start before left to do, such as to
// make the next sandbox ahead, is done by then. A turn of all cases is longer
// than an instance with the shortest keep-alive is held.
const coldPause = 300 * time.Millisecond

func benchCold(ctx context.Context, s *session, t *table) error {
	functions := s.present(append(echoes(), container()), t)
	app, err := s.writeApp(ctx, "cold", functions, "keep_alive: 1ms")
	if err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/cold-data")
	if err != nil {
		return err
	}
	defer n.stop()
	w, err := dial(n.gateway())
	if err != nil {
		return err
	}
	defer func() { w.close() }()
	times, warm := map[string]*histogram{}, 0
	for i := 0; i < s.rounds*coldSamples && ctx.Err() == nil; i++ {
		pause(ctx, max(0, 1200*time.Millisecond-time.Duration(len(functions))*coldPause))
		for _, f := range functions {
			pause(ctx, coldPause)
			row := t.row(f.label)
			began := time.Now()
			r, err := w.call(get("/"+f.name)(0, 0))
			switch {
			case err != nil:
				t.note("%s: %v", f.label, err)
				w.close()
				if w, err = dial(n.gateway()); err != nil {
					return err
				}
			case r.status != 200:
				t.note("%s: status %d: %.300s", f.label, r.status, r.body)
			case !r.cold && !strings.HasPrefix(f.name, "wasm"): // which has a fresh instance for every call
				warm++
			default:
				if times[f.label] == nil {
					times[f.label] = &histogram{}
				}
				times[f.label].add(r.first.Sub(began))
				row.Note = r.timing
			}
		}
	}
	for _, f := range functions {
		if h := times[f.label]; h != nil {
			t.row(f.label).times(h)
			t.row(f.label).add("samples", "", float64(h.total))
		}
	}
	if warm > 0 {
		t.note("%d calls found an instance after all", warm)
	}
	return s.plainStarts(ctx, t)
}

// plainStarts measures processes that say "ok" and end: to their first byte.
func (s *session) plainStarts(ctx context.Context, t *table) error {
	server := s.dir + "/plain"
	if err := s.build(ctx, server, "./bench/testdata/wasm"); err != nil {
		return err
	}
	commands := map[string][]string{"process: Go": {server}}
	if python := s.tools["python3"]; python != "" {
		commands["process: python"] = []string{python, "-c", "import json; print('ok')"}
		commands["process: python, many imports"] = []string{python, "-c", pythonHeavy + "\nprint('ok')"}
	}
	if node := s.tools["node"]; node != "" {
		commands["process: node"] = []string{node, "-e", "console.log('ok')"}
	}
	times := map[string]*histogram{}
	for range s.rounds * coldSamples {
		for name, command := range commands {
			took, err := firstByte(ctx, command)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if times[name] == nil {
				times[name] = &histogram{}
			}
			times[name].add(took)
		}
	}
	for _, name := range []string{"process: python", "process: python, many imports", "process: node", "process: Go"} {
		if h := times[name]; h != nil {
			t.row(name).times(h)
			t.row(name).add("samples", "", float64(h.total))
		}
	}
	return nil
}

func firstByte(ctx context.Context, command []string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = out.Read(make([]byte, 1))
	took := time.Since(began)
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	return took, err
}
