package schedule

import (
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Backoff spaces attempts: the bound doubles from Min to Max.
type Backoff struct{ Min, Max time.Duration }

// DefaultBackoff is used where a manifest says nothing.
var DefaultBackoff = Backoff{Min: time.Second, Max: 5 * time.Minute}

// ParseBackoff reads "1s..5m", or "10s" for a bound that does not grow. It
// returns an Invalid error that shows the form; "" is DefaultBackoff.
func ParseBackoff(s string) (Backoff, error) {
	if strings.TrimSpace(s) == "" {
		return DefaultBackoff, nil
	}
	first, longest, err := mayfly.ParseBackoff(s)
	return Backoff{Min: first.D(), Max: longest.D()}, err
}

// Bound is the longest delay after the attempt-th failure, 1 for the first.
func (b Backoff) Bound(attempt int) time.Duration {
	bound := b.Min
	for range min(attempt-1, 62) {
		if bound >= b.Max/2 {
			return b.Max
		}
		bound *= 2
	}
	return min(bound, b.Max)
}

// Delay is how long to wait after the attempt-th failure: uniform up to Bound
// ("full jitter", Brooker, AWS Architecture Blog, 2015), so that what failed
// together does not come back together. The same seed and attempt give the same
// delay; a message's id makes a good seed.
func (b Backoff) Delay(attempt int, seed uint64) time.Duration {
	share := float64(mix(seed+uint64(attempt))>>11) / (1 << 53)
	return time.Duration(share * float64(b.Bound(attempt)))
}

// mix is SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Seed makes a seed of a text (FNV-1a).
func Seed(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
