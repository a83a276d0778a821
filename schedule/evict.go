package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Resident is one instance that holds memory, as eviction sees it.
type Resident struct {
	ID       string
	Size     mayfly.Bytes // resident now
	Priority float64      // from Evictor.Used, of its function's last call
	Busy     bool         // calls are running in it, or wait for it
}

// Evictor orders instances by greedy-dual-size-frequency, as FaasCache does
// (Fuerst and Sharma, ASPLOS 2021, section 4.1):
//
//	priority = clock + frequency × cold start / size
//
// Frequency is the number of calls of a function since it was last without an
// instance. The clock is the priority of the last victim, so that what has not
// been called for long falls behind what is called now, however often it once
// was. The caller serialises access.
type Evictor struct{ clock float64 }

// Used is the priority of a function's instances after a call of it, the calls-th.
func (e *Evictor) Used(calls int, cold time.Duration, size mayfly.Bytes) float64 {
	w := Worth{Size: size, Cold: cold}.withDefaults()
	return e.clock + float64(calls)*w.Cold.Seconds()/(float64(w.Size)/gigabyte)
}

// Victims are the instances to stop so that what all hold fits into budget, by
// index, the first to go first. A busy instance is never one of them, so that the
// result may free less than is needed.
//
// Invariant: without its last victim the result would not suffice.
func (e *Evictor) Victims(all []Resident, budget mayfly.Bytes) []int {
	var held mayfly.Bytes
	var idle []int
	for i, r := range all {
		held += r.Size
		if !r.Busy {
			idle = append(idle, i)
		}
	}
	if held <= budget {
		return nil
	}
	slices.SortFunc(idle, func(a, b int) int {
		return cmp.Or(cmp.Compare(all[a].Priority, all[b].Priority), cmp.Compare(all[b].Size, all[a].Size), cmp.Compare(all[a].ID, all[b].ID))
	})
	for n, i := range idle {
		if held <= budget {
			return idle[:n]
		}
		held -= all[i].Size
		e.clock = max(e.clock, all[i].Priority)
	}
	return idle
}
