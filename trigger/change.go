package trigger

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/mayfly-cloud/mayfly"
)

// Changes are the bindings that listen to changes of one kind of resource, such
// as buckets. It is safe for concurrent use.
type Changes struct {
	enqueue  Enqueue
	of       func(*mayfly.Trigger) string // the resource that a trigger names
	bindings atomic.Pointer[map[resource][]Binding]
}

type resource struct {
	app  mayfly.AppName
	name string
}

// NewChanges makes Changes without bindings. of is the resource that a trigger
// names.
func NewChanges(enqueue Enqueue, of func(*mayfly.Trigger) string) *Changes {
	c := &Changes{enqueue: enqueue, of: of}
	c.bindings.Store(&map[resource][]Binding{})
	return c
}

// Apply replaces the bindings.
func (c *Changes) Apply(_ context.Context, all []Binding) error {
	next := map[resource][]Binding{}
	for _, b := range all {
		key := resource{b.App, c.of(&b.Trigger)}
		next[key] = append(next[key], b)
	}
	c.bindings.Store(&next)
	return nil
}

// Run waits for the end: the service drives Tell.
func (c *Changes) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Tell enqueues a call for each binding on a resource that wants the change with
// this id. An error means that the same change must be told again. event is asked
// once, where a binding wants it.
func (c *Changes) Tell(ctx context.Context, app mayfly.AppName, name, id string, wants func(*mayfly.Trigger) bool, event func() []byte) error {
	bindings := (*c.bindings.Load())[resource{app, name}]
	var body []byte
	for i := range bindings {
		b := &bindings[i]
		if !wants(&b.Trigger) {
			continue
		}
		if body == nil {
			body = event()
		}
		if err := c.enqueue(ctx, b, id+"-"+b.Key(), body); err != nil {
			return fmt.Errorf("call %s for a change of %s: %w", b, name, err)
		}
	}
	return nil
}
