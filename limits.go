package mayfly

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits and defaults of the platform. A manifest may choose within them.
const (
	DefaultMemory  = 256 * MiB
	MinMemory      = 16 * MiB
	MaxMemory      = 64 * GiB
	DefaultTimeout = Duration(10 * time.Second)
	MaxTimeout     = Duration(24 * time.Hour)

	DefaultPerInstance = 1
	DefaultMax         = 200 // instances of one function on one node
	DefaultQueue       = 1000
	DefaultPids        = 512
	DefaultTmp         = 512 * MiB

	MaxEvent  = 6 * MiB   // a synchronous event or reply, as Lambda's
	MaxAsync  = 1 * MiB   // an asynchronous event or a queue message
	MaxByRef  = 256 * KiB // larger messages travel by reference to the artifact store
	MaxHeader = 64 * KiB
	MaxBody   = 6 * MiB // a request body for Lambda-shaped handlers; http functions stream
	MaxHops   = 16      // functions calling functions through events

	VersionsKept = 10
)

// Bytes is a size. Its text is a number with a unit: 512KiB, 256MiB, 1GiB, or
// decimal kB, MB, GB; a bare number is bytes.
type Bytes int64

const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

var byteUnits = []struct {
	suffix string
	size   Bytes
}{
	{"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

// ParseBytes reads a size such as "256MiB". It returns an Invalid error that
// shows the accepted forms.
func ParseBytes(s string) (Bytes, error) {
	num, unit := strings.TrimSpace(s), Bytes(1)
	for _, u := range byteUnits {
		if cut, ok := strings.CutSuffix(num, u.suffix); ok {
			num, unit = strings.TrimSpace(cut), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(num, 64)
	if err != nil || n < 0 || n*float64(unit) > 1<<62 {
		return 0, Errorf(Invalid, "", "%q is not a size; write it as 512KiB, 256MiB or 1GiB", s)
	}
	return Bytes(n * float64(unit)), nil
}

func (b Bytes) String() string {
	switch {
	case b == 0:
		return "0B"
	case b%GiB == 0:
		return fmt.Sprintf("%dGiB", b/GiB)
	case b%MiB == 0:
		return fmt.Sprintf("%dMiB", b/MiB)
	case b%KiB == 0:
		return fmt.Sprintf("%dKiB", b/KiB)
	}
	return fmt.Sprintf("%dB", int64(b))
}

// About is b for reading: with one digit behind the point where String, which is
// exact, is long.
func (b Bytes) About() string {
	exact := b.String()
	if len(exact) <= len("1023MiB") {
		return exact
	}
	for _, unit := range []struct {
		size Bytes
		name string
	}{{GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if b >= unit.size {
			return fmt.Sprintf("%.1f%s", float64(b)/float64(unit.size), unit.name)
		}
	}
	return exact
}

func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBytes(string(text))
	return err
}

// UnmarshalJSON takes a text with a unit or a bare number of bytes.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var n int64
	if json.Unmarshal(data, &n) == nil && n >= 0 {
		*b = Bytes(n)
		return nil
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return Errorf(Invalid, "", "%s is not a size; write it as 256MiB", data)
	}
	return b.UnmarshalText([]byte(s))
}

// Duration is a time.Duration whose text is Go's ("30s", "1h30m") with "d" for
// days of 24 hours.
type Duration time.Duration

// ParseDuration reads a duration such as "30s" or "7d".
func ParseDuration(s string) (Duration, error) {
	text := strings.TrimSpace(s)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 1e5 {
			return Duration(n * 24 * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, Errorf(Invalid, "", "%q is not a duration; write it as 500ms, 30s, 5m, 1h or 7d", s)
	}
	return Duration(d), nil
}

// ParseTime reads a point in time as people give it: in RFC 3339, or as how long
// before now it was (15m, 24h, 7d). "" is the zero time.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	d, err := ParseDuration(s)
	if err != nil {
		return time.Time{}, Errorf(Invalid, "", "%q is not a time; write it as 2026-01-02T15:04:05Z, or as how long ago: 15m, 24h, 7d", s)
	}
	return now.Add(-d.D()), nil
}

// D is d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}
