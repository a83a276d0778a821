//go:build !unix

package engine

import "os"

// lockFile cannot lock here; that the folder is not shared is up to the user.
func lockFile(*os.File) error { return nil }
