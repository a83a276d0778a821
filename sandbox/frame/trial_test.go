package frame

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

func TestTrialOfCodeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var trials Trials
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		for _, timeout := range []time.Duration{0, time.Minute} {
			began := time.Now()
			err := trials.Once(t.Context(), &sandbox.Spec{Timeout: timeout}, hang)
			var f *mayfly.FunctionError
			if !errors.As(err, &f) || f.Type != mayfly.ErrorTypeTimeout || time.Since(began) != max(trialWithin, timeout) {
				t.Errorf("with a timeout of %s: %v after %s", timeout, err, time.Since(began))
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := trials.Once(ctx, &sandbox.Spec{}, hang); err != context.Canceled {
			t.Errorf("given up by the caller: %v", err)
		}
	})
}

func TestTrialIsDoneOnce(t *testing.T) {
	var trials Trials
	spec, n := &sandbox.Spec{Digest: "sha256:a"}, 0
	try := func(context.Context) error { n++; return nil }
	for range 2 {
		if err := trials.Once(t.Context(), spec, try); err != nil {
			t.Fatal(err)
		}
	}
	trials.Forget(spec.Digest)
	if err := trials.Once(t.Context(), spec, try); err != nil || n != 2 {
		t.Errorf("tried %d times, %v", n, err)
	}
}
