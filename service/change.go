package service

import (
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// KVChange is one committed write to a key-value store that functions listen
// to. It is delivered at least once; ID is the same each time.
type KVChange struct {
	ID       string
	App      mayfly.AppName
	Store    string
	Key      string
	Event    string // put or delete
	Expired  bool   // of a delete: the value's time was up
	Revision uint64
	Time     time.Time
	Value    *KVValue // after; nil where deleted
	Old      *KVValue // before; nil where there was none
}

// KVValue is a value with its type and its revision.
type KVValue struct {
	Data        []byte
	ContentType string
	Revision    uint64
}

// ObjectChange is one object of a bucket, made or removed, where functions
// listen. It is delivered at least once; ID is the same each time.
type ObjectChange struct {
	ID      string
	App     mayfly.AppName
	Bucket  string // as the app's functions know it
	Key     string
	Event   string // S3's, without its prefix: ObjectCreated:Put, ObjectRemoved:Delete, …
	Time    time.Time
	Who     mayfly.Caller
	Size    int64
	ETag    string
	Version string // of a bucket with versioning
}

// RowChange is one committed change of a table that functions listen to. Old is
// nil for an insert, New for a delete; both are JSON objects by column, in which
// a blob is {"$hex": "…"}.
type RowChange struct {
	Position int64 // grows with the order of commits in one database
	App      mayfly.AppName
	Database string
	Table    string
	Event    string // insert, update, delete or truncate, which has no rows
	Time     time.Time
	Trace    mayfly.Trace // of what caused it; the zero Trace where it is not known
	Hops     int          // functions that the cause went through
	Old, New []byte
}
