package telemetry

import "time"

// Metric is the state of one series, for those who pass metrics on.
type Metric struct {
	Name    string
	Help    string
	Counter bool // else a gauge, or a histogram where that is set
	Labels  map[string]string
	Value   float64
	Hist    *ExpHistogram
	Start   time.Time // when it began to count
}

// ExpHistogram is an exponential histogram: bucket i of Buckets, from Offset on,
// counts values in (2^((Offset+i)/2^Scale), 2^((Offset+i+1)/2^Scale)].
type ExpHistogram struct {
	Scale   int32
	Count   uint64
	Sum     float64
	Zero    uint64
	Offset  int32
	Buckets []uint64
}
