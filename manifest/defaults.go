package manifest

import (
	"maps"

	"github.com/mayfly-cloud/mayfly"
)

// ApplyDefaults fills what functions did not say: first from the manifest's
// defaults, then from the platform's. It is idempotent.
func ApplyDefaults(m *mayfly.Manifest) {
	d := m.Defaults
	if d == nil {
		d = &mayfly.Defaults{}
	}
	for _, fn := range m.Functions {
		fn.Memory = first(fn.Memory, d.Memory, mayfly.DefaultMemory)
		fn.Timeout = first(fn.Timeout, d.Timeout, mayfly.DefaultTimeout)
		fn.KeepAlive = first(fn.KeepAlive, d.KeepAlive, mayfly.KeepAliveAuto)
		fn.Require = first(fn.Require, d.Require, "any")
		fn.Isolation = first(fn.Isolation, "process")
		if fn.Runtime == mayfly.Python {
			fn.Template = first(fn.Template, "auto")
		}
		fn.Handler = first(fn.Handler, defaultHandlers[fn.Runtime])
		fn.Concurrency = fn.Concurrency.WithDefaults()
		fn.Env = merge(d.Env, fn.Env)
		fn.Tags = merge(d.Tags, fn.Tags)
		if fn.Retry == nil && d.Retry != nil {
			retry := *d.Retry
			fn.Retry = &retry
		}
	}
}

var defaultHandlers = map[mayfly.Runtime]string{
	mayfly.Binary: "bootstrap",
	mayfly.Wasm:   "_start",
}

// first is the first value that is not zero.
func first[T comparable](values ...T) (zero T) {
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// merge is base overlaid with own, nil where both are empty.
func merge(base, own map[string]string) map[string]string {
	if len(base) == 0 {
		return own
	}
	out := maps.Clone(base)
	maps.Copy(out, own)
	return out
}
