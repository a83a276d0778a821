package python_test

import (
	"context"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/python"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// place has the worker's files for all tests of this package.
var place sandboxtest.Place

func TestMain(m *testing.M) { place.Main(m) }

// newDriver is a driver over ordinary processes that starts nothing ahead.
func newDriver(t testing.TB) *python.Driver {
	t.Helper()
	return driverOver(t, sandboxtest.NewLauncher(t, process.WallsNone), -1)
}

func driverOver(t testing.TB, l *process.Launcher, ahead mayfly.Bytes) *python.Driver {
	t.Helper()
	d := python.New(python.Config{Launcher: l, Dir: place.Dir, Ahead: ahead})
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := d.Check(context.Background()); err != nil {
		t.Skip(err)
	}
	return d
}

// walled is a driver behind walls.
func walled(t testing.TB, ahead mayfly.Bytes) *python.Driver {
	t.Helper()
	return driverOver(t, sandboxtest.NewLauncher(t, process.WallsAuto), ahead)
}

// bundle writes files and returns a version with handler.
func bundle(t testing.TB, handler string, files map[string]string) *sandbox.Spec {
	t.Helper()
	dir := t.TempDir()
	sandboxtest.Write(t, dir, 0o644, files)
	return &sandbox.Spec{Runtime: mayfly.Python, Handler: handler, Dir: dir, Env: map[string]string{}}
}

func maker(code string, change func(*sandbox.Spec)) sandboxtest.Maker {
	return func(t *testing.T) *sandbox.Spec {
		s := bundle(t, "app.handler", map[string]string{"app.py": code})
		if change != nil {
			change(s)
		}
		return s
	}
}

func TestContract(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		sandboxtest.Run(t, suite(func(t *testing.T) sandbox.Driver { return newDriver(t) }))
	})
	t.Run("walled", func(t *testing.T) {
		sandboxtest.Run(t, suite(func(t *testing.T) sandbox.Driver { return walled(t, -1) }))
	})
}

func suite(driver func(t *testing.T) sandbox.Driver) sandboxtest.Suite {
	return sandboxtest.Suite{
		Driver: driver,
		Echo:   maker("def handler(event, context):\n    return event\n", nil),
		Error:  maker("def handler(event, context):\n    raise ValueError('deliberate')\n", nil),
		Exit:   maker("import sys\ndef handler(event, context):\n    sys.exit(3)\n", nil),
		Hang:   maker("import time\ndef handler(event, context):\n    while True: time.sleep(1)\n", nil),
		Sleep: maker("import time\ndef handler(event, context):\n    time.sleep(0.3)\n    return event\n",
			func(s *sandbox.Spec) { s.PerInstance = 4 }),
		Stream: maker(`
def handler(event, context):
    yield {"statusCode": 201, "headers": {"x-test": "yes"}}
    for s in ("one", "two", "three"):
        yield s
`, nil),
		Endless: maker("def handler(event, context):\n    while True: yield b'x' * 1000\n", nil),
		Memory: maker("def handler(event, context):\n    kept = []\n    while True: kept.append(bytearray(b'x' * (1 << 20)))\n",
			func(s *sandbox.Spec) { s.Memory = 64 * mayfly.MiB }),
		Print:   maker("def handler(event, context):\n    print(event['line'])\n    return event\n", nil),
		Flood:   maker("def handler(event, context):\n    for _ in range(10000): print('x' * 9999)\n    return event\n", nil),
		NotJSON: maker("def handler(event, context):\n    return {1, 2}\n", nil),
		Broken:  maker("def handler(event, context)\n    return event\n", nil),
		Context: maker(`
import os
def handler(event, context):
    return {"id": context.aws_request_id, "remaining": context.get_remaining_time_in_millis(), "env": os.environ["PROBE"]}
`, func(s *sandbox.Spec) { s.Env["PROBE"] = "seen" }),
	}
}

// TestAhead: with time, instances come from workers that were started ahead.
func TestAhead(t *testing.T) {
	d := walled(t, 0)
	spec := bundle(t, "app.handler", map[string]string{"app.py": "def handler(event, context):\n    return event\n"})
	sandboxtest.Complete(spec)
	for until := time.Now().Add(sandboxtest.Patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		inst, err := d.Start(sandboxtest.Within(t), spec, &sandboxtest.Recorder{})
		if err != nil {
			t.Fatal(err)
		}
		reply, err := inst.Call(sandboxtest.Within(t), &sandbox.Call{ID: "a", Event: []byte("1")})
		if err != nil || string(reply.Payload) != "1" {
			t.Fatalf("%v, %v", reply, err)
		}
		ahead := false
		for _, p := range inst.Info().Phases {
			ahead = ahead || p.Name == mayfly.PhaseRuntime && p.Duration == 0
		}
		sandboxtest.End(inst)
		if ahead {
			return
		}
	}
	t.Error("no instance came from a worker that was started ahead")
}
