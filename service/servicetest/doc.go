// Package servicetest has what the tests of services share: kill -9 of a process
// that writes, after which every write that it was told of must be there.
//
// Terms:
//
//	writer   the test again, in a process of its own that writes for ever
//	line     what a writer prints when a write was acknowledged
//	round    one writer, from its start to its kill; all write below one folder
package servicetest
