// Package manifest reads mayfly.yaml into the root nouns, and says everything
// that is wrong with it at once, each with its place and how to mend it.
//
// The reader is driven by reflection over the json tags of the root types: a
// field that is added there is a key here, in the JSON Schema and in what the
// reader accepts.
//
// Terms:
//
//	document   a file as read: the manifest and the place of every value in it
//	path       where a value is: functions.thumbnail.on[0].http
//	problem    one thing that is wrong, with its path, its place and a remedy
//
//	bytes ─ parse ─ decode ──── Manifest ─ Validate ─ ApplyDefaults
//	                   └ places ─────────────┘ (problems get line and column)
package manifest
