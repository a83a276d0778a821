//go:build linux || darwin || freebsd

package engine

import (
	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
)

// freeSpace is what this user may still write below dir; false: not known.
func freeSpace(dir string) (mayfly.Bytes, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return 0, false
	}
	return mayfly.Bytes(int64(st.Bavail) * int64(st.Bsize)), true
}
