package simulate

import (
	"math"

	"github.com/mayfly-cloud/mayfly/schedule"
)

// random is a stream of numbers that depends on its seed alone.
type random struct{ state uint64 }

func newRandom(seed string) *random { return &random{schedule.Seed(seed)} }

// uniform is in [0, 1).
func (r *random) uniform() float64 {
	r.state += 0x9e3779b97f4a7c15
	x := r.state
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64((x^x>>31)>>11) / (1 << 53)
}

// exponential has mean 1.
func (r *random) exponential() float64 { return -math.Log(1 - r.uniform()) }

// normal has mean 0 and variance 1 (Box and Muller).
func (r *random) normal() float64 {
	return math.Sqrt(2*r.exponential()) * math.Cos(2*math.Pi*r.uniform())
}
