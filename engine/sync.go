//go:build !race

package engine

import "time"

// fastSync is between two syncs of what Fast wrote.
const fastSync = 100 * time.Millisecond
