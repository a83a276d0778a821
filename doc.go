// Package mayfly is the vocabulary of the platform: what a function is, what
// calls it, what came of a call. It holds nouns and their validation, imports
// the standard library only, and is imported by every other package.
//
// Terms:
//
//	app         a manifest's functions and resources, deployed together
//	function    code with a runtime, a handler, limits and grants
//	version     one immutable state of a function: its spec and its bundle
//	alias       a name for one version, or two by weight (a canary)
//	bundle      a function's files, stored by digest
//	instance    one running sandbox of one version
//	trigger     what turns something outside into calls of a function
//	invocation  one call: its input, outcome, phases and cost
//	caller      who asks: an administrator, a user, or a function
package mayfly
