package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/node"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newDriver is a driver over ordinary processes: the walls have tests of their
// own.
func newDriver(t testing.TB) *node.Driver {
	t.Helper()
	dir := t.TempDir()
	l, err := process.New(process.Config{Dir: filepath.Join(dir, "cells"), Walls: process.WallsNone})
	if err != nil {
		t.Fatal(err)
	}
	d := node.New(node.Config{Launcher: l, Dir: filepath.Join(dir, "node")})
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// bundle writes files and returns a version with handler.
func bundle(t testing.TB, handler string, files map[string]string) *sandbox.Spec {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
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
	sandboxtest.Run(t, sandboxtest.Suite{
		Driver: func(t *testing.T) sandbox.Driver { return newDriver(t) },
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
		Flood:   maker("exports.handler = async (event) => { for (let i = 0; i < 1 << 20; i++) console.log('x'.repeat(99)); return event }", nil),
		NotJSON: maker("exports.handler = async () => { const a = {}; a.a = a; return a }", nil),
		Broken:  maker("exports.handler = async (event => event", nil),
		Context: maker(`
exports.handler = async (event, context) => ({ id: context.awsRequestId, remaining: context.getRemainingTimeInMillis(), env: process.env.PROBE })
`, func(s *sandbox.Spec) { s.Env["PROBE"] = "seen" }),
	})
}
