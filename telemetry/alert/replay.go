package alert

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// Episode is one stretch in which an alert would have fired.
type Episode struct {
	Labels   map[string]string `json:"labels"`
	Since    time.Time         `json:"since"` // of the first result
	Fired    time.Time         `json:"fired"`
	Resolved time.Time         `json:"resolved,omitzero"` // zero: it still fires at the end
	Value    float64           `json:"value"`             // the last
	Summary  string            `json:"summary"`
}

// maxReplay bounds the evaluations of one replay.
const maxReplay = 11_000

// Replay says when a rule would have fired from start to end, looking each step.
// A rule that is looked at less often than that is looked at as often as it is.
func (a *Alerts) Replay(ctx context.Context, r *AlertRule, start, end time.Time, step time.Duration) ([]Episode, error) {
	step = max(step, r.Every.D())
	if step <= 0 || !end.After(start) || end.Sub(start)/step > maxReplay {
		return nil, mayfly.Errorf(mayfly.Invalid, "replay alert", "from %s to %s each %s is nothing or more than %d looks", start.Format(time.RFC3339), end.Format(time.RFC3339), step, maxReplay)
	}
	samples, err := a.cfg.Metrics.Range(ctx, r.Expr, start, end, step)
	if err != nil {
		return nil, err
	}
	return replay(r, samples, start, end, step), nil
}

// replay runs the results through the same judgement as a round does.
func replay(r *AlertRule, samples []telemetry.Sample, start, end time.Time, step time.Duration) []Episode {
	at := map[int64][]telemetry.Sample{}
	for _, s := range samples {
		at[s.Time.UnixMilli()] = append(at[s.Time.UnixMilli()], s)
	}
	a := &Alerts{active: map[string]*ActiveAlert{}}
	var out []Episode
	for now := start; !now.After(end); now = now.Add(step) {
		a.judge(r, at[now.UnixMilli()], now)
		for key, al := range a.active {
			if al.State == Resolved {
				out = append(out, al.episode())
				delete(a.active, key)
			}
		}
	}
	for _, al := range a.active {
		if al.State == Firing {
			out = append(out, al.episode())
		}
	}
	slices.SortFunc(out, func(x, y Episode) int { return cmp.Or(x.Fired.Compare(y.Fired), cmp.Compare(x.Summary, y.Summary)) })
	return out
}

func (al *ActiveAlert) episode() Episode {
	return Episode{Labels: al.Labels, Since: al.Since, Fired: al.Fired, Resolved: al.Resolved, Value: al.Value, Summary: al.Summary}
}
