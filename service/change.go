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
