//go:build unix

package daemon

import (
	"fmt"
	"io/fs"
	"syscall"
)

// identityOf names a file that has several names, "" for one that has not.
func identityOf(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		return fmt.Sprint(st.Dev, "/", st.Ino)
	}
	return ""
}
