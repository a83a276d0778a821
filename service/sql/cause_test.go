package sql

import (
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

func TestCauses(t *testing.T) {
	var k causes
	k.begin(10)
	a, b := mayfly.NewTrace(), mayfly.NewTrace()
	k.note(10, a, 1) // a write that nobody listens to
	k.note(12, a, 2)
	k.note(13, mayfly.Trace{}, 0) // one without a trace
	k.note(15, b, 3)
	for position, want := range map[int64]mayfly.Trace{9: {}, 10: {}, 11: a, 12: a, 13: {}, 14: b, 15: b, 16: {}} {
		if got, _ := k.of(position); got != want {
			t.Errorf("change %d goes on in %+v, want %+v", position, got, want)
		}
	}
	for i := range int64(maxCauses) {
		k.note(16+i, b, 4)
	}
	if got, _ := k.of(12); got.ID != "" {
		t.Errorf("change 12 is remembered: %+v", got)
	}
	if got, hops := k.of(15 + maxCauses); got != b || hops != 4 || len(k.writes) != maxCauses {
		t.Errorf("the last change goes on in %+v, of %d writes", got, len(k.writes))
	}
}
