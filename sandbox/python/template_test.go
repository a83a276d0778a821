package python_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/python"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// counted tells, by its state, which process it is: a template has loaded the
// module once.
const counted = `
import os, random, tempfile, time
loaded = time.time_ns()
calls = 0
def handler(event, context):
    global calls
    calls += 1
    return {"loaded": loaded, "calls": calls, "random": random.random(), "name": next(tempfile._get_candidate_names()),
            "instance": os.environ["MAYFLY_INSTANCE"] == context.log_stream_name, "caps": [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")][0],
            "tmp": os.listdir("/tmp"), "probe": os.environ["PROBE"], "cwd": os.getcwd(), "uid": os.getuid() > 0}
`

func forkable(t testing.TB, text string) *sandbox.Spec {
	spec := sandboxtest.Complete(bundle(t, "app.handler", map[string]string{"app.py": text}))
	spec.Template = true
	spec.Env["PROBE"] = "seen"
	return spec
}

// between cuts the value of a field out of a JSON text.
func between(text, field string) string {
	_, rest, _ := strings.Cut(text, `"`+field+`":`)
	value, _, _ := strings.Cut(rest, ",")
	return value
}

func TestTemplate(t *testing.T) {
	d := walled(t, -1)
	spec := forkable(t, counted)
	if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
		t.Fatal(err)
	}
	first := sandboxtest.Start(t, d, spec)
	a := first.Event("{}")
	second := sandboxtest.Start(t, d, spec)
	b := second.Event("{}")
	for _, text := range []string{a, b} {
		for _, want := range []string{`"calls":1`, `"instance":true`, `"caps":"0000000000000000"`, `"tmp":[]`, `"probe":"seen"`, `"cwd":"/var/task"`, `"uid":true`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %s", text, want)
			}
		}
	}
	if between(a, "loaded") != between(b, "loaded") {
		t.Errorf("the module was loaded twice: %s, %s", a, b)
	}
	if between(a, "random") == between(b, "random") || between(a, "name") == between(b, "name") {
		t.Errorf("two instances share randomness: %s, %s", a, b)
	}
	if !strings.Contains(first.Event("{}"), `"calls":2`) {
		t.Error("an instance lost its state")
	}
	if first.Instance.ID() == second.Instance.ID() || first.Instance.Info().PID == second.Instance.Info().PID {
		t.Errorf("two instances have one identity: %+v", first.Instance.Info())
	}
	sandboxtest.End(second.Instance)
	if !strings.Contains(first.Event("{}"), `"calls":3`) {
		t.Error("an instance ended with another")
	}
	d.Forget(spec) // the template lives as long as its children
	if !strings.Contains(first.Event("{}"), `"calls":4`) {
		t.Error("an instance ended with its version's template")
	}
}

func TestTemplateBurst(t *testing.T) {
	d := walled(t, -1)
	spec := forkable(t, counted)
	if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	loaded := map[string]bool{}
	for range 12 {
		wg.Go(func() {
			inst, err := d.Start(sandboxtest.Within(t), spec, &sandboxtest.Recorder{})
			if err != nil {
				t.Errorf("Start: %v", err)
				return
			}
			defer sandboxtest.End(inst)
			reply, err := inst.Call(sandboxtest.Within(t), &sandbox.Call{ID: "a", Event: []byte("{}")})
			if err != nil {
				t.Errorf("Call: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			loaded[between(string(reply.Payload), "loaded")] = true
		})
	}
	wg.Wait()
	if len(loaded) != 1 && !t.Failed() {
		t.Errorf("the module was loaded %d times", len(loaded))
	}
}

// TestTemplateShapes: what runs in the children of a template.
func TestTemplateShapes(t *testing.T) {
	d := walled(t, -1)
	for name, c := range map[string]struct{ handler, text, want string }{
		"async":   {"app.handler", "import asyncio\nasync def handler(e, c):\n    await asyncio.sleep(0)\n    return e\n", "1"},
		"threads": {"app.handler", "import threading\ndef handler(e, c):\n    r = []\n    t = threading.Thread(target=r.append, args=(e,)); t.start(); t.join()\n    return r[0]\n", "1"},
		"stream":  {"app.handler", "def handler(e, c):\n    yield '1'\n", "1"},
		"hook":    {"app.handler", "import mayfly\nseen = []\nmayfly.after_fork(lambda: seen.append(1))\ndef handler(e, c): return seen[0]\n", "1"},
		"child":   {"app.handler", "import subprocess\ndef handler(e, c): return int(subprocess.check_output(['echo', '1']))\n", "1"},
		"argv":    {"app.handler", "import sys, signal\ndef handler(e, c): return len(sys.argv)\n", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := forkable(t, c.text)
			spec.Handler = c.handler
			if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				f := sandboxtest.Start(t, d, spec)
				f.Want(f.Event("1"), c.want)
				if err := f.Instance.Stop(sandboxtest.Within(t)); err != nil {
					t.Error(err)
				}
			}
			d.Forget(spec)
		})
	}
}

func TestTemplateLines(t *testing.T) {
	d := walled(t, -1)
	spec := forkable(t, "import os\nprint('of the template')\ndef handler(e, c):\n    print('line')\n    os.write(1, b'raw\\n')\n    os.write(2, b'raw error\\n')\n    os._exit(3)\n")
	if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
		t.Fatal(err)
	}
	f := sandboxtest.Start(t, d, spec)
	if e := f.Fails("{}"); e.Type != mayfly.ErrorTypeExit || !strings.Contains(e.Message, "3") {
		t.Errorf("the error is %+v", e)
	}
	for text, stream := range map[string]mayfly.LogStream{"line": mayfly.Stdout, "raw": mayfly.Stdout, "raw error": mayfly.Stderr} {
		l := f.Out.Await(t, text, func(l mayfly.LogLine) bool { return l.Text == text })
		if l.Stream != stream || l.Instance != f.Instance.ID() {
			t.Errorf("%q is %+v", text, l)
		}
	}
}

// TestUnforkable: code that cannot be forked runs all the same.
func TestUnforkable(t *testing.T) {
	d := walled(t, -1)
	for name, setup := range map[string]string{
		"a thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n",
		"a socket": "import socket\ns = socket.socketpair()\n",
	} {
		t.Run(name, func(t *testing.T) {
			spec := forkable(t, setup+counted)
			if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
				t.Fatal(err)
			}
			a, b := sandboxtest.Start(t, d, spec).Event("{}"), sandboxtest.Start(t, d, spec).Event("{}")
			if between(a, "loaded") == between(b, "loaded") {
				t.Error("the instances were forked")
			}
		})
	}
}

func TestTemplateThatDied(t *testing.T) {
	d := walled(t, -1)
	spec := forkable(t, counted+`
`)
	if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
		t.Fatal(err)
	}
	f := sandboxtest.Start(t, d, spec)
	f.Event("{}")
	template := parent(t, f.Instance.Info().PID)
	if template == "" {
		t.Skip("the template cannot be found")
	}
	pid, err := strconv.Atoi(template)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Skipf("the template cannot be killed: %v", err)
	}
	<-f.Instance.Done()
	sandboxtest.Start(t, d, spec).Event("{}") // afresh, or from a new template
}

// TestWaitingChildThatDied: another takes its place, and the template stays.
func TestWaitingChildThatDied(t *testing.T) {
	d := walled(t, -1)
	spec := forkable(t, counted)
	if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
		t.Fatal(err)
	}
	f := sandboxtest.Start(t, d, spec)
	before := f.Event("{}")
	template := parent(t, f.Instance.Info().PID)
	if template == "" {
		t.Skip("the template cannot be found")
	}
	for until := time.Now().Add(sandboxtest.Patience); ; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("no child is forked ahead")
		}
		waiting := slices.DeleteFunc(grandchildren(t, template), func(pid int) bool { return pid == f.Instance.Info().PID })
		if len(waiting) == 0 {
			continue
		}
		for _, pid := range waiting {
			_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended is as good
		}
		break
	}
	for range 2 {
		if after := sandboxtest.Start(t, d, spec).Event("{}"); between(after, "loaded") != between(before, "loaded") {
			t.Errorf("the module was loaded again: %s, %s", before, after)
		}
	}
}

// TestTemplatesInUse: what is only prepared takes no other's room.
func TestTemplatesInUse(t *testing.T) {
	d := python.New(python.Config{Launcher: sandboxtest.NewLauncher(t, process.WallsAuto), Dir: place.Dir, Ahead: -1, Templates: 1})
	t.Cleanup(func() { d.Close() })
	first, second := forkable(t, counted), forkable(t, counted)
	first.Function, second.Function = "first", "second"
	for _, spec := range []*sandbox.Spec{first, second} {
		if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := sandboxtest.Start(t, d, first).Event("{}"), sandboxtest.Start(t, d, first).Event("{}"); between(a, "loaded") != between(b, "loaded") {
		t.Error("the first has lost its template")
	}
	if a, b := sandboxtest.Start(t, d, second).Event("{}"), sandboxtest.Start(t, d, second).Event("{}"); between(a, "loaded") == between(b, "loaded") {
		t.Error("the second has a template")
	}
}

// TestTemplateMemory: the limit of an instance is its own.
func TestTemplateMemory(t *testing.T) {
	d := walled(t, -1)
	spec := forkable(t, "def handler(e, c):\n    kept = []\n    while True: kept.append(bytearray(b'x' * (1 << 20)))\n")
	spec.Memory = 64 * mayfly.MiB
	if err := d.Prepare(sandboxtest.Within(t), spec); err != nil {
		t.Fatal(err)
	}
	f := sandboxtest.Start(t, d, spec)
	limited := false
	for _, w := range f.Instance.Info().Tier.Walls {
		limited = limited || strings.Contains(strings.ToLower(w), "memory")
	}
	if !limited {
		t.Skip("memory is not limited here")
	}
	if e := f.Fails("{}"); e.Type != mayfly.ErrorTypeOutOfMemory {
		t.Errorf("the error is %+v", e)
	}
	sandboxtest.Start(t, d, spec) // the template lives
}

func BenchmarkFork(b *testing.B) {
	d := walled(b, -1)
	spec := forkable(b, "import json, asyncio, logging, datetime, email, http.client, urllib.request, ssl, decimal, sqlite3\n"+echo)
	if err := d.Prepare(context.Background(), spec); err != nil {
		b.Fatal(err)
	}
	sandboxtest.Starts(b, d, spec)
}

// grandchildren are the programs of the cells within the cell of an init.
func grandchildren(t *testing.T, init string) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && parent(t, pid) == init {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parent is the process that is the init of pid's template's cell, "" where the
// kernel does not tell.
func parent(t *testing.T, pid int) string {
	t.Helper()
	return ancestor(pid, 2) // past the template
}

// ancestor is the process that pid descends from over so many generations.
func ancestor(pid, generations int) string {
	for range generations {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			return ""
		}
		_, rest, _ := strings.Cut(string(data), "PPid:\t")
		line, _, _ := strings.Cut(rest, "\n")
		if pid, err = strconv.Atoi(line); err != nil || pid <= 1 {
			return ""
		}
	}
	return strconv.Itoa(pid)
}
