// Package control is what apps are and should be: it plans, deploys, promotes
// and rolls back.
//
// Terms:
//
//	source    an app's folder, local or received, with its mayfly.yaml
//	plan      the difference between a source and what is live
//	deploy    makes a source live: all of it or nothing
//	state     every app and version at one moment; read without locks
//	identity  what makes a version: the bundle's digest and the spec without
//	          its triggers. A function whose identity is the same keeps its version
//
// A deploy writes bundles, then version records, starts each new version once,
// and switches by one compare-and-set of the app's value in the config index.
// Whatever fails or is killed before it leaves the old state live; version
// numbers that were used up are never given out again.
//
//	check ─ pack ─ resources ─ versions ─ start ─ SWITCH ─ subscribers
//	   nothing changed so far for any caller    │  gateway, triggers, pool
//
// Keys of the index: "apps.APP" (App), "versions.APP.FUNCTION.N" (Version).
package control
