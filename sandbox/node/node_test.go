package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/node"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// place has the worker's files for all tests of this package.
var place sandboxtest.Place

func TestMain(m *testing.M) { place.Main(m) }

// newDriver is a driver over ordinary processes that starts nothing ahead.
func newDriver(t testing.TB) *node.Driver {
	t.Helper()
	return driverOver(t, sandboxtest.NewLauncher(t, process.WallsNone), -1)
}

func driverOver(t testing.TB, l *process.Launcher, ahead mayfly.Bytes) *node.Driver {
	t.Helper()
	d := node.New(node.Config{Launcher: l, Dir: place.Dir, Ahead: ahead})
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
func walled(t testing.TB, ahead mayfly.Bytes) *node.Driver {
	t.Helper()
	return driverOver(t, sandboxtest.NewLauncher(t, process.WallsAuto), ahead)
}

// bundle writes files and returns a version with handler.
func bundle(t testing.TB, handler string, files map[string]string) *sandbox.Spec {
	t.Helper()
	dir := t.TempDir()
	sandboxtest.Write(t, dir, 0o644, files)
	return &sandbox.Spec{Runtime: mayfly.Node, Handler: handler, Dir: dir, Env: map[string]string{}}
}

func maker(code string, change func(*sandbox.Spec)) sandboxtest.Maker {
	return func(t *testing.T) *sandbox.Spec {
		s := bundle(t, "app.handler", map[string]string{"app.js": code})
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
		Echo:   maker("exports.handler = async (event) => event", nil),
		Error:  maker("exports.handler = async () => { throw new Error('deliberate') }", nil),
		Exit:   maker("exports.handler = async () => process.exit(3)", nil),
		Hang:   maker("exports.handler = () => { for (;;); }", nil),
		Sleep: maker("exports.handler = (event) => new Promise((r) => setTimeout(r, 300, event))",
			func(s *sandbox.Spec) { s.PerInstance = 4 }),
		Stream: maker(`
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
	stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { 'x-test': 'yes' } });
	for (const s of ['one', 'two', 'three']) stream.write(s);
	stream.end();
})`, nil),
		Endless: maker(`
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
	await pipeline(new Readable({ read() { this.push(Buffer.alloc(1000)) } }), stream);
})`, nil),
		Memory: maker("exports.handler = async () => { const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1)) }",
			func(s *sandbox.Spec) { s.Memory = 128 * mayfly.MiB }),
		Print:   maker("exports.handler = async (event) => { console.log(event.line); return event }", nil),
		Flood:   maker("exports.handler = async (event) => { for (let i = 0; i < 10000; i++) console.log('x'.repeat(9999)); return event }", nil),
		NotJSON: maker("exports.handler = async () => { const a = {}; a.a = a; return a }", nil),
		Broken:  maker("exports.handler = async (event => event", nil),
		Context: maker(`
exports.handler = async (event, context) => ({ id: context.awsRequestId, remaining: context.getRemainingTimeInMillis(), env: process.env.PROBE })
`, func(s *sandbox.Spec) { s.Env["PROBE"] = "seen" }),
	}
}

// TestAhead: with time, instances come from workers that were started ahead, of
// whose rehearsal nothing is seen.
func TestAhead(t *testing.T) {
	d := walled(t, 0)
	spec := bundle(t, "app.handler", map[string]string{"app.js": "exports.handler = async (event) => event"})
	sandboxtest.Complete(spec)
	for until := time.Now().Add(sandboxtest.Patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		seen := &sandboxtest.Recorder{}
		inst, err := d.Start(sandboxtest.Within(t), spec, seen)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := inst.Call(sandboxtest.Within(t), &sandbox.Call{ID: "a", Event: []byte("1")})
		if err != nil || string(reply.Payload) != "1" || len(seen.Lines()) > 0 {
			t.Fatalf("%v, %v, printed %v", reply, err, seen.Lines())
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
