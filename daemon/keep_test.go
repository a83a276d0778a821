package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

func TestKeeping(t *testing.T) {
	k, err := keepingOf(map[string]string{"logs": "30d/10GiB", "traces": "12h", "metrics": "/2GiB"})
	want := keeping{
		logs:   telemetry.Retention{Age: 30 * 24 * time.Hour, Size: 10 * mayfly.GiB},
		traces: telemetry.Retention{Age: 12 * time.Hour}, metrics: telemetry.Retention{Size: 2 * mayfly.GiB},
	}
	if err != nil || k != want {
		t.Errorf("%+v, %v; want %+v", k, err, want)
	}
	for text, say := range map[string]string{"": "says nothing", "/": "says nothing", "soon": "not a duration", "0s": "keeps nothing", "1d/much": "much", "1d/5KiB": "less than"} {
		if _, err := keepingOf(map[string]string{"calls": text}); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v, which does not say %q", text, err, say)
		}
	}
	if err := (Config{Data: t.TempDir(), Keep: map[string]string{"spans": "1d"}}).WithDefaults().Validate(); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), "--keep") {
		t.Errorf("an unknown kind: %v", err)
	}
}
