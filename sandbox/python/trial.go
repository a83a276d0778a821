package python

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/mayfly-cloud/mayfly/sandbox"
)

// trialKey names all that decides whether a version's initialisation succeeds.
func trialKey(spec *sandbox.Spec) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d\n", spec.Digest, spec.Handler, spec.Memory)
	for _, name := range slices.Sorted(maps.Keys(spec.Env)) {
		fmt.Fprintf(h, "%q=%q\n", name, spec.Env[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}
