//go:build !unix

package daemon

import "io/fs"

// identityOf is not known here: a file with several names becomes several.
func identityOf(fs.FileInfo) string { return "" }
