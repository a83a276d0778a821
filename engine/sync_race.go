//go:build race

package engine

import "time"

// fastSync is longer for the race detector: nats-server arms the timer of a store's
// first sync without the store's lock, and where that fires before the store is
// made, on a busy machine, it is a race of theirs.
const fastSync = 4 * time.Second
