// Package artifact keeps the files of functions: bundles, by the digest of
// their content.
//
// Terms:
//
//	bundle   the files of one function, unpacked and read-only, at DIR/bundles/HEX
//	         (its folders are not: whoever owns the store can remove it as any folder)
//	digest   "sha256:HEX" of a bundle's sorted listing: paths, executable bits,
//	         content hashes, links. No times, owners or other modes: the same
//	         files have the same digest on every machine
//	pool     every distinct file content once, at DIR/pool; bundles are hard
//	         links into it, so that a changed file costs one file
//	inputs   what a build command may depend on: the source and the command
//
//	source ─ list ─ hash (cached by inode, size, times) ─ digest ─ known? done
//	           │                                             └ else pool, link, rename
//	           └ build: copy, run, list again (cached by inputs)
//
// A bundle is there whole or not at all: it is made in DIR/tmp and renamed.
package artifact
