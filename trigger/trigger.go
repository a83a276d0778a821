package trigger

import (
	"context"
	"strconv"

	"github.com/mayfly-cloud/mayfly"
)

// Binding is one entry of a function's `on:`. It does not change once made.
type Binding struct {
	App      mayfly.AppName
	Function mayfly.FunctionName
	Index    int // place in the function's `on:`
	Trigger  mayfly.Trigger
	Spec     *mayfly.Function
	Manifest *mayfly.Manifest
}

// Key names the binding for state that outlives a deploy, such as a
// checkpoint: "FUNCTION.NAME" within the app, where NAME is the trigger's name
// or else what it listens to.
func (b *Binding) Key() string {
	name := b.Trigger.Name
	if name == "" {
		_, name = b.Trigger.Kind()
	}
	return string(b.Function) + "." + name
}

func (b *Binding) String() string {
	return string(b.App) + "/" + string(b.Function) + " on[" + strconv.Itoa(b.Index) + "]"
}

// Driver runs every binding of one kind. Its methods may be called
// concurrently, and Apply before Run.
type Driver interface {
	Kind() mayfly.TriggerKind

	// Check is called at plan for each trigger of the kind. It is pure and
	// returns an Invalid error that says what is wrong and how to mend it.
	Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error

	// Apply is given the complete wanted set of bindings of this kind, after
	// each deploy and at start. It is idempotent.
	Apply(ctx context.Context, all []Binding) error

	// Run works until ctx ends, and returns when all of it has ended.
	Run(ctx context.Context) error
}
