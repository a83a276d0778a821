package frame

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Trials remembers which versions were seen to initialise, so that a version
// that is prepared again is not started again.
type Trials struct {
	mu   sync.Mutex
	seen map[string]map[string]bool // guarded by mu; digest → key
}

// trialWithin is the least time that code has to initialise.
const trialWithin = 30 * time.Second

// Once calls try unless it succeeded before for the same code and environment.
// The context that try gets ends after the time that a start may take; that it
// did is the FunctionError of code that hangs.
func (t *Trials) Once(ctx context.Context, spec *sandbox.Spec, try func(context.Context) error) error {
	key := Key(spec)
	t.mu.Lock()
	seen := t.seen[spec.Digest][key]
	t.mu.Unlock()
	if seen {
		return nil
	}
	within := max(trialWithin, spec.Timeout)
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := try(bounded); err != nil {
		if bounded.Err() != nil && ctx.Err() == nil {
			return &mayfly.FunctionError{Type: mayfly.ErrorTypeTimeout, Message: "initialisation did not end within " + mayfly.Duration(within).String()}
		}
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == nil {
		t.seen = map[string]map[string]bool{}
	}
	if t.seen[spec.Digest] == nil {
		t.seen[spec.Digest] = map[string]bool{}
	}
	t.seen[spec.Digest][key] = true
	return nil
}

// Forget drops what is known of a bundle.
func (t *Trials) Forget(digest string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.seen, digest)
}

// Key names a version with its environment: all that decides whether its
// initialisation succeeds.
func Key(spec *sandbox.Spec) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %d %q %q %d %d\n", spec.App, spec.Function, spec.Version, spec.Digest, spec.Handler, spec.Memory, spec.PerInstance)
	for _, name := range slices.Sorted(maps.Keys(spec.Env)) {
		fmt.Fprintf(h, "%q=%q\n", name, spec.Env[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Silent is the output of a trial, whose failure is told by its error.
type Silent struct{}

// Log drops the line.
func (Silent) Log(mayfly.LogLine) {}
