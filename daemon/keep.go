package daemon

import (
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// keeping is how long, and up to what size, telemetry is kept. Zero parts are
// the defaults of telemetry and prom.
type keeping struct {
	logs, traces, calls, metrics telemetry.Retention
}

// keepingOf reads Config.Keep.
func keepingOf(texts map[string]string) (k keeping, err error) {
	kinds := map[string]*telemetry.Retention{"logs": &k.logs, "traces": &k.traces, "calls": &k.calls, "metrics": &k.metrics}
	for _, kind := range slices.Sorted(maps.Keys(texts)) {
		r := kinds[kind]
		if r == nil {
			return k, mayfly.Errorf(mayfly.Invalid, "", "%q is none of logs, traces, calls and metrics", kind)
		}
		if *r, err = retentionOf(texts[kind]); err != nil {
			return k, mayfly.Errorf(mayfly.Invalid, "", "%s: %s", kind, mayfly.MessageOf(err))
		}
	}
	return k, nil
}

// retentionOf reads AGE/SIZE, of which one may be left out: 30d/10GiB, 30d,
// /10GiB.
func retentionOf(text string) (r telemetry.Retention, err error) {
	age, size, _ := strings.Cut(text, "/")
	if age == "" && size == "" {
		return r, mayfly.Errorf(mayfly.Invalid, "", "says nothing; write it as 30d/10GiB, 30d or /10GiB")
	}
	if age != "" {
		d, err := mayfly.ParseDuration(age)
		if err != nil {
			return r, err
		}
		if r.Age = d.D(); r.Age <= 0 {
			return r, mayfly.Errorf(mayfly.Invalid, "", "%q is no time to keep anything for; --telemetry off keeps nothing", age)
		}
	}
	if size != "" {
		if r.Size, err = mayfly.ParseBytes(size); err != nil {
			return r, err
		}
		if r.Size < mayfly.MiB {
			return r, mayfly.Errorf(mayfly.Invalid, "", "%q is less than 1MiB", size)
		}
	}
	return r, nil
}
