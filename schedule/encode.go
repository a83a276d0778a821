package schedule

import (
	"encoding/binary"
	"math"

	"github.com/mayfly-cloud/mayfly"
)

// encoding of a KeepAlive: a version byte, then uvarints: seconds of idle time,
// idle times beyond the horizon, and for each bin that is not empty its distance
// from the one before and its count. What is transient is not kept.
const encoding = 1

// MarshalBinary is what was learned, without the present idle time. It is a few
// dozen bytes for most functions.
func (k *KeepAlive) MarshalBinary() ([]byte, error) {
	b := []byte{encoding}
	if k.hist == nil {
		return b, nil
	}
	b = binary.AppendUvarint(b, uint64(k.hist.seconds))
	b = binary.AppendUvarint(b, uint64(k.hist.beyond))
	last := -1
	for i, n := range k.hist.count {
		if n > 0 {
			b = binary.AppendUvarint(b, uint64(i-last))
			b = binary.AppendUvarint(b, uint64(n))
			last = i
		}
	}
	return b, nil
}

// UnmarshalBinary takes what MarshalBinary gave. It returns an Invalid error, and
// leaves k as it was, for anything else.
func (k *KeepAlive) UnmarshalBinary(b []byte) error {
	bad := mayfly.Errorf(mayfly.Invalid, "read keep-alive", "not a keep-alive record of format %d", encoding)
	if len(b) == 0 || b[0] != encoding {
		return bad
	}
	if len(b) == 1 {
		*k = KeepAlive{}
		return nil
	}
	h, ok := decodeHistogram(b[1:])
	if !ok {
		return bad
	}
	*k = KeepAlive{hist: h}
	return nil
}

func decodeHistogram(b []byte) (*histogram, bool) {
	ok := true
	next := func(limit uint64) uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > limit {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	h := &histogram{seconds: float32(next(1 << 50)), beyond: uint16(next(math.MaxUint16))}
	h.samples = uint32(h.beyond)
	for bin := -1; ok && len(b) > 0; {
		step, n := next(binCount), next(math.MaxUint16)
		if bin += int(step); !ok || step == 0 || n == 0 || bin >= binCount {
			return nil, false
		}
		h.count[bin] = uint16(n)
		h.samples += uint32(n)
	}
	return h, ok
}
