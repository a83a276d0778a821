//go:build !linux && !darwin && !freebsd

package engine

import "github.com/mayfly-cloud/mayfly"

// freeSpace is not known here.
func freeSpace(string) (mayfly.Bytes, bool) { return 0, false }
