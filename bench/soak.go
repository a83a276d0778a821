package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Functions that fail in the ways that functions fail.
const (
	pythonCrash = `
import os, random
def handler(event, context):
    if random.random() < 0.2: os._exit(3)
    return {"statusCode": 200, "body": "ok"}
`
	pythonHang = `
import random, time
def handler(event, context):
    time.sleep(random.choice([0.01, 0.01, 0.01, 5]))
    return {"statusCode": 200, "body": "ok"}
`
	pythonForks = `
import os, subprocess
def handler(event, context):
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    open("/tmp/" + str(os.urandom(4).hex()), "wb").write(bytes(1 << 20))
    return {"statusCode": 200, "body": "ok"}
`
)

// killEvery is the mean time between two kills of a process of an instance.
const killEvery = 150 * time.Millisecond

// benchSoak calls functions of every runtime, some of which crash, hang or leave
// processes behind, and kills instances at random meanwhile. It counts what the
// node holds before and after, and what is left when the node ends.
func benchSoak(ctx context.Context, s *session, t *table) error {
	failing := func(name, code string) function {
		return function{name: name, label: name, needs: "python3", manifest: "runtime: python\nsource: ./" + name + "\nhandler: app.handler\ntimeout: 1s\negress: [\"localhost:1\", \"api.test:443\"]", files: map[string]string{"app.py": code}}
	}
	functions := s.present(append(append(echoes(), container()), failing("crash", pythonCrash), failing("hang", pythonHang), failing("forks", pythonForks)), t)
	app, err := s.writeApp(ctx, "soak", functions, "keep_alive: 2s")
	if err != nil {
		return err
	}
	data := s.dir + "/soak-data"
	n, err := s.startNode(ctx, app, data)
	if err != nil {
		return err
	}
	defer n.stop()
	s.mixed(ctx, n, functions, min(s.soak, 15*time.Second), nil) // what the node keeps from now on
	before := n.settled(ctx, held{})
	before.show(t.row("before"))
	kills := &killer{node: n}
	out := s.mixed(ctx, n, functions, s.soak, kills)
	row := t.row(fmt.Sprintf("%v of mixed load", s.soak))
	row.add("calls", "", float64(out.requests))
	row.add("answered 200", "", float64(out.requests-out.failed))
	row.add("kills", "", float64(kills.done))
	after := n.settled(ctx, before)
	after.show(t.row("after"))
	return s.endings(ctx, t, n, app, data, functions)
}

// endings ends the node politely, then another one by kill -9 under load, and
// counts what is left.
func (s *session) endings(ctx context.Context, t *table, n *node, app, data string, functions []function) error {
	all := descendants(n.pid())
	groups := cgroupsOf(all)
	n.stop()
	t.left("after the node's end", all, groups)
	n, err := s.startNode(ctx, app, data)
	if err != nil {
		return err
	}
	defer n.stop()
	s.mixed(ctx, n, functions, 5*time.Second, nil)
	all = descendants(n.pid())
	groups = cgroupsOf(all)
	n.kill()
	t.left("after kill -9", all, groups)
	again, err := s.startNode(ctx, app, data)
	if err != nil {
		return err
	}
	defer again.stop()
	return again.mustAnswer(ctx, "/"+functions[0].name)
}

// mixed calls all functions from eight connections, at random.
func (s *session) mixed(ctx context.Context, n *node, functions []function, d time.Duration, k *killer) *loaded {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if k != nil {
		var killing sync.WaitGroup
		killing.Go(func() { k.run(ctx) })
		defer killing.Wait()
	}
	// A refused call is answered at once: without a pause the load were nothing
	// but refusals.
	return load{addr: n.gateway(), connections: 8, accept: func(_ int, r *reply) error {
		if r.status != 200 {
			pause(ctx, 20*time.Millisecond)
			return refused(r)
		}
		return nil
	}, request: func(int, int) []byte { return get("/"+functions[rand.IntN(len(functions))].name)(0, 0) }}.run(ctx)
}

// killer kills processes of instances at random: programs, their children, and
// now and then the init of a sandbox.
type killer struct {
	node *node
	done int
}

func (k *killer) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(rand.ExpFloat64()*float64(killEvery)))
		all := descendants(k.node.pid())
		if len(all) == 0 {
			continue
		}
		pid := all[rand.IntN(len(all))]
		switch name := strings.TrimSpace(readText(fmt.Sprintf("/proc/%d/comm", pid))); {
		case name == "", name == "mayfly-keeper", name == "mayfly-nursery":
			continue
		case name == "mayfly-init" && rand.IntN(4) > 0:
			continue
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			k.done++
		}
	}
}

// held is what a node holds of the machine.
type held struct{ processes, zombies, cgroups, namespaces, mounts, descriptors, goroutines int }

func (h held) show(r *row) {
	for _, c := range []struct {
		name string
		n    int
	}{{"processes", h.processes}, {"zombies", h.zombies}, {"cgroups", h.cgroups}, {"namespaces", h.namespaces}, {"mounts", h.mounts}, {"descriptors", h.descriptors}, {"goroutines", h.goroutines}} {
		r.add(c.name, "", float64(c.n))
	}
}

// within reports whether a node holds no more than it did. Connections and
// timers come and go: what leaks, leaks with every instance.
func (h held) within(before held) bool {
	return h.zombies == 0 && h.processes <= before.processes && h.cgroups <= before.cgroups && h.namespaces <= before.namespaces && h.mounts <= before.mounts &&
		h.descriptors <= before.descriptors+10 && h.goroutines <= before.goroutines+10
}

// settleWithin is how long an idle node may take to let go of instances and of
// what it had started ahead for more of them.
const settleWithin = 4 * time.Minute

// settled waits until the node holds no more than want, or without one until
// nothing has changed for ten seconds.
func (n *node) settled(ctx context.Context, want held) (now held) {
	last, since := held{}, time.Now()
	for end := time.Now().Add(settleWithin); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, time.Second) {
		now = n.held(ctx)
		if want != (held{}) && now.within(want) {
			return now
		}
		if now.processes != last.processes || now.cgroups != last.cgroups {
			last, since = now, time.Now()
		}
		if want == (held{}) && time.Since(since) > 10*time.Second {
			return now
		}
	}
	return now
}

func (n *node) held(ctx context.Context) (h held) {
	all := descendants(n.pid())
	h.processes = len(all)
	spaces := map[string]bool{}
	for _, pid := range append(all, n.pid()) {
		dir := fmt.Sprintf("/proc/%d", pid)
		if strings.Contains(readText(dir+"/stat"), ") Z ") {
			h.zombies++
		}
		links, _ := filepath.Glob(dir + "/ns/*")
		if pid == n.pid() {
			fds, _ := filepath.Glob(dir + "/fd/*")
			h.descriptors = len(fds)
			links = append(links, fds...) // a namespace may be held by a descriptor
		}
		for _, l := range links {
			if to, err := os.Readlink(l); err == nil && strings.Contains(to, ":[") && !strings.HasPrefix(to, "socket:") && !strings.HasPrefix(to, "pipe:") {
				spaces[to] = true
			}
		}
	}
	h.namespaces = len(spaces)
	h.cgroups = len(cgroupsOf(all))
	h.mounts = strings.Count(readText(fmt.Sprintf("/proc/%d/mounts", n.pid())), "\n")
	var profile []byte
	if n.client().Do(ctx, "GET", "/debug/pprof/goroutine?debug=1", nil, &profile) == nil {
		_, _ = fmt.Sscanf(string(profile), "goroutine profile: total %d", &h.goroutines)
	}
	return h
}

// cgroupsOf are the cgroups of the nodes that processes belong to.
func cgroupsOf(pids []int) (groups []string) {
	nodes := map[string]bool{}
	for _, pid := range pids {
		for line := range strings.Lines(readText(fmt.Sprintf("/proc/%d/cgroup", pid))) {
			for part := range strings.SplitSeq(strings.TrimSpace(line), "/") {
				if strings.HasPrefix(part, "mayfly-") {
					nodes[part] = true
				}
			}
		}
	}
	for name := range nodes {
		for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
			dirs, _ := filepath.Glob(pattern)
			for _, dir := range dirs {
				children, _ := filepath.Glob(dir + "/c*[0-9]")
				groups = append(append(groups, dir), children...)
			}
		}
	}
	return groups
}

// left counts which of a node's processes and cgroups are still there a moment
// after its end.
func (t *table) left(name string, pids []int, groups []string) {
	var h held
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		h = held{}
		for _, pid := range pids {
			if stat := readText(fmt.Sprintf("/proc/%d/stat", pid)); stat != "" && !strings.Contains(stat, ") Z ") {
				h.processes++
			}
		}
		for _, dir := range groups {
			if _, err := os.Stat(dir); err == nil {
				h.cgroups++
			}
		}
		if h == (held{}) {
			break
		}
	}
	r := t.row(name)
	r.add("processes", "", float64(h.processes))
	r.add("cgroups", "", float64(h.cgroups))
}
