package event

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// Item is what a store keeps. Its body is the business of who put it.
type Item struct {
	ID      string    // given by Put
	Key     string    // items with one key are dealt with in order; "" none
	Created time.Time // given by Put where zero
	At      time.Time // not before; zero: at once
	Body    []byte

	Dedup     string        // a later put with the same id within the window is not a second item
	Window    time.Duration // of Dedup
	Duplicate bool          // set by Put: ID is the earlier item's

	lane    string
	num     uint64
	salt    uint64
	until   int64 // Unix ms at which Dedup's window ends
	tries   int
	history []Attempt
}

// Attempt is one delivery that failed.
type Attempt struct {
	At         time.Time `json:"at"`
	Error      string    `json:"error"`
	Invocation string    `json:"invocation,omitempty"`
}

// maxHistory bounds the attempts remembered of one item; maxReason the text of
// each.
const (
	maxHistory = 10
	maxReason  = 1000
)

// itemID is a UUID of version 8 that says where the item is, so that no table
// from ids to items is needed: 48 bits of the number, 4 of the shard, and 64
// that cannot be guessed.
func itemID(shard int, num, salt uint64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], num<<16)
	b[6] = 0x80 | byte(shard)
	b[7] = byte(salt >> 56)
	binary.BigEndian.PutUint64(b[8:], salt)
	b[8] = 0x80 | b[8]&0x3f
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// parseID is the inverse of itemID, as far as it can be.
func parseID(id string) (shard int, num uint64, ok bool) {
	if len(id) != 36 {
		return 0, 0, false
	}
	b, err := hex.DecodeString(id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:])
	if err != nil || len(b) != 16 || b[6]&0xf0 != 0x80 {
		return 0, 0, false
	}
	return int(b[6] & 0x0f), binary.BigEndian.Uint64(b[:8]) >> 16, true
}

func newSalt() uint64 { return rand.Uint64() }

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
