package engine

import "path"

// Hold waits for the writes that are under way and lets none begin until
// release is called. Meanwhile the files of the embedded server's store can be
// copied: they are what a kill would leave. Reads go on.
func (e *Engine) Hold() (release func()) {
	e.writes.Lock()
	return e.writes.Unlock
}

// Copied reports whether a file of the embedded server's store belongs in a copy
// of it. The lock is of the process, and what the server makes of its records is
// made again from them.
func Copied(name string) bool {
	base := path.Base(name)
	return base != "lock" && base != "index.db"
}
