package daemon

import (
	"context"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/binary"
	"github.com/mayfly-cloud/mayfly/sandbox/httpserver"
	"github.com/mayfly-cloud/mayfly/sandbox/node"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/python"
)

// runtimes is the driver of every runtime: one line each.
func runtimes(c Config, l *process.Launcher) map[mayfly.Runtime]sandbox.Driver {
	drivers := map[mayfly.Runtime]sandbox.Driver{}
	for _, d := range []sandbox.Driver{
		python.New(python.Config{Launcher: l, Dir: c.path("runtime", "python"), Log: c.Log}),
		node.New(node.Config{Launcher: l, Dir: c.path("runtime", "node"), Log: c.Log}),
		binary.New(binary.Config{Launcher: l, Log: c.Log}),
		httpserver.New(httpserver.Config{Launcher: l, Log: c.Log}),
	} {
		drivers[d.Runtime()] = d
	}
	return drivers
}

// catalogue makes the services and triggers: a few lines each.
func (n *Node) catalogue(context.Context) error {
	p := &n.parts
	p.services = append(p.services, p.secrets)
	p.api = append(p.api, n.telemetry, p.calls, p.secrets)
	return nil
}
