//go:build unix

package artifact

import (
	"io/fs"
	"syscall"
	"time"
)

// stamp tells one state of a file from another.
type stamp struct {
	dev, inode uint64
	size       int64
	modified   time.Time
	changed    time.Time // of the inode; zero where the system does not say
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.inode, s.changed = uint64(st.Dev), uint64(st.Ino), changeTime(st)
	}
	return s
}

// links is the number of names that a file has.
func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 2 // unknown: in use
}
