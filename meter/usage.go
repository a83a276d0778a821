package meter

import (
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// UsageTotals is what calls used. Sums of it are exact: all are integers.
type UsageTotals struct {
	Requests int64 `json:"requests"` // calls that ran; a throttled one did not
	Errors   int64 `json:"errors"`   // of them, those with an outcome but ok
	Cold     int64 `json:"cold"`
	Millis   int64 `json:"billed_ms"`
	KiBms    int64 `json:"kib_ms"`        // configured memory × billed time
	Millis1c int64 `json:"billed_ms_100"` // each call's time rounded up to 100 ms
	KiBms1c  int64 `json:"kib_ms_100"`    // memory × that
	CPU      int64 `json:"cpu_ns"`
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"` // replies
	Egress   int64 `json:"egress"`    // what code sent through its egress rules
}

// Add is the sum of both.
func (u UsageTotals) Add(v UsageTotals) UsageTotals {
	u.Requests += v.Requests
	u.Errors += v.Errors
	u.Cold += v.Cold
	u.Millis += v.Millis
	u.KiBms += v.KiBms
	u.Millis1c += v.Millis1c
	u.KiBms1c += v.KiBms1c
	u.CPU += v.CPU
	u.BytesIn += v.BytesIn
	u.BytesOut += v.BytesOut
	u.Egress += v.Egress
	return u
}

// UsageOf is what one call used; nothing, where it never ran.
func UsageOf(inv *mayfly.Invocation) UsageTotals {
	if inv.Outcome == mayfly.OutcomeThrottled {
		return UsageTotals{}
	}
	kib := int64(inv.Memory / mayfly.KiB)
	ms := roundUp(inv.Billed, time.Millisecond)
	ms1c := 100 * roundUp(inv.Billed, 100*time.Millisecond)
	u := UsageTotals{
		Requests: 1, Millis: ms, KiBms: kib * ms, Millis1c: ms1c, KiBms1c: kib * ms1c,
		CPU: int64(inv.CPU), BytesIn: inv.BytesIn, BytesOut: inv.BytesOut,
	}
	if inv.Outcome != mayfly.OutcomeOK {
		u.Errors = 1
	}
	if inv.Cold {
		u.Cold = 1
	}
	return u
}

// roundUp is d in whole units, rounded up.
func roundUp(d, unit time.Duration) int64 {
	return int64((max(d, 0) + unit - 1) / unit)
}
