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
