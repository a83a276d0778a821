package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api/client"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/daemon"
	"github.com/mayfly-cloud/mayfly/manifest"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// withLocal runs use with a node of its own that has the app of this folder
// deployed, and removes both. What functions print goes to standard error.
// Secrets are taken from the environment.
func (g *globals) withLocal(ctx context.Context, use func(ctx context.Context) error) (err error) {
	m, err := manifest.Load(".")
	if err != nil {
		return err
	}
	data, err := os.MkdirTemp("", "mayfly-local-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	f := nodeFlags{logLevel: "error", cfg: daemon.Config{Data: data, Gateway: anyPort, API: anyPort, S3: anyPort, Durability: "fast", Dev: true}}
	cfg, err := f.config(g)
	if err != nil {
		return err
	}
	n, err := daemon.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer n.Close()
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	told := g.tellLogs(context.WithoutCancel(ctx), n)
	g.api, g.token, g.app = n.URLs().API, n.URLs().Token, string(m.App)
	err = g.deployLocal(ctx, n, m)
	if err == nil {
		err = use(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(printDelay):
		}
	}
	stop()
	err = errors.Join(err, <-ended, n.Close())
	<-told // Close ended it
	return err
}

// tellLogs prints what functions print until the node is closed.
func (g *globals) tellLogs(ctx context.Context, n *daemon.Node) (done <-chan struct{}) {
	lines := n.Telemetry().Tail(ctx, telemetry.LogQuery{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		for line := range lines {
			fmt.Fprintln(g.err, logLine(line))
		}
	}()
	return told
}

const (
	anyPort    = "127.0.0.1:0"
	printDelay = 200 * time.Millisecond // in which what a function printed arrives after its reply
)

func (g *globals) deployLocal(ctx context.Context, n *daemon.Node, m *mayfly.Manifest) error {
	c := &client.Client{Base: g.api, Token: g.token}
	for _, name := range secretNames(m) {
		value, ok := os.LookupEnv(name)
		if !ok {
			return mayfly.Errorf(mayfly.Invalid, "", "the app has a secret %s; give a value for this run in the environment: %s=VALUE mayfly invoke …", name, name)
		}
		path := "/v1/apps/" + string(m.App) + "/secrets/" + url.PathEscape(name)
		if err := c.Do(ctx, http.MethodPut, path, map[string]string{"value": value}, nil); err != nil {
			return err
		}
	}
	_, err := n.Control().Deploy(ctx, control.Local("."), control.Options{Lenient: true})
	return err
}

// secretNames are the secrets that a manifest refers to.
func secretNames(m *mayfly.Manifest) []string {
	names := map[string]bool{}
	add := func(ref string) {
		if name, _, _ := strings.Cut(ref, ":"); name != "" {
			names[name] = true
		}
	}
	for _, fn := range m.Functions {
		for _, ref := range fn.Secrets {
			add(ref)
		}
		for _, t := range fn.On {
			add(t.Secret)
		}
	}
	for _, db := range m.Databases {
		if db != nil {
			add(db.DSN)
		}
	}
	for _, hook := range m.Webhooks {
		if hook != nil {
			add(hook.Secret)
		}
	}
	return sortedKeys(names)
}
