//go:build unix && !linux

package artifact

import (
	"syscall"
	"time"
)

func changeTime(*syscall.Stat_t) time.Time { return time.Time{} }
