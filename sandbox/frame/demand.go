package frame

import (
	"math"
	"time"
)

// halfLife is how fast past starts lose their weight in a demand.
const halfLife = 20 * time.Second

// demand is the policy of a Stock: how many workers to keep ahead, from when
// starts were asked for. It is pure: now is an argument.
//
// Each start counts one and loses half of it every halfLife, so that the level
// after a burst is the size of the burst, and after steady starts is about
// 1.44 × halfLife × their rate.
type demand struct {
	level float64
	at    time.Time
}

func (d *demand) decayed(now time.Time) float64 {
	passed := max(0, now.Sub(d.at))
	return d.level * math.Exp2(-float64(passed)/float64(halfLife))
}

// start counts one start.
func (d *demand) start(now time.Time) {
	d.level, d.at = d.decayed(now)+1, now
}

// want is how many workers to keep: the level, within [least, most].
func (d *demand) want(now time.Time, least, most int) int {
	return max(min(int(math.Ceil(d.decayed(now)-0.25)), most), min(least, most))
}
