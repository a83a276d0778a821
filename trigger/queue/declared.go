package queue

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/mayfly-cloud/mayfly"
)

// Declared is the queues of manifests as resources: it checks each, also those
// that no function of the app receives from. A queue needs no making.
type Declared struct{}

// Kind is the kind of resource as grants name it.
func (Declared) Kind() string { return "queue" }

// Check returns Invalid errors, joined.
func (Declared) Check(m *mayfly.Manifest) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(m.Queues)) {
		errs = append(errs, CheckQueue(m, name, m.Queues[name]))
	}
	return errors.Join(errs...)
}

// Apply has nothing to make: a queue exists from its first message on, and what
// was in a queue that is not declared any more stays until it is again.
func (Declared) Apply(context.Context, []*mayfly.Manifest) error { return nil }

// Run waits for the end.
func (Declared) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
