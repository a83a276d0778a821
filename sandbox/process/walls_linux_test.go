package process

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

var linuxProbes = map[string]func() error{"daemon": probeDaemon, "unprivileged": probeUnprivileged, "fetch": probeFetch, "escape": probeEscape, "bomb": probeBomb}

// walledLauncher skips where the machine has no walls, or lacks a named one.
func walledLauncher(t testing.TB, cfg Config, needs ...string) *Launcher {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	skipWithout(t, l, needs...)
	return l
}

func skipWithout(t testing.TB, l *Launcher, needs ...string) {
	t.Helper()
	tier := l.Tier()
	if tier.Name == sandbox.TierPlain {
		t.Skip("this machine has no walls: ", tier.Missing)
	}
	for _, wall := range needs {
		if !slices.Contains(tier.Walls, wall) {
			t.Skip("this machine lacks a wall: ", wall, ": ", tier.Missing[wall])
		}
	}
}

func TestOutOfMemory(t *testing.T) {
	l := walledLauncher(t, Config{}, "memory limit")
	p := startProbe(t, l, "memory", func(c *Command) { c.Memory = 48 * mayfly.MiB })
	waitDone(t, p)
	if e := p.Ended(); !e.OutOfMemory {
		t.Errorf("ended as %+v", e)
	}
	if u := p.Usage(); u.MemoryPeak < 40*mayfly.MiB || u.MemoryPeak > 49*mayfly.MiB { // the kernel lets who is to die take some pages more
		t.Errorf("peak %v", u.MemoryPeak)
	}
}

// TestMemoryOfAll bounds all cells together below what one of them may have.
func TestMemoryOfAll(t *testing.T) {
	l := walledLauncher(t, Config{Memory: 64 * mayfly.MiB}, "memory limit")
	p := startProbe(t, l, "memory", func(c *Command) { c.Memory = mayfly.GiB })
	waitDone(t, p)
	if u := p.Usage(); u.MemoryPeak > 72*mayfly.MiB { // each processor may be some pages ahead of the count
		t.Errorf("ended as %+v after %v", p.Ended(), u.MemoryPeak)
	}
}

func TestVersion1Freezer(t *testing.T) {
	l := newLauncher(t, Config{})
	l.walls.v1 = true
	skipWithout(t, l, "freezer for idle instances")
	if l.walls.nursery.groups.freezer() == "" {
		t.Skip("this machine has no v1 freezer")
	}
	var out buffer
	p := startProbe(t, l, "count", func(c *Command) { c.Stdout = &out })
	eventually(t, "the program counts", func() bool { return len(out.String()) > 3 })
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	waitDone(t, p)
}

// leftovers counts what sandboxes leave behind on a machine.
type leftovers struct{ groups, mounts, processes, files int }

func countLeftovers(t testing.TB, l *Launcher) (n leftovers) {
	t.Helper()
	for _, m := range cgroupMounts() {
		found, _ := filepath.Glob(filepath.Join(m.dir, groupPrefix+l.walls.node+".*", "c[0-9]*"))
		n.groups += len(found)
	}
	n.mounts = strings.Count(readAll(t, "/proc/self/mounts"), "\n")
	n.processes = len(descendants(t, os.Getpid()))
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n.files = len(entries)
	return n
}

func readAll(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// descendants are the processes below pid.
func descendants(t testing.TB, pid int) (all []int) {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		parent, _ := strconv.Atoi(f[1])
		child, _ := strconv.Atoi(strings.Split(file, "/")[2])
		children[parent] = append(children[parent], child)
	}
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		all = append(all, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

func TestNothingLeaks(t *testing.T) {
	l := walledLauncher(t, Config{Doors: []Door{greeter()}})
	run(t, l, "true", nil)
	before := countLeftovers(t, l)
	for range 20 {
		run(t, l, "sleep 1000 & echo", nil)
		p := startProbe(t, l, "server", func(c *Command) { c.Env, c.Listen = append(c.Env, "PORT=80"), []int{81} })
		if conn, err := p.Dial(t.Context(), 80); err == nil {
			conn.Close()
		}
		p.Freeze()
		p.Close()
	}
	if after := countLeftovers(t, l); after != before {
		t.Errorf("before %+v, after %+v", before, after)
	}
	l.Close()
	if after := countLeftovers(t, l); after.groups != 0 || after.processes != 0 {
		t.Errorf("a closed launcher left %+v", after)
	}
}

// TestMixedLoad starts, uses and ends programs in every way at once, with a
// stock, and counts what is left.
func TestMixedLoad(t *testing.T) {
	l := walledLauncher(t, Config{Doors: []Door{greeter()}, Stock: 3})
	ctx, stop := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() { l.Run(ctx) })
	eventually(t, "the stock fills", func() bool { return stockOf(l) == 3 })
	before := countLeftovers(t, l)
	var all sync.WaitGroup
	for worker := range 6 {
		all.Go(func() {
			for i := range 25 {
				useOnce(t, l, worker+i)
			}
		})
	}
	all.Wait()
	eventually(t, "the stock fills again", func() bool { return stockOf(l) == 3 })
	eventually(t, "nothing is left over", func() bool { return countLeftovers(t, l) == before })
	stop()
	keeping.Wait()
	l.Close()
	if after := countLeftovers(t, l); after.groups != 0 || after.processes != 0 {
		t.Errorf("a closed launcher left %+v", after)
	}
}

func stockOf(l *Launcher) int {
	l.walls.mu.Lock()
	defer l.walls.mu.Unlock()
	return len(l.walls.stock)
}

// useOnce runs a program in one of some ways.
func useOnce(t *testing.T, l *Launcher, way int) {
	cmd := Command{Path: "/bin/sh", Args: []string{"-c", "sleep 1000 & sleep 1000"}, Stdout: &buffer{}}
	lines := []string{"localhost:1"}
	if hasTunnel() {
		lines = append(lines, "*.test:443")
	}
	if way%2 == 0 {
		cmd.Who, cmd.Memory, cmd.Egress = who, 64*mayfly.MiB, lines
	}
	if way%5 == 0 {
		cmd.Args[1] = "exit 3"
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if way%7 == 0 {
		cancel()
	}
	p, err := l.Start(ctx, cmd)
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return
	}
	switch way % 4 {
	case 0:
		p.Freeze()
		p.Kill()
	case 1:
		p.Assign(t.Context(), Assignment{Who: who, Secrets: map[string][]byte{"KEY": nil}, Egress: lines})
	case 2:
		p.Signal(syscall.SIGTERM)
		<-p.Done()
	case 3:
		if conn, err := p.Dial(t.Context(), 1); err == nil {
			conn.Close()
		}
	}
	p.Usage()
	p.Close()
}

// TestKilledDaemon kills a daemon that has running, frozen and spare cells.
func TestKilledDaemon(t *testing.T) {
	for _, v1 := range []bool{false, true} {
		t.Run("v1="+strconv.FormatBool(v1), func(t *testing.T) {
			dir := t.TempDir()
			before := walledLauncher(t, Config{Dir: dir})
			before.Close()
			daemon := exec.Command("/proc/self/exe")
			daemon.Env = append(os.Environ(), "PROBE=daemon", "DIR="+dir, "V1="+strconv.FormatBool(v1))
			daemon.Stderr = os.Stderr
			out, err := daemon.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := daemon.Start(); err != nil {
				t.Fatal(err)
			}
			s := bufio.NewScanner(out)
			for s.Scan() && s.Text() != "ready" {
				t.Log(s.Text())
			}
			pids := descendants(t, daemon.Process.Pid)
			if len(pids) < 6 {
				t.Errorf("the daemon has few processes: %v", pids)
			}
			daemon.Process.Kill()
			daemon.Wait()
			for _, pid := range pids {
				eventually(t, "process "+strconv.Itoa(pid)+" ends", func() bool { return !running(pid) })
			}
			groups := filepath.Join("/sys/fs/cgroup", "*", groupPrefix+before.walls.node+".*")
			eventually(t, "the cgroups are removed", func() bool { left, _ := filepath.Glob(groups); return len(left) == 0 })
			l, err := New(Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if n := countLeftovers(t, l); n.groups > 0 {
				t.Errorf("the next daemon left %+v", n)
			}
		})
	}
}

// TestKeeperKilled ends the processes that all cells come from: programs end,
// and the next one has new walls.
func TestKeeperKilled(t *testing.T) {
	l := walledLauncher(t, Config{})
	p := startProbe(t, l, "count", nil)
	for _, pid := range descendants(t, os.Getpid()) {
		if strings.HasPrefix(readAll(t, "/proc/"+strconv.Itoa(pid)+"/comm"), "mayfly-keeper") {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	waitDone(t, p)
	eventually(t, "the nursery is gone", func() bool {
		l.walls.mu.Lock()
		defer l.walls.mu.Unlock()
		return !l.walls.nursery.alive()
	})
	if out, _ := run(t, l, "echo $$", nil); out != "2" {
		t.Errorf("printed %q, want the first process id of a cell", out)
	}
}

// TestUnifiedLimits writes the files of version 2, which this machine may not
// have, into a folder.
func TestUnifiedLimits(t *testing.T) {
	h := &hierarchies{unified: t.TempDir(), v2: map[string]bool{"memory": true, "cpu": true, "pids": true}}
	g, err := h.newGroup("c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.limit(512*mayfly.MiB, 99); err != nil {
		t.Fatal(err)
	}
	if err := g.freeze(true); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"memory.max": "536870912", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "99", "cpu.max": "100000 100000", "cpu.weight": "28", "cgroup.freeze": "1",
	} {
		path := filepath.Join(g.unified(), file)
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, path); got != want {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
	for file, content := range map[string]string{"memory.events": "low 0\noom_kill 1\n", "memory.peak": "7\n", "memory.current": "5\n", "cpu.stat": "usage_usec 9\n"} {
		if err := os.WriteFile(filepath.Join(g.unified(), file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if u := g.usage(); u.Memory != 5 || u.MemoryPeak != 7 || u.CPU != 9*time.Microsecond || !g.killedForMemory() {
		t.Errorf("usage %+v", u)
	}
}

func TestAllCellsWeighAsManyProcesses(t *testing.T) {
	h := &hierarchies{unified: t.TempDir(), v2: map[string]bool{"cpu": true}}
	h.weigh(4)
	path := filepath.Join(h.unified, "cpu.weight")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, path); got != "400" {
		t.Errorf("cells weigh %s, want 400", got)
	}
}

// running reports whether a process still has memory: a zombie does not run.
func running(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z")
}

// probeDaemon starts cells and waits to be killed.
func probeDaemon() error {
	l, err := New(Config{Dir: os.Getenv("DIR")})
	if err != nil {
		return err
	}
	l.walls.v1 = os.Getenv("V1") == "true"
	for i := range 2 {
		cmd := Command{Path: "/bin/sh", Args: []string{"-c", "sleep 1000 & sleep 1000"}}
		cmd.Who = who
		p, err := l.Start(background, cmd)
		if err != nil {
			return err
		}
		if i == 0 {
			if err := p.Freeze(); err != nil {
				fmt.Println(err)
			}
		}
	}
	fmt.Println("ready")
	select {}
}

// TestUnprivileged runs a sandbox for a user without any privilege.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; the other tests ran without privilege")
	}
	dir, err := os.MkdirTemp("/tmp", "mayfly-unprivileged-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "probe")
	if err := os.WriteFile(self, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{"PROBE=unprivileged", "DIR=" + dir, "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.HasPrefix(string(out), "plain") {
		t.Skip(string(out))
	}
	for _, want := range []string{"partial", "bundled", "secret", "uid=1000"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("output %q lacks %q", out, want)
		}
	}
}

func probeUnprivileged() error {
	dir := os.Getenv("DIR")
	l, err := New(Config{Dir: filepath.Join(dir, "cells")})
	if err != nil {
		return err
	}
	defer l.Close()
	tier := l.Tier()
	fmt.Println(tier.Name, tier.Walls, tier.Missing)
	if tier.Name == sandbox.TierPlain {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, "hello"), []byte("bundled\n"), 0o600); err != nil {
		return err
	}
	cmd := Command{Path: "/bin/sh", Args: []string{"-c", "id; cat hello /run/secrets/KEY"}, Stdout: os.Stdout, Stderr: os.Stdout}
	cmd.Who, cmd.Bundle, cmd.Secrets = who, dir, map[string][]byte{"KEY": []byte("secret\n")}
	p, err := l.Start(background, cmd)
	if err != nil {
		return err
	}
	defer p.Close()
	<-p.Done()
	if !slices.Contains(tier.Walls, "process limit") {
		return nil
	}
	return unprivilegedForks(l)
}

// unprivilegedForks checks that a cell without cgroups has a process limit.
func unprivilegedForks(l *Launcher) error {
	var out bytes.Buffer
	p, err := l.Start(background, Command{
		Path: "/bin/sh", Args: []string{"-c", "i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done; echo all"}, Stdout: &out, Stderr: &out,
		Assignment: Assignment{Who: who, Pids: 50},
	})
	if err != nil {
		return err
	}
	defer p.Close()
	<-p.Done()
	if strings.Contains(out.String(), "all") {
		return fmt.Errorf("there is no process limit: %s", out.String())
	}
	return nil
}
